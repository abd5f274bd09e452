"""Export: what leaves, and every reason why nothing does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sealed_workspace import (
    COLUMNS,
    ID,
    KEPT_ROWS,
    REJECTED,
    SOURCE_ROWS,
    Sealed,
    gate_record,
    judge,
    make_record,
    make_workspace,
    sealed,
    write_batch,
)

from pytest_distill import clock, ledger, storage
from pytest_distill.batch import digest
from pytest_distill.contracts.run import Example, Waiver
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.data import FORMATS, Format
from pytest_distill.release.export import export
from pytest_distill.release.verdict import EVIDENCE, QUARANTINE, VERDICT
from pytest_distill.release.verify import verify
from pytest_distill.suite import digest as suite_digest

BLANK_FAILED = (gate_record("text.blank", status="failed"),)


@pytest.fixture
def ready(tmp_path: Path) -> Sealed:
    return sealed(tmp_path / "ws")


def read_rows(folder: Path, form: Format) -> list[dict[str, Any]]:
    if form == "jsonl":
        return [json.loads(line) for line in (folder / "data.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    files = [folder / "data.parquet"] if form == "parquet" else sorted((folder / "data").iterdir())
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def as_cells(row: dict[str, Any]) -> dict[str, Any]:
    """A source row as Parquet holds it: JSON columns as text, absent as null."""
    return {c.name: json.dumps(row[c.name]) if c.type == "json" and c.name in row else row.get(c.name) for c in COLUMNS}


def test_jsonl_gives_back_the_values_of_the_source(ready: Sealed, tmp_path: Path) -> None:
    out = export(ready.workspace, ID, tmp_path / "out", "jsonl")
    rows = read_rows(out, "jsonl")
    assert rows == KEPT_ROWS
    assert [list(row) for row in rows] == [list(row) for row in KEPT_ROWS]
    assert [type(value) for row in rows for value in row.values()] == [type(value) for row in KEPT_ROWS for value in row.values()]


@pytest.mark.parametrize("form", ["parquet", "hf"])
def test_parquet_gives_back_the_cells(ready: Sealed, form: Format, tmp_path: Path) -> None:
    out = export(ready.workspace, ID, tmp_path / "out", form)
    assert read_rows(out, form) == [as_cells(row) for row in KEPT_ROWS]


def test_the_hf_layout_is_one_train_split_that_the_card_names(ready: Sealed, tmp_path: Path) -> None:
    out = export(ready.workspace, ID, tmp_path / "out", "hf")
    assert sorted(p.name for p in (out / "data").iterdir()) == [f"train-{n:05d}-of-00003.parquet" for n in range(3)]
    header = (out / "README.md").read_text().split("---")[1]
    assert 'path: "data/train-*.parquet"' in header


def test_a_shard_without_a_remaining_row_makes_no_file(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    judge(workspace, write_batch(workspace.batches / ID), rejected=(2, 3))
    out = export(workspace, ID, tmp_path / "out", "hf")
    assert sorted(p.name for p in (out / "data").iterdir()) == [f"train-{n:05d}-of-00002.parquet" for n in range(2)]
    assert len(read_rows(out, "hf")) == 4


@pytest.mark.parametrize("form", FORMATS)
def test_rejected_rows_and_positions_never_leave(form: Format, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    batch = write_batch(workspace.batches / ID)
    example = Example(row=1, id="b", source="rows", line=2, text="SECRET-TOKEN-1")
    gates = tuple(
        gate.model_copy(update={"examples": (example,)}) if gate.id == "privacy.secrets" else gate
        for gate in make_record(workspace, batch, "000001").gates
    )
    judge(workspace, batch, gates=gates)
    out = export(workspace, ID, tmp_path / "out", form)
    for path in out.rglob("*"):
        if path.is_file():
            assert b"SECRET-TOKEN" not in path.read_bytes()
    for row in read_rows(out, form):
        assert not any(name.startswith("distill_") for name in row)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_run_gives_the_same_bytes(ready: Sealed, form: Format, tmp_path: Path) -> None:
    first, second = (export(ready.workspace, ID, tmp_path / name, form) for name in ("one", "two"))
    names = digest.files_below(first)
    assert names == digest.files_below(second)
    assert [(first / name).read_bytes() for name in names] == [(second / name).read_bytes() for name in names]


def test_an_export_is_in_the_ledger(ready: Sealed, tmp_path: Path) -> None:
    out = export(ready.workspace, ID, tmp_path / "out", "jsonl")
    entry = ledger.entries(ready.workspace.ledger)[-1]
    assert (entry.event, entry.batch) == ("export", ID)
    assert entry.facts["sums_sha256"] == storage.sha256_file(out / digest.SUMS)


def test_text_from_data_is_no_markup_in_the_card(ready: Sealed, tmp_path: Path) -> None:
    card = (export(ready.workspace, ID, tmp_path / "out", "jsonl") / "README.md").read_text()
    assert "<script>" not in card
    assert "\n# not a heading" not in card
    assert card.count("\n---\n") == 1
    assert "| rows\\|.jsonl |" in card


def test_croissant_describes_the_data_files(ready: Sealed, tmp_path: Path) -> None:
    out = export(ready.workspace, ID, tmp_path / "out", "hf")
    metadata = json.loads((out / "croissant.json").read_bytes())
    assert metadata["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    files = [entry for entry in metadata["distribution"] if entry["@type"] == "cr:FileObject"]
    assert {f["contentUrl"]: f["sha256"] for f in files} == {
        f"data/{p.name}": storage.sha256_file(p) for p in (out / "data").iterdir()
    }
    assert [field["name"] for field in metadata["recordSet"][0]["field"]] == [column.name for column in COLUMNS]


def test_licence_and_creator_come_from_the_policy(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws", '[card]\nlicense = "cc-by-4.0"\ncreator = "Ada"\n')
    judge(workspace, write_batch(workspace.batches / ID))
    out = export(workspace, ID, tmp_path / "out", "jsonl")
    metadata = json.loads((out / "croissant.json").read_bytes())
    assert (metadata["license"], metadata["creator"]["name"]) == ("cc-by-4.0", "Ada")
    assert 'license: "cc-by-4.0"' in (out / "README.md").read_text()


def refuse(state: Sealed, out: Path, code: Code, match: str) -> None:
    """The export is refused for that reason, and nothing is left: no folder, no staging folder, no line in the ledger."""
    before = ledger.verify(state.workspace.ledger) if code is not Code.LEDGER else None
    beside = sorted(out.parent.iterdir())
    with pytest.raises(DistillError, match=match) as refused:
        export(workspaces.load(state.workspace.root), ID, out, "jsonl")
    assert refused.value.code is code
    assert sorted(out.parent.iterdir()) == beside
    assert before is None or ledger.verify(state.workspace.ledger) == before


def test_a_batch_that_was_never_judged_stays(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    batch = write_batch(workspace.batches / ID)
    state = Sealed(workspace, batch, tmp_path, make_record(workspace, batch, "1"))
    refuse(state, tmp_path / "out", Code.UNSEALED, "was never judged")


def test_a_batch_that_does_not_exist_is_named(ready: Sealed, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="E-BATCH-NOTFOUND"):
        export(ready.workspace, "other", tmp_path / "out", "jsonl")


def test_a_failed_run_names_its_gates(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    gates = (gate_record("privacy.secrets", status="failed"), gate_record("text.blank"))
    required = tuple(gate.id for gate in gates)
    state = judge(workspace, write_batch(workspace.batches / ID), verdict="FAILED", gates=gates, required=required)
    refuse(state, tmp_path / "out", Code.UNSEALED, "run 000001 of demo is FAILED: gates that did not pass: privacy.secrets")


def test_a_run_in_which_no_gate_passed_names_a_few(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    gates = tuple(gate_record(f"own.g{number:02}", status="did_not_run") for number in range(30))
    required = tuple(gate.id for gate in gates)
    state = judge(workspace, write_batch(workspace.batches / ID), verdict="FAILED", gates=gates, required=required)
    refuse(state, tmp_path / "out", Code.UNSEALED, "own.g06, own.g07 and 22 more")


def test_only_the_newest_run_counts(ready: Sealed, tmp_path: Path) -> None:
    judge(ready.workspace, ready.batch, verdict="FAILED", gates=BLANK_FAILED, required=("text.blank",))
    refuse(ready, tmp_path / "out", Code.UNSEALED, "did not pass: text.blank .an earlier run passed, but only the newest counts")


def test_a_newer_pass_counts_again(ready: Sealed, tmp_path: Path) -> None:
    judge(ready.workspace, ready.batch, verdict="FAILED", gates=BLANK_FAILED, required=("text.blank",))
    judge(ready.workspace, ready.batch)
    assert verify(export(ready.workspace, ID, tmp_path / "out", "jsonl")).run_id == "000003"


def test_removing_a_failed_runs_folder_does_not_bring_an_older_pass_back(ready: Sealed, tmp_path: Path) -> None:
    newer = judge(ready.workspace, ready.batch, verdict="FAILED", gates=BLANK_FAILED, required=("text.blank",))
    shutil.rmtree(newer.folder)
    refuse(ready, tmp_path / "out", Code.SEAL_INVALID, "the ledger's newest verdict on the batch is not that of run 000001")


def test_a_run_that_did_not_finish_counts_as_no(ready: Sealed, tmp_path: Path) -> None:
    ready.workspace.new_run_folder(ID)
    refuse(ready, tmp_path / "out", Code.UNSEALED, "run 000002 of demo did not finish")


def test_an_incomplete_record_counts_as_no(ready: Sealed, tmp_path: Path) -> None:
    judge(ready.workspace, ready.batch, verdict="INCOMPLETE", finish=False)
    refuse(ready, tmp_path / "out", Code.UNSEALED, r"is INCOMPLETE: the run did not finish \(an earlier run passed")


def test_a_changed_batch_stays(ready: Sealed, tmp_path: Path) -> None:
    path = ready.batch.folder / "shard-00001.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refuse(ready, tmp_path / "out", Code.BATCH_CORRUPT, "shard-00001.parquet was changed")


def test_a_batch_made_again_with_other_rows_is_not_the_judged_one(ready: Sealed, tmp_path: Path) -> None:
    shutil.rmtree(ready.batch.folder)
    write_batch(ready.batch.folder, [*SOURCE_ROWS[:5], {**SOURCE_ROWS[5], "response": "other"}])
    refuse(ready, tmp_path / "out", Code.SEAL_INVALID, "the batch now is")


@pytest.mark.parametrize("name", [EVIDENCE, VERDICT, QUARANTINE, "seal.json"])
def test_an_edited_file_of_the_run_breaks_the_seal(ready: Sealed, name: str, tmp_path: Path) -> None:
    path = ready.folder / name
    data = path.read_bytes().replace(b"privacy.secrets", b"privacy.secretz") if name != "seal.json" else path.read_bytes() + b"\n"
    assert data != path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(DistillError) as refused:
        export(ready.workspace, ID, tmp_path / "out", "jsonl")
    assert refused.value.code in (Code.SEAL_INVALID, Code.UNSEALED)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [VERDICT, QUARANTINE, "seal.json", EVIDENCE])
def test_a_missing_file_of_the_run_breaks_the_seal(ready: Sealed, name: str, tmp_path: Path) -> None:
    (ready.folder / name).unlink()
    with pytest.raises(DistillError) as refused:
        export(ready.workspace, ID, tmp_path / "out", "jsonl")
    assert refused.value.code in (Code.SEAL_INVALID, Code.UNSEALED)


def test_a_forged_run_that_the_ledger_does_not_know_is_refused(ready: Sealed, tmp_path: Path) -> None:
    forged = judge(ready.workspace, ready.batch, rejected=(), finish=False)
    storage.write_json(forged.folder / "seal.json", {})
    refuse(ready, tmp_path / "out", Code.SEAL_INVALID, "the ledger's newest verdict on the batch is not that of run 000002")


def test_a_seal_that_the_ledger_does_not_know_is_refused(tmp_path: Path) -> None:
    from pytest_distill.release.seal import write_seal

    workspace = make_workspace(tmp_path / "ws")
    state = judge(workspace, write_batch(workspace.batches / ID), finish=False)
    write_seal(state.folder, state.record)
    ledger.append(workspace.ledger, "verdict", batch=ID, run="000001", sha256=storage.sha256_file(state.folder / VERDICT))
    refuse(state, tmp_path / "out", Code.SEAL_INVALID, "the ledger knows no such seal")


def test_a_seal_that_says_something_else_is_refused_even_if_the_ledger_knows_it(ready: Sealed, tmp_path: Path) -> None:
    seal = (ready.folder / "seal.json").read_bytes().replace(b"DISTILL_ALL_REQUIRED", b"DISTILL_SOME_REQUIRED")
    (ready.folder / "seal.json").write_bytes(seal)
    ledger.append(ready.workspace.ledger, "seal", batch=ID, run="000001", sha256=storage.sha256_bytes(seal))
    refuse(ready, tmp_path / "out", Code.SEAL_INVALID, "is not the seal of its verdict")


def test_a_seal_copied_from_another_batch_is_refused(ready: Sealed, tmp_path: Path) -> None:
    other = write_batch(ready.workspace.batches / "other", SOURCE_ROWS[:4])
    shutil.copytree(ready.folder, ready.workspace.runs / "other" / ready.folder.name)
    with pytest.raises(DistillError) as refused:
        export(ready.workspace, other.id, tmp_path / "out", "jsonl")
    assert refused.value.code is Code.SEAL_INVALID


def test_an_edited_policy_makes_the_seal_stale(ready: Sealed, tmp_path: Path) -> None:
    (ready.workspace.root / "distill.toml").write_text("# looser\n[duplicates]\nsimilarity = 0.99\n")
    refuse(ready, tmp_path / "out", Code.SEAL_STALE, "the policy was edited")


def test_an_edited_gate_makes_the_seal_stale(ready: Sealed, tmp_path: Path) -> None:
    ready.workspace.gates.mkdir()
    (ready.workspace.gates / "helper.py").write_text("x = 1\n")
    refuse(ready, tmp_path / "out", Code.SEAL_STALE, "the source of the gates was edited")


def test_a_gate_declared_since_makes_the_seal_stale(ready: Sealed, tmp_path: Path) -> None:
    ready.workspace.gates.mkdir()
    source = "from pytest_distill import gate\n\n@gate('mine.new')\ndef test_new(require):\n    'Mine.'\n"
    (ready.workspace.gates / "test_mine.py").write_text(source)
    refuse(ready, tmp_path / "out", Code.SEAL_STALE, "gates were declared that did not judge: mine.new")


def test_another_set_of_plugins_makes_the_seal_stale(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    plugins = (*suite_digest.plugins(), "pytest-evil==1.0")
    state = judge(workspace, write_batch(workspace.batches / ID), plugins=plugins, plugins_sha256="e" * 64)
    refuse(state, tmp_path / "out", Code.SEAL_STALE, "pytest plugins changed .pytest-evil==1.0")


@pytest.fixture
def pinned_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setattr(clock, "_pinned", None)
    return clock.pin


def test_a_waiver_that_ran_out_makes_the_seal_stale(pinned_clock: Callable[[str], None], tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    batch = write_batch(workspace.batches / ID)
    waiver = Waiver(gate="privacy.secrets", reason="known", who="Ada", expires="2026-06-30")
    gates = tuple(
        gate_record(gate.id, status="waived", waiver=waiver) if gate.id == "privacy.secrets" else gate
        for gate in make_record(workspace, batch, "1").gates
    )
    state = judge(workspace, batch, gates=gates)
    pinned_clock("2026-06-30T23:00:00Z")
    out = export(workspace, ID, tmp_path / "in-time", "jsonl")
    assert verify(out).waived == ("privacy.secrets",)
    assert "## Waivers" in (out / "README.md").read_text()
    pinned_clock("2026-07-01T00:00:00Z")
    refuse(state, tmp_path / "out", Code.SEAL_STALE, "the waiver of privacy.secrets ran out")


def test_a_broken_ledger_stops_exports(ready: Sealed, tmp_path: Path) -> None:
    lines = ready.workspace.ledger.read_bytes().splitlines(keepends=True)
    ready.workspace.ledger.write_bytes(b"".join(lines[1:]))
    refuse(ready, tmp_path / "out", Code.LEDGER, "E-LEDGER")


def test_nothing_is_overwritten(ready: Sealed, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    refuse(ready, out, Code.EXPORT_EXISTS, "already exists")


@pytest.mark.parametrize("place", ["batches/demo/out", ".distill/out"])
def test_an_export_does_not_go_where_only_the_tool_writes(ready: Sealed, place: str) -> None:
    with pytest.raises(DistillError, match="where only the tool writes"):
        export(ready.workspace, ID, ready.workspace.root / place, "jsonl")


def quarantine_of(rows: list[int | None]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"row": pa.array(rows, pa.int64())}), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@pytest.mark.parametrize("rows", [[1], [1, 99], [1, -1], [1, None], [1, 1]])
def test_a_quarantine_that_does_not_fit_the_evidence_is_refused(rows: list[int | None], tmp_path: Path) -> None:
    from pytest_distill.release.seal import write_seal
    from pytest_distill.release.verdict import write_verdict

    workspace = make_workspace(tmp_path / "ws")
    batch = write_batch(workspace.batches / ID)
    folder = workspace.new_run_folder(ID)
    (folder / QUARANTINE).write_bytes(quarantine_of(rows))
    record = make_record(workspace, batch, folder.name, REJECTED, quarantine_sha256=storage.sha256_file(folder / QUARANTINE))
    record.write(folder / EVIDENCE)
    write_verdict(folder, record)
    write_seal(folder, record)
    for event, name in (("verdict", VERDICT), ("seal", "seal.json")):
        ledger.append(workspace.ledger, event, batch=ID, run=folder.name, sha256=storage.sha256_file(folder / name))
    refuse(Sealed(workspace, batch, folder, record), tmp_path / "out", Code.SEAL_INVALID, "the quarantine of run")


def test_a_row_rejected_by_two_gates_counts_once(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    judge(workspace, write_batch(workspace.batches / ID), rejected=(1, 1, 4, 4))
    assert read_rows(export(workspace, ID, tmp_path / "out", "jsonl"), "jsonl") == KEPT_ROWS


@pytest.mark.parametrize("text", ['1}\n{"instruction": "injected"', "NaN", "", "{", '"\\ud800"', "[1] [2]"])
def test_a_json_cell_that_is_no_json_does_not_leave(text: str, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    columns = tuple(c.model_copy(update={"type": "string"}) if c.name == "extra" else c for c in COLUMNS)
    folder = workspace.batches / ID
    batch = write_batch(folder, [{**SOURCE_ROWS[0], "extra": text}], columns=columns)
    batch.manifest.model_copy(update={"columns": COLUMNS}).write(folder / "manifest.json")
    digest.write_sums(folder)
    state = judge(workspace, type(batch)(folder, batch.manifest, storage.sha256_file(folder / digest.SUMS)), rejected=())
    refuse(state, tmp_path / "out", Code.BATCH_CORRUPT, "a value that is no JSON")


def test_a_json_cell_over_several_lines_stays_one_line(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    columns = tuple(c.model_copy(update={"type": "string"}) if c.name == "extra" else c for c in COLUMNS)
    folder = workspace.batches / ID
    batch = write_batch(folder, [{**SOURCE_ROWS[0], "extra": '{\r\n "k":\n 1.50}'}], columns=columns)
    batch.manifest.model_copy(update={"columns": COLUMNS}).write(folder / "manifest.json")
    digest.write_sums(folder)
    judge(workspace, type(batch)(folder, batch.manifest, storage.sha256_file(folder / digest.SUMS)), rejected=())
    out = export(workspace, ID, tmp_path / "out", "jsonl")
    assert read_rows(out, "jsonl") == [{**SOURCE_ROWS[0], "extra": {"k": 1.5}}]
    assert b"1.50" in (out / "data.jsonl").read_bytes()


def hand_made(root: Path, row: dict[str, Any], **column: Any) -> Sealed:
    """A judged batch of one row whose manifest says something else of the column `response` than its shard does."""
    workspace = make_workspace(root)
    folder = workspace.batches / ID
    batch = write_batch(folder, [row])
    columns = tuple(c.model_copy(update=column) if c.name == "response" else c for c in COLUMNS)
    manifest = batch.manifest.model_copy(update={"columns": columns})
    manifest.write(folder / "manifest.json")
    digest.write_sums(folder)
    return judge(workspace, type(batch)(folder, manifest, storage.sha256_file(folder / digest.SUMS)), rejected=())


@pytest.mark.parametrize("form", FORMATS)
def test_a_null_where_the_manifest_says_never_does_not_leave(form: Format, tmp_path: Path) -> None:
    state = hand_made(tmp_path / "ws", {**SOURCE_ROWS[0], "response": None})
    with pytest.raises(DistillError, match="holds a null"):
        export(state.workspace, ID, tmp_path / "out", form)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("form", FORMATS)
def test_a_shard_of_other_types_than_the_manifest_says_does_not_leave(form: Format, tmp_path: Path) -> None:
    state = hand_made(tmp_path / "ws", SOURCE_ROWS[0], type="int64")
    with pytest.raises(DistillError, match="is not of the type int64"):
        export(state.workspace, ID, tmp_path / "out", form)


def test_a_batch_that_changes_while_it_leaves_is_noticed(ready: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes to the batch after it was opened: between the first hash and the last."""
    from pytest_distill.release import export as module

    original = module.write_data

    def write_data(*args: Any) -> Any:
        files = original(*args)
        path = ready.batch.folder / "shard-00000.parquet"
        path.write_bytes(path.read_bytes()[:-1] + b"X")
        return files

    monkeypatch.setattr(module, "write_data", write_data)
    with pytest.raises(DistillError, match=r"shard-00000\.parquet was changed"):
        export(ready.workspace, ID, tmp_path / "out", "jsonl")
    assert not (tmp_path / "out").exists()


def test_what_was_written_is_read_again_before_it_appears(ready: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that loses a row on its way: the export does not verify, so it never gets its name."""
    from pytest_distill.release import export as module

    original = module.write_data

    def write_data(batch: Any, rejected: Any, folder: Path, form: Format) -> Any:
        files = original(batch, rejected, folder, form)
        path = folder / files[0].name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        return files

    monkeypatch.setattr(module, "write_data", write_data)
    with pytest.raises(DistillError, match="the data files hold 3 rows, the sealed evidence says 4"):
        export(ready.workspace, ID, tmp_path / "out", "jsonl")
    assert not (tmp_path / "out").exists()
    assert ledger.entries(ready.workspace.ledger)[-1].event == "seal"


def test_a_number_that_is_not_finite_does_not_leave_as_null(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    state = judge(workspace, write_batch(workspace.batches / ID, [{**SOURCE_ROWS[0], "score": float("nan")}]), rejected=())
    refuse(state, tmp_path / "out", Code.BATCH_CORRUPT, "not finite")
