"""Ingest: rows in = rows kept + rows quarantined, every refusal one line, and nothing written by a refusal."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_distill import clock, ledger
from pytest_distill.batch.batch import QUARANTINE, Batch
from pytest_distill.batch.ingest import ingest_ad_hoc
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace, load
from pytest_distill.release.data import json_lines

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no DISTILL_SHARED_DATA: real files were not ingested")
SFT = {"instruction": "Say hi.", "response": "Hi."}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "distill.toml").touch()
    return load(tmp_path)


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: dict | bytes, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
        return path

    return write


Lines = Callable[..., Path]


def quarantined(batch: Batch) -> list[dict[str, Any]]:
    path = batch.folder / QUARANTINE
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist() if path.exists() else []
    return found


def values(batch: Batch) -> list[dict]:
    return [json.loads(line) for line in json_lines(batch.frame(batch.column_names), batch.manifest.columns)]


def refused(code: Code, workspace: Workspace, *files: Path, **options: Any) -> str:
    with pytest.raises(DistillError) as caught:
        ingest(files, workspace, "b", **options)
    assert caught.value.code is code
    assert "\n" not in caught.value.line()
    assert not workspace.batches.exists() or list(workspace.batches.iterdir()) == []
    assert ledger.entries(workspace.ledger) == []
    return str(caught.value)


# --- what becomes of rows


def test_good_rows_are_kept_and_bad_ones_are_quarantined_with_place_and_bytes(workspace: Workspace, lines: Lines) -> None:
    path = lines(
        SFT,
        b'{"instruction":"a","instruction":"b","response":"c"}',
        b"",
        {"instruction": "x"},
        {"instruction": "x", "response": None, "id": "r5"},
        {"instruction": "x", "response": 4},
        {**SFT, "distill_line": 7},
        {**SFT, "id": [1]},
        b"[1]",
        {**SFT, "id": "last"},
    )
    batch = ingest([path], workspace, "b")
    counts = batch.manifest.counts
    assert (batch.kind, counts.read, counts.kept, counts.quarantined) == ("sft", 10, 2, 8)
    assert values(batch) == [{**SFT, "id": "rows.jsonl:1"}, {**SFT, "id": "last"}]
    found = quarantined(batch)
    assert [(entry["line"], entry["reason"]) for entry in found] == [
        (2, "duplicate_key"),
        (3, "malformed_json"),
        (4, "missing_field"),
        (5, "wrong_type"),
        (6, "wrong_type"),
        (7, "reserved_field"),
        (8, "wrong_type"),
        (9, "not_an_object"),
    ]
    data = path.read_bytes()
    for entry in found:
        assert data[entry["offset"] :].partition(b"\n")[0] == entry["original"]
        assert (entry["by"], entry["source"], entry["row"]) == ("ingest", "rows.jsonl", None)
    assert found[3]["id"] == "r5"
    assert "'response' is null, not text" in found[3]["message"]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nothing_is_lost_under_random_corruption(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("w")
    (root / "distill.toml").touch()
    rows = [json.dumps({"id": f"r{n}", **SFT, "n": n, "x": "é\u2028😀"}, ensure_ascii=n % 2 == 0).encode() for n in range(8)]
    content = bytearray(b"\n".join(rows) + b"\n")
    for _ in range(data.draw(st.integers(0, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = root / "rows.jsonl"
    path.write_bytes(content)
    try:
        batch = ingest([path], load(root), "b", kind="sft")
    except DistillError as error:
        assert error.code is Code.SOURCE  # noqa: PT017 - every row may be hit
        return
    expected = content.split(b"\n")[:-1] if content.endswith(b"\n") else content.split(b"\n")
    if expected and not expected[-1].strip():
        expected.pop()
    counts = batch.manifest.counts
    assert counts.read == counts.kept + counts.quarantined == len(expected)
    positions = batch.frame(["distill_line", "distill_offset"]).rows()
    gone = [(entry["line"], entry["offset"]) for entry in quarantined(batch)]
    assert sorted([*positions, *gone]) == [
        (number + 1, sum(len(line) + 1 for line in expected[:number])) for number in range(len(expected))
    ]
    for (line, _), row in zip(positions, values(batch), strict=True):
        # A row whose "id" key was hit has no id of its own any more, and is given one.
        assert row == {"id": f"rows.jsonl:{line}", **json.loads(expected[line - 1])}
    for entry in quarantined(batch):
        assert entry["original"] == bytes(expected[entry["line"] - 1])


def test_quarantine_keeps_whatever_the_bytes_are(workspace: Workspace, lines: Lines) -> None:
    bad = {b"\xff\xfe": "invalid_utf8", b"\xef\xbb\xbf{}": "byte_order_mark", b'{"a":NaN}': "non_finite_number"}
    bad |= {b'{"a":"\\ud800"}': "lone_surrogate", b"[" * 101: "too_deep", b"\x1b[2J": "malformed_json"}
    batch = ingest([lines(SFT, *bad)], workspace, "b")
    assert {entry["original"]: entry["reason"] for entry in quarantined(batch)} == bad


def test_several_files_keep_their_names_and_counts(workspace: Workspace, lines: Lines, tmp_path: Path) -> None:
    one, two = lines(SFT, b"x", name="a/rows.jsonl"), lines(SFT, SFT, name="b/rows.jsonl")
    batch = ingest([one, two], workspace, "b")
    assert [(s.name, s.rows_read, s.rows_kept, s.rows_quarantined) for s in batch.manifest.sources] == [
        ("rows.jsonl", 2, 1, 1),
        ("rows.jsonl#2", 2, 2, 0),
    ]
    assert [row["id"] for row in values(batch)] == ["rows.jsonl:1", "rows.jsonl#2:1", "rows.jsonl#2:2"]
    assert batch.column("distill_source").to_list() == [0, 1, 1]
    assert str(tmp_path).encode() not in (batch.folder / "manifest.json").read_bytes()


def test_the_source_is_named_by_its_own_bytes(workspace: Workspace, lines: Lines, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(lines(SFT).read_bytes()))
    import hashlib

    source = ingest([path], workspace, "b").manifest.sources[0]
    assert (source.sha256, source.bytes) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


def test_ids_may_be_text_or_numbers_and_missing_ones_are_given(workspace: Workspace, lines: Lines) -> None:
    batch = ingest([lines({**SFT, "id": 5}, {**SFT, "id": None}, SFT)], workspace, "b")
    assert [row["id"] for row in values(batch)] == [5, "rows.jsonl:2", "rows.jsonl:3"]


def test_the_batch_does_not_depend_on_when_and_where(workspace: Workspace, lines: Lines, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "distill.toml").touch()
    path = lines(SFT, b"x", {**SFT, "extra": [1]})
    one = ingest([path], workspace, "b")
    clock.pin("2001-01-01T00:00:00Z")
    try:
        two = ingest([path], load(other), "b", command=("x",))
    finally:
        clock._pinned = None
    assert one.sha256 == two.sha256
    assert (one.folder / "created.json").read_bytes() != (two.folder / "created.json").read_bytes()


def test_parquet_rows_that_do_not_fit_are_quarantined_as_json(workspace: Workspace, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None], "n": [1, 2]}), tmp_path / "x.parquet")
    batch = ingest([tmp_path / "x.parquet"], workspace, "b")
    (entry,) = quarantined(batch)
    assert (entry["line"], entry["offset"], json.loads(entry["original"])) == (2, None, {"text": None, "n": 2})


# --- kinds


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (SFT, "sft"),
        ({**SFT, "text": "both"}, "sft"),
        ({**SFT, "content": "both"}, "sft"),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "preference"),
        ({"content": "c", "title": "t"}, "rag"),
        ({"text": "t"}, "text"),
    ],
)
def test_the_kind_is_told_from_the_columns(workspace: Workspace, lines: Lines, row: dict, kind: str) -> None:
    assert ingest([lines(row, b"x", {})], workspace, "b").kind == kind


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "answer": "a"}, "fit no kind (columns: 'question', 'answer')"),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "the rows hold conversations"),
        ({"content": "c", "text": "t"}, "could be rag or text"),
        ({**SFT, "chosen": "a", "rejected": "b"}, "could be sft or preference"),
    ],
)
def test_a_kind_that_cannot_be_told_is_asked_for(workspace: Workspace, lines: Lines, row: dict, said: str) -> None:
    message = refused(Code.KIND, workspace, lines(row))
    assert said in message
    assert "--kind" in message or "--map" in message


@pytest.mark.parametrize(
    ("row", "command"),
    [
        ({"prompt": "p", "completion": "c"}, "--kind sft --map instruction=prompt --map response=completion"),
        ({"question": "q", "output": "a", "input": ""}, "--kind sft --map instruction=question --map response=output"),
        ({"instruction": "q", "answer": "a"}, "--kind sft --map response=answer."),
        ({"chosen": "a", "worse": "b"}, "--kind preference --map rejected=worse."),
        ({"colour": "red"}, "--kind sft --map instruction=YOURS --map response=YOURS, with the names of your columns."),
    ],
)
def test_columns_called_otherwise_are_recognised_in_the_refusal(
    workspace: Workspace, lines: Lines, row: dict, command: str
) -> None:
    assert command in refused(Code.KIND, workspace, lines(row))


def test_the_kind_is_told_from_good_rows_however_late_they_come(workspace: Workspace, lines: Lines) -> None:
    path = lines(*[b"x"] * 1500, {"text": "t"})
    assert ingest([path], workspace, "b").kind == "text"
    with pytest.raises(DistillError, match=r"the first 20,000 rows are malformed"):
        ingest([lines(*[b"x"] * 20_000, {"text": "t"})], workspace, "c")
    assert ingest([path], workspace, "d", kind="text").manifest.counts.quarantined == 20_000


def test_a_pair_needs_a_prompt_or_a_common_dialogue(workspace: Workspace, lines: Lines) -> None:
    talk = "\n\nHuman: hi\n\nAssistant:"
    pairs = [
        {"chosen": f"{talk} a", "rejected": f"{talk} b"},
        {"chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": "", "rejected": "b"},
    ]
    batch = ingest([lines(*pairs)], workspace, "b")
    assert [(e["line"], e["reason"]) for e in quarantined(batch)] == [(2, Reason.MISSING_FIELD.value)]


# --- mapping and schema


def test_columns_are_renamed_and_may_be_swapped(workspace: Workspace, lines: Lines) -> None:
    path = lines({"response": "q", "instruction": "a", "n": 1})
    batch = ingest([path], workspace, "b", mapping={"instruction": "response", "response": "instruction"})
    assert values(batch) == [{"instruction": "q", "response": "a", "n": 1, "id": "rows.jsonl:1"}]
    assert batch.manifest.mapping == {"instruction": "response", "response": "instruction"}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"response": "output"}, "already"),
        ({"other": "nowhere"}, "no row has the column 'nowhere'"),
        ({"a": "output", "b": "output"}, "mapped twice"),
        ({"distill_line": "output"}, "cannot be mapped"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(workspace: Workspace, lines: Lines, mapping: dict, said: str) -> None:
    assert said in refused(Code.COLUMN, workspace, lines({**SFT, "output": "o"}), mapping=mapping)


def test_rows_against_a_schema(workspace: Workspace, lines: Lines, tmp_path: Path) -> None:
    schema = tmp_path / "s.json"
    schema.write_text('{"properties":{"n":{"type":"integer","minimum":3}},"additionalProperties":true}')
    batch = ingest([lines({**SFT, "n": 3}, {**SFT, "n": 2}, SFT)], workspace, "b", schema=schema)
    assert [(e["line"], e["reason"], e["message"]) for e in quarantined(batch)] == [
        (2, "schema", "n: 2 is less than the minimum of 3")
    ]
    assert len(str(batch.manifest.how.parameters["schema_sha256"])) == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ('{"type":"nope"}', "is no JSON Schema"),
        ('{"$ref":"https://example.com/x.json"}', "is not in it"),
    ],
)
def test_a_schema_that_cannot_judge_is_refused(workspace: Workspace, lines: Lines, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.json").write_text(text)
    assert said in refused(Code.FORMAT, workspace, lines(SFT), schema=tmp_path / "s.json")


# --- refusals


def test_when_no_row_is_kept_nothing_is_written_and_the_first_reasons_are_told(workspace: Workspace, lines: Lines) -> None:
    message = refused(Code.SOURCE, workspace, lines({"prompt": "p"}, b"nonsense"), kind="sft")
    assert "none of 2 rows could be kept: 1 missing_field, 1 malformed_json" in message
    assert "rows.jsonl, line 1: has no 'instruction' (it has 'prompt')" in message
    assert message.endswith("Nothing was written. Rename columns, such as --map response=YOURS.")
    assert "--map" not in refused(Code.SOURCE, workspace, lines({"instruction": "q", "response": 3}), kind="sft")
    assert ".json for an array and .jsonl for lines" in refused(Code.SOURCE, workspace, lines([1]), kind="sft")


@pytest.mark.parametrize(("name", "data"), [("e.json", b"[]"), ("e.csv", b"text\n"), ("e.jsonl", b"\n")])
def test_a_file_without_rows_is_refused(workspace: Workspace, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert "no row" in refused(Code.SOURCE, workspace, tmp_path / name)


def test_a_second_file_that_is_broken_refuses_all(workspace: Workspace, lines: Lines, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(SFT).encode() * 500)[:-9])
    assert "cut off" in refused(Code.FORMAT, workspace, lines(SFT), tmp_path / "b.jsonl.gz")
    assert "no such file" in refused(Code.SOURCE, workspace, lines(SFT), tmp_path / "c.jsonl")


def test_a_file_given_twice_is_refused(workspace: Workspace, lines: Lines, tmp_path: Path) -> None:
    path = lines(SFT)
    (tmp_path / "other.jsonl").symlink_to(path)
    assert "given twice" in refused(Code.USAGE, workspace, path, path)
    assert "given twice" in refused(Code.USAGE, workspace, path, tmp_path / "other.jsonl")


def test_too_many_columns_are_refused(workspace: Workspace, lines: Lines) -> None:
    assert "1,004 different keys" in refused(Code.COLUMN, workspace, lines(*({**SFT, f"k{n}": 1} for n in range(1001))))


def test_an_id_is_taken_once_and_has_to_be_one(workspace: Workspace, lines: Lines) -> None:
    ingest([lines(SFT)], workspace, "b")
    with pytest.raises(DistillError, match="E-BATCH-EXISTS"):
        ingest([lines(SFT)], workspace, "b")
    for bad in ("../b", "", ".b", "a/b", "b\n"):
        with pytest.raises(DistillError, match="E-USAGE"):
            ingest([lines(SFT)], workspace, bad)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cost_class": "med"}, "without a justification"),
        ({"cost_class": "high", "justification": "x"}, "without an authorization"),
        ({"cost_class": "high", "authorized_by": "x"}, "without a justification"),
    ],
)
def test_cost_classes_need_their_papers(workspace: Workspace, lines: Lines, options: dict, said: str) -> None:
    assert said in refused(Code.USAGE, workspace, lines(SFT), **options)


def test_what_was_said_about_a_batch_is_kept(workspace: Workspace, lines: Lines) -> None:
    facts = {"what": "w", "why": "y", "cost_class": "high", "justification": "j", "authorized_by": "A. B."}
    manifest = ingest([lines(SFT)], workspace, "b", planned=3, **facts).manifest
    assert (manifest.what, manifest.why, manifest.justification, manifest.counts.planned) == ("w", "y", "j", 3)
    assert manifest.authorization is not None
    assert (manifest.authorization.by, manifest.cost_class.declared, manifest.cost_class.used) == ("A. B.", "high", "low")


def test_every_ingest_leaves_a_line_in_the_ledger(workspace: Workspace, lines: Lines) -> None:
    batch = ingest([lines(SFT, b"x")], workspace, "b", what="w")
    (entry,) = ledger.entries(workspace.ledger)
    assert (entry.event, entry.batch, entry.facts["sha256"], entry.facts["where"]) == ("ingested", "b", batch.sha256, "batches/b")
    assert (entry.facts["read"], entry.facts["kept"], entry.facts["quarantined"]) == (2, 1, 1)


def test_a_broken_ledger_stops_before_anything_is_written(workspace: Workspace, lines: Lines) -> None:
    ledger.append(workspace.ledger, "x")
    workspace.ledger.write_bytes(b"edited\n")
    with pytest.raises(DistillError, match="E-LEDGER"):
        ingest([lines(SFT)], workspace, "b")
    assert not workspace.batches.exists()


# --- one file, judged ad hoc


def test_an_ad_hoc_batch_is_made_once_for_the_same_bytes(workspace: Workspace, lines: Lines) -> None:
    path = lines(SFT, name="my rows (1).jsonl")
    one = ingest_ad_hoc(path, workspace)
    assert one.id.startswith("adhoc-my-rows-1-.jsonl-")
    assert ingest_ad_hoc(path, workspace).sha256 == one.sha256
    assert len(ledger.entries(workspace.ledger)) == 1
    lines(SFT, SFT, name="my rows (1).jsonl")
    assert ingest_ad_hoc(path, workspace).id != one.id
    assert ingest_ad_hoc(path, workspace, kind="sft").id not in (one.id,)


# --- scale and real files


def test_memory_stays_bounded() -> None:
    """The small twin of the benchmark's gigabyte: the file is larger than what reading may add."""
    script = ROOT / "benchmarks" / "ingest_memory.py"
    done = subprocess.run([sys.executable, str(script), "--megabytes", "150"], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["peak_rss_mib"] < 400
    assert found["read"] == found["kept"] + found["quarantined"]
    assert found["quarantined"] == found["read"] // 100


@needs_shared
@pytest.mark.parametrize(
    ("name", "kind", "rows", "mapping"),
    [
        ("code/codegen_instruct.json.gz", "sft", 4535, {}),
        ("preference/hh_rlhf_harmless_test.jsonl.gz", "preference", 2312, {}),
        ("safety/xstest_completions_llama2orig.csv.gz", "sft", 450, {"instruction": "prompt", "response": "completion"}),
        ("benchmarks/gsm8k_test.jsonl", "sft", 1319, {"instruction": "question", "response": "answer"}),
    ],
)
def test_real_files_come_whole(workspace: Workspace, name: str, kind: str, rows: int, mapping: dict) -> None:
    batch = ingest([SHARED / name], workspace, "b", mapping=mapping)
    assert (batch.kind, batch.rows, batch.manifest.counts.quarantined) == (kind, rows, 0)


@needs_shared
def test_a_csv_without_a_name_for_its_first_column_is_refused(workspace: Workspace) -> None:
    assert "column 1 of the header has no name" in refused(
        Code.COLUMN, workspace, SHARED / "safety" / "hate_speech_labeled.csv.gz"
    )
