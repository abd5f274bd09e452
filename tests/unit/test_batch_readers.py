"""Readers: every row with its true line and offset, every damaged file refused with one line."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import gzip
import hashlib
import io
import json
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_distill.batch.ingest import compression, csv_rows, formats, json_array, jsonl, read_records
from pytest_distill.batch.ingest.compression import open_input
from pytest_distill.batch.ingest.formats import records
from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed, Record
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))
Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def stream(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]


def read(path: Path) -> list[Record]:
    with open_input(path) as (source, opened):
        return list(records(path, source, opened))


def told(record: Record) -> tuple[int, int | None, object]:
    return record.line, record.offset, record.value.reason if isinstance(record.value, Malformed) else record.value


def refused(path: Path, code: Code) -> str:
    with pytest.raises(DistillError) as caught:
        read(path)
    assert caught.value.code is code
    assert "\n" not in caught.value.line()
    return str(caught.value)


# --- JSON lines


def test_lines_end_at_newlines_only_and_crlf_is_white_space() -> None:
    data = '{"a":"x\u2028y\x85z"}\r\n{"a":"\\r"}\n'.encode()
    assert [told(r) for r in jsonl.read(stream(data))] == [(1, 0, {"a": "x\u2028y\x85z"}), (2, 18, {"a": "\r"})]


def test_a_blank_line_is_malformed_except_a_final_one() -> None:
    found = [told(r) for r in jsonl.read(stream(b"{}\n\n{}\n \n\n"))]
    assert found == [(1, 0, {}), (2, 3, Reason.MALFORMED_JSON), (3, 4, {}), (4, 7, Reason.MALFORMED_JSON)]


def test_a_line_that_is_too_long_is_one_bad_row_and_the_next_one_is_found() -> None:
    long = b'{"a":"' + b"x" * MAX_ROW_BYTES + b'"}'
    found = list(jsonl.read(stream(b"{}\n" + long + b"\n{}\n")))
    assert [told(r) for r in found] == [(1, 0, {}), (2, 3, Reason.TOO_LONG), (3, 3 + len(long) + 1, {})]
    assert isinstance(found[1].value, Malformed)
    assert found[1].value.sha256 == hashlib.sha256(long).hexdigest()
    assert f"{len(long):,}" in found[1].value.message


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line and line.strip()), max_size=8), st.booleans())
def test_line_and_offset_are_true_for_any_bytes(lines: list[bytes], ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    found = list(jsonl.read(stream(data)))
    assert [r.line for r in found] == list(range(1, len(lines) + 1))
    for record, line in zip(found, lines, strict=True):
        assert record.offset is not None
        assert data[record.offset : record.offset + len(line)] == line
        assert record.raw.removesuffix(b"\n") == line


# --- JSON arrays

JSON_SPACE = st.text(alphabet=" \n\r\t", max_size=3).map(str.encode)


@settings(max_examples=150)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=6), st.text(max_size=12) | st.lists(st.integers(), max_size=2), max_size=3), max_size=6
    ),
    st.data(),
)
def test_elements_come_with_their_place(values: list[dict], data: st.DataObject) -> None:
    text = b"["
    places = []
    for number, value in enumerate(values):
        text += b"," if number else b""
        text += data.draw(JSON_SPACE)
        places.append((1 + text.count(b"\n"), len(text)))
        text += json.dumps(value, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))).encode()
        text += data.draw(JSON_SPACE)
    text += b"]" + data.draw(JSON_SPACE)
    found = list(json_array.read(stream(text), "x.json"))
    assert [(r.line, r.offset) for r in found] == places
    assert [r.value for r in found] == values


def test_elements_across_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "_CHUNK", 1)
    values = [{"a": 'x\\"]},{\\u'}, {"b": [{"c": "\\\\"}]}, {}]
    found = list(json_array.read(stream(json.dumps(values, indent=1).encode()), "x.json"))
    assert [r.value for r in found] == values


def test_a_bad_element_is_a_bad_row() -> None:
    found = [told(r) for r in json_array.read(stream(b'[{"a":1},{"a" 1},\n[1],,{"a":NaN},{"b":2},]'), "x.json")]
    assert found == [
        (1, 1, {"a": 1}),
        (1, 9, Reason.MALFORMED_JSON),
        (2, 18, Reason.NOT_AN_OBJECT),
        (2, 22, Reason.MALFORMED_JSON),
        (2, 23, Reason.NON_FINITE_NUMBER),
        (2, 33, {"b": 2}),
        (2, 41, Reason.MALFORMED_JSON),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'[{"a":1}', "ends inside the array"),
        (b'[{"a":"x}]', "ends inside the array"),
        (b'[{"a":1}] []', "text after the closing bracket"),
        (b'[{"a":1}}]', "stray"),
        (b"3", "starts with"),
        (b"\xef\xbb\xbf[]", "starts with"),
        (b'{"a":1,\n"b"', "neither an array"),
    ],
)
def test_a_broken_frame_refuses_the_file(write: Write, data: bytes, said: str) -> None:
    assert said in refused(write("x.json", data), Code.FORMAT)


def test_an_element_without_end_is_refused_before_it_fills_memory(write: Write) -> None:
    path = write("x.json", b'[{"a":"' + b"x" * (MAX_ROW_BYTES + (3 << 20)))
    assert "longer than" in refused(path, Code.FORMAT)


def test_a_json_file_may_be_lines_or_one_object(write: Write) -> None:
    assert [told(r) for r in read(write("lines.json", b'{"a":1}\n{"a":2}\n'))] == [(1, 0, {"a": 1}), (2, 8, {"a": 2})]
    assert [told(r) for r in read(write("one.json", b'\n{\n"a":1}\n'))] == [(2, 1, {"a": 1})]
    assert [told(r) for r in read(write("one-line.json", b'{"a":1}'))] == [(1, 0, {"a": 1})]


# --- CSV


def csv(data: bytes) -> list[Record]:
    return list(csv_rows.read(stream(data), "x.csv"))


def test_quotes_commas_and_line_breaks() -> None:
    data = b'a,b\r\n1,"x, ""y""\r\nz"\r\n"",2\r\n'
    assert [told(r) for r in csv(data)] == [(2, 5, {"a": "1", "b": 'x, "y"\r\nz'}), (4, 22, {"a": "", "b": "2"})]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=150)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_any_text_survives_and_its_place_is_true(rows: list[tuple[str, str]]) -> None:
    data = b"a,b\n"
    places = []
    for row in rows:
        places.append((1 + data.count(b"\n"), len(data)))
        data += ",".join('"' + value.replace('"', '""') + '"' for value in row).encode() + b"\n"
    found = csv(data)
    assert [(r.line, r.offset) for r in found] == places
    assert [tuple(r.value.values()) for r in found if isinstance(r.value, dict)] == rows


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1", Reason.WRONG_FIELD_COUNT),
        (b"1,2,3", Reason.WRONG_FIELD_COUNT),
        (b'"1,2"', Reason.WRONG_FIELD_COUNT),
        (b'5" pipe and 6" pipe,2', Reason.MALFORMED_CSV),
        (b'"1"x,2', Reason.MALFORMED_CSV),
        (b"1\r,2", Reason.MALFORMED_CSV),
        (b"", Reason.MALFORMED_CSV),
        (b"caf\xe9,2", Reason.INVALID_UTF8),
    ],
)
def test_a_bad_csv_row_is_named_and_the_next_one_is_read(line: bytes, reason: Reason) -> None:
    found = csv(b"a,b\n" + line + b"\n3,4\n")
    assert [told(r) for r in found] == [(2, 4, reason), (3, 5 + len(line), {"a": "3", "b": "4"})]
    assert found[0].raw == line


def test_a_quote_that_never_closes_keeps_every_byte() -> None:
    found = csv(b'a,b\n1,2\n"3,4\n5,6\n')
    assert told(found[1]) == (3, 8, Reason.MALFORMED_CSV)
    assert found[1].raw == b'"3,4\n5,6'
    assert len(found) == 2


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (b"a,a\n1,2\n", Code.COLUMN),
        (b"a,\n1,2\n", Code.COLUMN),
        (b"\n1,2\n", Code.COLUMN),
        (b"\xef\xbb\xbfa,b\n1,2\n", Code.FORMAT),
        (b'"a,b\n1,2\n', Code.FORMAT),
        (b"caf\xe9,b\n1,2\n", Code.FORMAT),
        (b"a,b\r1,2\r", Code.FORMAT),
    ],
)
def test_a_header_that_cannot_name_columns_is_refused(write: Write, header: bytes, code: Code) -> None:
    refused(write("x.csv", header), code)


# --- Parquet


def parquet(path: Path, columns: dict[str, pa.Array], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_parquet_values_become_json_values(tmp_path: Path) -> None:
    moment = dt.datetime(2024, 2, 29, 12, 0, 0, 120_000)
    table = {
        "text": pa.array(["a", None]),
        "word": pa.array(["x", "x"]).dictionary_encode(),
        "big": pa.array([2**64 - 1, 0], pa.uint64()),
        "when": pa.array([1_709_208_000_000_000_001, None], pa.timestamp("ns", "Europe/Berlin")),
        "local": pa.array([moment, None], pa.timestamp("ms")),
        "day": pa.array([dt.date(1969, 12, 31), None]),
        "time": pa.array([dt.time(1, 2, 3), None]),
        "price": pa.array([decimal.Decimal("1.10"), None]),
        "nested": pa.array([{"a": [1, None], "d": dt.date(2000, 1, 1)}, None]),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    }
    found = read(parquet(tmp_path / "x.parquet", table))
    assert [(r.line, r.offset) for r in found] == [(1, None), (2, None)]
    assert found[0].value == {
        "text": "a",
        "word": "x",
        "big": 2**64 - 1,
        "when": "2024-02-29T12:00:00.000000001Z",
        "local": "2024-02-29T12:00:00.120",
        "day": "1969-12-31",
        "time": "01:02:03",
        "price": "1.10",
        "nested": {"a": [1, None], "d": "2000-01-01"},
        "map": {"k": 1},
    }
    assert isinstance(found[1].value, dict)
    assert found[1].value["when"] is None


def test_nan_in_parquet_is_a_bad_row(tmp_path: Path) -> None:
    columns = {"a": pa.array([1.0, float("nan")]), "b": pa.array([[1.0], [float("inf")]])}
    assert [told(r)[2] for r in read(parquet(tmp_path / "x.parquet", columns))] == [
        {"a": 1.0, "b": [1.0]},
        Reason.NON_FINITE_NUMBER,
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"x"]),
        pa.array([1], pa.duration("s")),
        pa.array([[b"x"]]),
        pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string())),
    ],
    ids=str,
)
def test_a_parquet_type_without_json_value_is_refused(tmp_path: Path, column: pa.Array) -> None:
    assert "'bad'" in refused(parquet(tmp_path / "x.parquet", {"good": pa.array(["x"]), "bad": column}), Code.COLUMN)


def test_a_parquet_file_cut_or_changed_anywhere_is_never_read_wrongly(tmp_path: Path) -> None:
    column = pa.array([f"row {n} " * 5 for n in range(300)])
    path = parquet(tmp_path / "x.parquet", {"text": column}, write_page_checksum=True, use_dictionary=False, compression="none")
    data = path.read_bytes()
    for at in range(4, len(data), len(data) // 12):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        with contextlib.suppress(DistillError):
            found = [r.value for r in read(path)]
            assert [list(value.values()) for value in found if isinstance(value, dict)] == [[text] for text in column.to_pylist()]
        path.write_bytes(data[:at])
        refused(path, Code.FORMAT)


def test_a_file_that_aborts_its_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "x.parquet", {"a": pa.array(["x"])})
    aborting = tmp_path / "python"
    aborting.write_text("#!/bin/sh\nkill -ABRT $$\n")
    aborting.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(aborting))
    assert "crashes the Parquet reader (signal 6)" in refused(path, Code.FORMAT)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no DISTILL_SHARED_DATA: eight damaged Parquet files were not tried")
def test_damaged_parquet_files_of_the_wild_are_refused() -> None:
    files = sorted((SHARED / "hostile" / "bad_parquet").glob("*.parquet"))
    assert len(files) == 8
    for file in files:
        refused(file, Code.FORMAT)


# --- compression


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


ROWS = b"".join(b'{"n":%d,"text":"%s"}\n' % (n, b"%x" % (n * 7919) * 20) for n in range(2000))


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.parquet"])
@pytest.mark.parametrize(("suffix", "compress"), [("", bytes), (".gz", gzip.compress), (".zst", zst)])
def test_every_format_reads_the_same_compressed(
    tmp_path: Path, write: Write, name: str, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    if name.endswith("parquet"):
        data = parquet(tmp_path / name, {"a": pa.array(["1", "2"])}).read_bytes()
    else:
        data = {"x.jsonl": b'{"a":"1"}\n{"a":"2"}\n', "x.json": b'[{"a":"1"},{"a":"2"}]', "x.csv": b"a\n1\n2\n"}[name]
    path = write(name + suffix, compress(data))
    assert list(read_records(path)) == [{"a": "1"}, {"a": "2"}]


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zst)])
def test_members_follow_each_other(write: Write, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    path = write("x.jsonl" + suffix, compress(ROWS[:5000]) + compress(b"") + compress(ROWS[5000:]))
    assert [r.value for r in read(path)] == [json.loads(line) for line in ROWS.splitlines()]


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zst)])
@pytest.mark.parametrize("keep", [0.2, 0.999, 7])
def test_a_compressed_file_cut_off_is_an_error(
    write: Write, suffix: str, compress: Callable[[bytes], bytes], keep: float
) -> None:
    data = compress(ROWS)
    cut = data[: int(len(data) * keep) if keep < 1 else int(keep)]
    assert "is cut off" in refused(write("x.jsonl" + suffix, cut), Code.FORMAT)


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zst)])
def test_a_damaged_or_padded_file_is_an_error(write: Write, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    data = bytearray(compress(ROWS))
    refused(write("x.jsonl" + suffix, bytes(data) + b"garbage"), Code.FORMAT)
    data[len(data) // 2] ^= 0xFF
    refused(write("x.jsonl" + suffix, bytes(data)), Code.FORMAT)


def test_zeros_after_gzip_data_are_padding(write: Write) -> None:
    assert len(read(write("x.jsonl.gz", gzip.compress(ROWS) + b"\0" * 512))) == 2000


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", lambda data: zlib.compress(data, 9, wbits=31)), (".zst", zst)])
def test_a_decompression_bomb_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(compression, "RATIO_FREE_BYTES", 4 << 20)
    assert "decompression bomb" in refused(write("x.jsonl" + suffix, pack((b" " * 1023 + b"\n") * (40 << 10))), Code.FORMAT)


# --- what a file is


@pytest.mark.parametrize(
    ("name", "data", "code", "said"),
    [
        ("x.txt", b"{}", Code.FORMAT, "the name tells no format"),
        ("x", b"{}", Code.FORMAT, "the name tells no format"),
        ("x.jsonl", b"", Code.SOURCE, "is empty"),
        ("x.jsonl.gz", gzip.compress(b"", mtime=0) * 2, Code.SOURCE, "is empty"),
        ("x.jsonl.zst", zst(b""), Code.SOURCE, "is empty"),
        ("x.csv", b"\xef\xbb\xbfa,b\n1,2\n", Code.FORMAT, "tail -c +4 FILE > NEW"),
        ("x.csv", b"a;b\n1;2\n", Code.FORMAT, "the header names one column, 'a;b'"),
        ("x.csv", b"a\tb\n1\t2\n", Code.FORMAT, "in the place of commas"),
        ("x.jsonl", gzip.compress(b"{}", mtime=0), Code.FORMAT, "holds gzip data"),
        ("x.jsonl", zst(b"{}"), Code.FORMAT, "holds zstd data"),
        ("x.jsonl.gz", b"{}\n", Code.FORMAT, "holds no gzip data"),
        ("x.jsonl.gz", zst(b"{}"), Code.FORMAT, "holds no gzip data"),
        ("x.parquet", b"{}\n{}\n", Code.FORMAT, "holds no parquet"),
        ("x.csv", b"PAR1....PAR1", Code.FORMAT, "holds Parquet"),
        ("x.parquet", b"PAR1", Code.FORMAT, "does not read as Parquet"),
        ("x.jsonl", "{}".encode("utf-16"), Code.FORMAT, "UTF-16"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(write: Write, name: str, data: bytes, code: Code, said: str) -> None:
    assert said in refused(write(name, data), code)


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "x.jsonl", Code.SOURCE)
    (tmp_path / "d.jsonl").mkdir()
    assert "is a folder" in refused(tmp_path / "d.jsonl", Code.SOURCE)
    (tmp_path / "saved").mkdir()
    with pytest.raises(DistillError, match=r"saved is a folder.*to_parquet"):
        formats.format_of(tmp_path / "saved")
    (tmp_path / "l.jsonl").symlink_to(tmp_path / "gone.jsonl")
    assert "symbolic link to a file that is not there" in refused(tmp_path / "l.jsonl", Code.SOURCE)
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    assert "symbolic link to itself" in refused(tmp_path / "loop.jsonl", Code.SOURCE)
    os.mkfifo(tmp_path / "f.jsonl")
    assert "no regular file" in refused(tmp_path / "f.jsonl", Code.SOURCE)
    if os.geteuid():
        (tmp_path / "p.jsonl").write_bytes(b"{}")
        (tmp_path / "p.jsonl").chmod(0)
        assert "permissions" in refused(tmp_path / "p.jsonl", Code.SOURCE)


def test_read_records_stops_at_the_first_bad_row(write: Write) -> None:
    rows = read_records(write("x.jsonl", b'{"a":1}\n{"a":1,"a":2}\n'))
    assert next(rows) == {"a": 1}
    with pytest.raises(DistillError, match="line 2: duplicate_key"):
        next(rows)
