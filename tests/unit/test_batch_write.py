"""Batches are exact, deterministic, verified, and there as a whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_distill.batch import write
from pytest_distill.batch.batch import QUARANTINE, Batch, open_batch
from pytest_distill.batch.quarantine import reasons
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.manifest import Column, How
from pytest_distill.contracts.quarantine import QUARANTINE_SCHEMA
from pytest_distill.errors import Code, DistillError
from pytest_distill.release.data import json_lines

FACTS: dict[str, Any] = {
    "id": "b", "kind": "text", "origin": "generated", "what": "test rows", "why": "to test", "how": How(pipeline="test")
}  # fmt: skip
SHA = "0" * 64


def written(folder: Path, rows: list[dict], **facts: Any) -> Batch:
    with BatchWriter(folder, **{**FACTS, **facts}) as writer:
        writer.begin_source("x.jsonl")
        for number, row in enumerate(rows, start=1):
            writer.add({"text": "t", **row}, line=number, offset=number * 10)
        writer.end_source(sha256=SHA, size=1)
        return writer.finish()


def read_back(batch: Batch) -> list[dict]:
    return [json.loads(line) for line in json_lines(batch.frame(batch.column_names), batch.manifest.columns)]


def column(batch: Batch, name: str) -> Column:
    return next(c for c in batch.manifest.columns if c.name == name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
KEYS = st.sampled_from(["a", "b", "", "a.b", "ключ", "with space", "\n"])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=9))
def test_any_rows_come_back_equal(tmp_path_factory: pytest.TempPathFactory, rows: list[dict]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "SHARD_ROWS", 3)
        batch = written(tmp_path_factory.mktemp("w") / "b", rows)
    found = read_back(batch)
    assert json.dumps(found, sort_keys=True) == json.dumps([{"text": "t", **row} for row in rows], sort_keys=True)


@pytest.mark.parametrize(
    ("values", "kind", "nulls"),
    [
        (["x", "y"], "string", "never"),
        ([1, -(2**63)], "int64", "never"),
        ([1, 2**63], "json", "never"),
        ([1.5, 2.0], "float64", "never"),
        ([True, False], "bool", "never"),
        ([True, 1], "json", "never"),
        ([1, 1.0], "json", "never"),
        (["x", None], "string", "null"),
        ([None, None], "string", "null"),
        (["x", ...], "string", "absent"),
        ([..., 1], "int64", "absent"),
        ([None, ...], "json", "absent"),
        (["x", None, ...], "json", "absent"),
        ([[1], None], "json", "never"),
        ([{"a": 1}, ...], "json", "absent"),
    ],
)
@pytest.mark.parametrize("shard_rows", [1, 100])
def test_a_columns_type_is_that_of_all_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list, kind: str, nulls: str, shard_rows: int
) -> None:
    monkeypatch.setattr(write, "SHARD_ROWS", shard_rows)
    batch = written(tmp_path / "b", [{} if value is ... else {"a": value} for value in values])
    assert column(batch, "a") == Column(name="a", type=kind, nulls=nulls)
    found = [row.get("a", ...) for row in read_back(batch)]
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_the_same_rows_give_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    rows = [{"a": n, "b": [n]} for n in range(50)]
    one, two = written(tmp_path / "1" / "b", rows), written(tmp_path / "2" / "b", rows)
    assert one.sha256 == two.sha256


def test_shards_hold_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "SHARD_ROWS", 4)
    batch = written(tmp_path / "b", [{}] * 10)
    assert [shard.rows for shard in batch.manifest.shards] == [4, 4, 2]
    assert batch.column("distill_line").to_list() == list(range(1, 11))
    assert batch.column("distill_offset").to_list() == list(range(10, 110, 10))
    assert batch.column("distill_source").to_list() == [0] * 10


def test_a_changed_byte_is_found_on_opening_and_never_read_as_another_value(tmp_path: Path) -> None:
    batch = written(tmp_path / "b", [{"a": n} for n in range(50)])
    (shard,) = batch.manifest.shards
    path, before = batch.shard_path(shard), batch.read_shard(shard, ["a", "text"])
    data = path.read_bytes()
    refused = 0
    for at in range(4, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            assert batch.read_shard(shard, ["a", "text"]).equals(before)
        except DistillError:
            refused += 1
    assert refused > 30
    with pytest.raises(DistillError, match="was changed"):
        open_batch(batch.folder)


def test_shards_are_bounded_by_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "SHARD_BYTES", 100)
    with BatchWriter(tmp_path / "b", **FACTS) as writer:
        writer.begin_source("x")
        for line in range(1, 8):
            writer.add({"text": "t" * 40}, line=line, offset=None, size=40)
        writer.end_source(sha256=SHA, size=1)
        assert [shard.rows for shard in writer.finish().manifest.shards] == [3, 3, 1]


def test_sha256sum_agrees(tmp_path: Path) -> None:
    batch = written(tmp_path / "b", [{}])
    subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=batch.folder, check=True, capture_output=True)


def test_quarantined_rows_are_counted_kept_and_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "SHARD_BYTES", 3 << 20)
    big = b"x" * ((1 << 20) + 1)
    with BatchWriter(tmp_path / "b", planned=9, **FACTS) as writer:
        writer.begin_source("x.jsonl")
        writer.add({"text": "t"}, line=1, offset=0)
        writer.reject(by="ingest", reason="malformed_json", line=2, offset=9, message="bad\x1b[2J\n", original=b"\xff\x00")
        writer.reject(by="ingest", reason="too_long", line=3, offset=12, message="long", sha256="a" * 64)
        for line in range(4, 9):
            writer.reject(by="ingest", reason="malformed_json", line=line, offset=12, message="m", original=big[:-1])
        writer.reject(by="ingest", reason="too_long", line=9, offset=13, message="m", original=big)
        source = writer.end_source(sha256=SHA, size=77)
        batch = writer.finish()
    assert (source.rows_read, source.rows_kept, source.rows_quarantined) == (9, 1, 8)
    assert batch.manifest.counts.model_dump() == {"planned": 9, "read": 9, "kept": 1, "quarantined": 8}
    table = pq.read_table(batch.folder / QUARANTINE)
    assert table.schema.equals(QUARANTINE_SCHEMA)
    first, second, *_, last = table.to_pylist()
    assert first["message"] == "bad\\x1b[2J\\n"
    assert first["original"] == b"\xff\x00"
    assert (second["original"], second["original_sha256"]) == (None, "a" * 64)
    assert last["original"] is None
    assert [(r.reason, r.rows, r.places) for r in reasons(batch, places=2)] == [
        ("malformed_json", 6, ("x.jsonl:2", "x.jsonl:4")),
        ("too_long", 2, ("x.jsonl:3", "x.jsonl:9")),
    ]


def nothing_left(folder: Path) -> bool:
    return list(folder.iterdir()) == []


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    def fail(writer: BatchWriter) -> None:
        writer.begin_source("x")
        writer.reject(by="x", reason="x", line=1, offset=0, message="x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), BatchWriter(tmp_path / "b", **FACTS) as writer:
        fail(writer)
    assert nothing_left(tmp_path)


def test_leaving_without_finish_leaves_nothing(tmp_path: Path) -> None:
    with BatchWriter(tmp_path / "b", **FACTS) as writer:
        writer.begin_source("x")
        writer.add({"text": "t"}, line=1, offset=0)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"distill_line": 1}, Code.COLUMN),
        ({"a": float("nan")}, Code.COLUMN),
        ({"a": [float("inf")]}, Code.COLUMN),
        ({"a": b"bytes"}, Code.COLUMN),
        ({"text": 1}, Code.KIND),
        ({"text": None}, Code.KIND),
        ({str(n): 1 for n in range(1001)}, Code.COLUMN),
    ],
    ids=["reserved", "nan", "nested infinity", "bytes", "number for text", "null for text", "too many columns"],
)
def test_what_cannot_be_kept_exactly_is_refused(tmp_path: Path, row: dict, code: Code) -> None:
    with pytest.raises(DistillError) as caught:
        written(tmp_path / "b", [{}, row])
    assert caught.value.code is code
    assert nothing_left(tmp_path)


def test_an_id_is_taken_once(tmp_path: Path) -> None:
    before = written(tmp_path / "b", [{}]).sha256
    with pytest.raises(DistillError, match="E-BATCH-EXISTS"):
        written(tmp_path / "b", [{"a": 1}])
    assert open_batch(tmp_path / "b").sha256 == before
    assert os.listdir(tmp_path) == ["b"]


def test_two_writers_of_one_id_one_wins(tmp_path: Path) -> None:
    with BatchWriter(tmp_path / "b", **FACTS) as slow:
        slow.begin_source("x")
        slow.add({"text": "slow"}, line=1, offset=0)
        written(tmp_path / "b", [{}])
        slow.end_source(sha256=SHA, size=1)
        with pytest.raises(DistillError, match="E-BATCH-EXISTS"):
            slow.finish()
    assert os.listdir(tmp_path) == ["b"]


# -- candidates and attachments --------------------------------------------------------------------------------------------


def generated(folder: Path, **attached: Any) -> Batch:
    with BatchWriter(folder, **FACTS) as writer:
        writer.begin_source("x.jsonl")
        writer.add({"text": "kept"}, line=1, offset=0)
        writer.end_source(sha256=SHA, size=1)
        for number, completion in enumerate(["kept", None, "dropped"]):
            writer.add_candidate({"number": number, "completion": completion, "more": {"n": number}})
        for name, content in attached.items():
            writer.attach(f"{name}.json", content)
        return writer.finish()


def test_candidates_and_attachments_are_listed_hashed_and_read_back(tmp_path: Path) -> None:
    batch = generated(tmp_path / "b", first=b"{}", second=lambda files: ",".join(f.path for f in files).encode())
    assert batch.column_names == ("text",)
    assert batch.candidates().rows() == [(0, "kept", '{"n":0}'), (1, None, '{"n":1}'), (2, "dropped", '{"n":2}')]
    assert batch.attachment("first.json") == b"{}"
    assert batch.attachment("second.json") == b"rows-00000.parquet,candidates-00000.parquet,first.json"
    assert batch.attachment("third.json") is None
    sums = (batch.folder / "SHA256SUMS").read_text()
    assert all(file.sha256 in sums for file in batch.manifest.files)
    assert len(batch.manifest.files) == 4


def test_a_batch_without_candidates_has_none(tmp_path: Path) -> None:
    assert written(tmp_path / "b", [{}]).candidates().is_empty()


@pytest.mark.parametrize("name", ["first.json", "candidates-00000.parquet"])
def test_a_changed_attachment_or_candidate_shard_is_refused(tmp_path: Path, name: str) -> None:
    batch = generated(tmp_path / "b", first=b"{}")
    (batch.folder / name).write_bytes(b"[]")
    with pytest.raises(DistillError, match=f"{name} was changed") as caught:
        open_batch(batch.folder)
    assert caught.value.code is Code.BATCH_CORRUPT


@pytest.mark.parametrize(
    "name", ["manifest.json", "SHA256SUMS", "quarantine.parquet", "rows-00000.parquet", "twice.json", "../x", ".x"]
)
def test_an_attachment_cannot_take_the_place_of_another_file(tmp_path: Path, name: str) -> None:
    with BatchWriter(tmp_path / "b", **FACTS) as writer:
        writer.attach("twice.json", b"")
        with pytest.raises(DistillError, match="cannot be attached"):
            writer.attach(name, b"")
    assert list(tmp_path.iterdir()) == []
