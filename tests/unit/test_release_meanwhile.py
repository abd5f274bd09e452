"""Export beside others at work: runs that were killed or overtaken, and what happens while an export is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sealed_workspace import ID, Sealed, gate_record, judge, sealed

from pytest_distill import ledger, storage
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release import incidents
from pytest_distill.release.export import export
from pytest_distill.release.seal import SEAL, write_seal
from pytest_distill.release.verdict import VERDICT
from pytest_distill.release.verify import verify

FAILED = {"verdict": "FAILED", "gates": (gate_record("text.blank", status="failed"),), "required": ("text.blank",)}


@pytest.fixture
def ready(tmp_path: Path) -> Sealed:
    return sealed(tmp_path / "ws")


def refuse(state: Sealed, out: Path, code: Code, match: str) -> None:
    """The export is refused for that reason, and nothing is left: no folder, no staging folder, no line in the ledger."""
    with pytest.raises(DistillError, match=match) as refused:
        export(workspaces.load(state.workspace.root), ID, out, "jsonl")
    assert refused.value.code is code
    assert sorted(out.parent.iterdir()) == [state.workspace.root]
    assert not [entry for entry in ledger.entries(state.workspace.ledger) if entry.event == "export"]


def end(state: Sealed, steps: int = 4) -> None:
    """The last steps of a run that passed, as far as it came."""
    chain, run, folder = state.workspace.ledger, state.folder.name, state.folder
    if steps > 1:
        entry = ledger.append(chain, "verdict", batch=ID, run=run, sha256=storage.sha256_file(folder / VERDICT))
    if steps > 2:
        write_seal(folder, state.record, ledger=ledger.position(entry))
    if steps > 3:
        ledger.append(chain, "seal", batch=ID, run=run, sha256=storage.sha256_file(folder / SEAL))


def test_removing_the_newest_runs_folder_brings_no_older_one_back_that_ended_last(ready: Sealed, tmp_path: Path) -> None:
    older = judge(ready.workspace, ready.batch, finish=False)
    newer = judge(ready.workspace, ready.batch, **FAILED)
    end(older)
    shutil.rmtree(newer.folder)
    refuse(ready, tmp_path / "out", Code.SEAL_INVALID, "the ledger's newest verdict on the batch is not that of run 000002")


@pytest.mark.parametrize("steps", [1, 2, 3], ids=["files", "verdict in the ledger", "seal"])
def test_a_run_that_was_killed_in_its_last_steps_did_not_finish(ready: Sealed, tmp_path: Path, steps: int) -> None:
    """It is nobody's forgery: no incident, and judging again is all there is to do."""
    end(judge(ready.workspace, ready.batch, finish=False), steps)
    refuse(ready, tmp_path / "out", Code.UNSEALED, "run 000002 of demo did not finish: it was stopped before")
    assert not incidents.incidents(ready.workspace)
    judge(ready.workspace, ready.batch)
    assert export(ready.workspace, ID, tmp_path / "out", "jsonl").is_dir()


def test_of_two_runs_at_once_the_one_that_ends_last_has_to_be_the_newest(ready: Sealed, tmp_path: Path) -> None:
    slow = judge(ready.workspace, ready.batch, finish=False)
    judge(ready.workspace, ready.batch)
    end(slow)
    refuse(ready, tmp_path / "out", Code.UNSEALED, "run 000002 of demo began before run 000003 of demo and ended after it")
    assert not incidents.incidents(ready.workspace)


@pytest.mark.parametrize(
    ("meanwhile", "code", "match"),
    [
        (lambda s: judge(s.workspace, s.batch, verdict="FAILED", findings=("no",)), Code.UNSEALED, "is FAILED"),
        (lambda s: s.workspace.new_run_folder(ID), Code.UNSEALED, "did not finish"),
        (lambda s: judge(s.workspace, s.batch, rejected=()), Code.UNSEALED, "judged again while it was exported"),
        (lambda s: (s.workspace.root / "distill.toml").write_text("[bulk]\nowner = 'x'\n"), Code.SEAL_STALE, "policy was edited"),
        (lambda s: incidents.open_incident(s.workspace, "leak", "seen", blocking=True), Code.INCIDENT, "incident 1 is open"),
    ],
    ids=["failed", "started", "sealed otherwise", "policy", "incident"],
)
def test_what_happens_while_an_export_is_written_stops_it(
    ready: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Sealed], Any], code: Code, match: str
) -> None:
    def verified(folder: Path) -> None:
        verify(folder)
        meanwhile(ready)

    monkeypatch.setattr("pytest_distill.release.export.verify", verified)
    refuse(ready, tmp_path / "out", code, match)
