"""The full audit: a workspace that is sound passes every phase, and each planted fault is found in its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_distill import clock
from pytest_distill.contracts.audit import METRICS, AuditReport
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.acceptance.run import FIXTURE
from pytest_distill.pipelines.audit import baseline
from pytest_distill.pipelines.audit.audit import audit
from pytest_distill.pipelines.evidence import stages
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace

HOLDS = (True, "22 of 22 hold")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped fixture, from streams to samples."""
    import importlib.resources

    root = tmp_path_factory.mktemp("sound")
    (root / "distill.toml").write_text("")
    (root / "streams").mkdir()
    for source in (importlib.resources.files(FIXTURE) / "acceptance").iterdir():
        if source.name.endswith(".jsonl"):
            (root / "streams" / source.name).write_bytes(source.read_bytes())
    with clock.pinned("2026-04-27T00:00:00Z"):
        stages.run_all(workspaces.load(root))
    return root


@pytest.fixture
def workspace(sound: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(sound, tmp_path / "copy")
    return workspaces.load(tmp_path / "copy")


def failed(report: AuditReport) -> set[int]:
    return {check.phase for check in report.checks if not check.ok}


def test_a_sound_workspace_passes_every_phase(workspace: Workspace) -> None:
    report = audit(workspace, HOLDS)
    assert report.passed
    assert {check.phase for check in report.checks} == set(range(8))
    assert report.metrics == {
        "evidence_rows": 14, "evidence_skips": 1, "accepted": 6, "partially_accepted": 2, "rejected": 4, "needs_human_review": 2,
        "rag_rows": report.metrics["rag_rows"], "sft_rows": report.metrics["sft_rows"],
        "preference_rows": report.metrics["preference_rows"], "quarantined": report.metrics["quarantined"],
    }  # fmt: skip


def test_an_empty_workspace_fails_and_no_phase_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "distill.toml").write_text("")
    report = audit(workspaces.load(tmp_path), HOLDS)
    assert not report.passed
    assert {check.phase for check in report.checks} == set(range(8))
    assert failed(report) == {0, 1, 2, 3, 4, 5}


def evidence_file(workspace: Workspace) -> Path:
    return min((workspace.root / "evidence").glob("[0-9]*/*/*/audits.jsonl"))


def scored_file(workspace: Workspace) -> Path:
    return min((workspace.root / "scored-runs").glob("[0-9]*/*/*/audits.jsonl"))


def swap(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


FAULTS: dict[str, tuple[Callable[[Workspace], object], set[int]]] = {
    "a stream without a transform": (lambda w: (w.root / "streams" / "new.jsonl").write_text("{}\n"), {0}),
    "a source row was edited": (lambda w: swap(w.root / "streams" / "audits.jsonl", b"info", b"high"), {2}),
    "an evidence row is none": (lambda w: swap(evidence_file(w), b'"run_id"', b'"run"'), {1, 2, 5}),
    "a row is there twice": (lambda w: evidence_file(w).write_bytes(evidence_file(w).read_bytes() * 2), {2, 3, 5}),
    "a score of another scorer": (lambda w: swap(scored_file(w), b'"scorer_version":"', b'"scorer_version":"0.'), {3, 5}),
    "scores are gone": (lambda w: shutil.rmtree(w.root / "scored-runs"), {3, 5}),
    "a batch is gone": (lambda w: [shutil.rmtree(path) for path in w.batches.glob("sft-*")], {4, 5}),
    "a batch was edited": (lambda w: min(w.batches.glob("rag-*/rows-*")).write_bytes(b"x"), {4, 5}),
    "a receipt is gone": (lambda w: (w.receipts / "000001" / "score.json").unlink(), {5}),
    "a summary is not of its receipts": (lambda w: swap(w.receipts / "000001" / "score.json", b"000001", b"000002"), {5}),
    "a replay was forged": (lambda w: (w.root / "streams" / "replay_runs.jsonl").write_text('{"accepted": true}\n'), {7}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_in_its_phase(workspace: Workspace, fault: str) -> None:
    plant, phases = FAULTS[fault]
    plant(workspace)
    report = audit(workspace, HOLDS)
    assert not report.passed
    assert phases <= failed(report), [check for check in report.checks if not check.ok]


def test_an_acceptance_run_that_does_not_hold_fails_phase_six(workspace: Workspace) -> None:
    assert failed(audit(workspace, (False, "21 of 22 hold"))) == {6}


def test_the_baseline_grows_and_a_swing_of_a_fifth_is_told(workspace: Workspace) -> None:
    first = audit(workspace, HOLDS)
    assert (first.changes, first.warnings) == ((), ())
    baseline.add(workspace, {**first.metrics, "accepted": 4, "rag_rows": 0})
    second = audit(workspace, HOLDS)
    assert second.warnings == ("accepted went from 4 to 6", f"rag_rows went from 0 to {first.metrics['rag_rows']}")
    assert second.passed, "a swing is a warning"
    baseline.add(workspace, second.metrics)
    assert audit(workspace, HOLDS).warnings == ()
    assert len(baseline.path(workspace).read_bytes().splitlines()) == 2


def test_a_baseline_that_is_none_is_refused(workspace: Workspace) -> None:
    baseline.path(workspace).write_text(json.dumps({"schema_version": 1, "metrics": {"accepted": 1}, "recorded_at": ""}) + "\n")
    with pytest.raises(DistillError, match="the metrics are evidence_rows"):
        audit(workspace, HOLDS)


def test_there_are_ten_figures() -> None:
    assert len(set(METRICS)) == 10
