"""The gates of receipts: a batch made of evidence leaves only with the receipts of every stage behind it."""

from __future__ import annotations

import importlib.resources
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from judging import judge

from pytest_distill import clock
from pytest_distill.batch.batch import open_batch
from pytest_distill.contracts.receipts import DriftReport, Flag
from pytest_distill.errors import DistillError
from pytest_distill.gates import test_receipts as gates
from pytest_distill.pipelines.acceptance.run import FIXTURE
from pytest_distill.pipelines.evidence import stages
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.origin import Origin, origin_of


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ran")
    (root / "distill.toml").write_text("")
    (root / "streams").mkdir()
    for source in (importlib.resources.files(FIXTURE) / "acceptance").iterdir():
        if source.name.endswith(".jsonl"):
            (root / "streams" / source.name).write_bytes(source.read_bytes())
    with clock.pinned("2026-04-27T00:00:00Z"):
        stages.run_all(workspaces.load(root))
    return root


@pytest.fixture
def workspace(ran: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(ran, tmp_path / "copy")
    return workspaces.load(tmp_path / "copy")


def refused(
    workspace: Workspace,
    gate: Callable[..., None],
    limits: dict[str, Any] | None = None,
    change: Callable[[Origin], Origin] = lambda origin: origin,
) -> list[str]:
    """The figures of a gate on the sft batch that are out of bounds, or cannot be told. `change` is made to its origin."""
    batch = open_batch(min(workspace.batches.glob("sft-*")))

    def origin(*first: str) -> Any:
        found = origin_of(workspace, batch.id, batch.sha256, first=frozenset(first))
        return None if found is None else change(found)

    found = judge(gate, limits=limits, batch=SimpleNamespace(origin=origin), manifest=batch.manifest)  # type: ignore[arg-type]
    holds = {"equals": lambda a, b: a == b, "at_least": lambda a, b: a >= b, "at_most": lambda a, b: a <= b}
    return [
        name for name, (value, bounds) in found.figures.items()
        if value is None or not all(holds[op](value, bound) for op, bound in bounds.items())
    ]  # fmt: skip


def test_a_run_of_all_stages_passes(workspace: Workspace) -> None:
    assert refused(workspace, gates.test_every_stage_left_a_receipt) == []
    assert refused(workspace, gates.test_the_same_input_gave_the_same_output) == []
    assert refused(workspace, gates.test_no_figure_swung) == []


def test_stages_that_ran_one_by_one_pass_too(workspace: Workspace) -> None:
    shutil.rmtree(workspace.receipts)
    for name in stages.STAGES:
        stages.one(workspace, name)
    assert refused(workspace, gates.test_every_stage_left_a_receipt) == []


def test_the_share_of_skipped_rows_is_bounded(workspace: Workspace) -> None:
    assert refused(workspace, gates.test_few_rows_were_skipped) == ["share of rows that were skipped"], "1 of 15"
    assert refused(workspace, gates.test_few_rows_were_skipped, {"max_skipped_share": 0.07}) == []


def test_an_error_of_a_stage_says_no(workspace: Workspace) -> None:
    def failed(origin: Origin) -> Origin:
        first, *others = origin.chain
        validation = first.validation.model_copy(update={"passed": False, "errors": ("E-MANIFEST: a line was cut off",)})
        return replace(origin, chain=(first.model_copy(update={"validation": validation}), *others))

    few = {"max_skipped_share": 0.07}
    assert refused(workspace, gates.test_few_rows_were_skipped, few, failed) == ["errors of the stages"]
    assert refused(workspace, gates.test_few_rows_were_skipped, few | {"max_errors": 1}, failed) == []


def test_a_figure_that_swung_is_told(workspace: Workspace) -> None:
    flag = Flag(severity="warn", stage="score", kind="swing", message="records out: 40 before, 4 now")
    report = DriftReport(
        run_id="000002", prior_run_id="000001", warn_percent=20, severity="warn", run_hash_match=False, stages=(), flags=(flag,)
    )  # fmt: skip
    assert refused(workspace, gates.test_no_figure_swung, change=lambda origin: replace(origin, drift=(report,))) == [
        "warnings of the drift reports"
    ]


def test_without_receipts_every_gate_says_no(workspace: Workspace) -> None:
    shutil.rmtree(workspace.receipts)
    assert "a stage has written these bytes" in refused(workspace, gates.test_every_stage_left_a_receipt)
    for gate in (
        gates.test_every_stage_left_a_receipt, gates.test_few_rows_were_skipped, gates.test_the_same_input_gave_the_same_output,
        gates.test_no_figure_swung,
    ):  # fmt: skip
        assert refused(workspace, gate) != []


@pytest.mark.parametrize("stage", ["collect", "score", "export-sft"])
def test_a_receipt_that_is_missing_breaks_the_chain(workspace: Workspace, stage: str) -> None:
    (workspace.receipts / "000001" / f"{stage}.json").unlink()
    assert f"receipts of {stage}" in refused(workspace, gates.test_every_stage_left_a_receipt)


def test_output_of_a_stage_that_was_edited_before_it_was_read_breaks_the_chain(workspace: Workspace) -> None:
    """Planted fault: stale output is used. Scores are edited, and the export runs without asking whether they are fresh."""
    path = min((workspace.root / "scored-runs").glob("[0-9]*/*/*/audits.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"rejected"', b'"accepted"'))
    from pytest_distill.pipelines.exporters.export import Options
    from pytest_distill.stages.receipts import with_receipt

    shutil.rmtree(min(workspace.batches.glob("sft-*")))
    with with_receipt(workspace, "export-sft") as stage:
        stages.export(workspace, stage, Options())
    assert "files that a stage read and none wrote" in refused(workspace, gates.test_every_stage_left_a_receipt)
    with pytest.raises(DistillError, match="E-STALE"):
        stages.one(workspace, "export-sft")


def test_a_receipt_of_another_run_is_foreign(workspace: Workspace) -> None:
    path = workspace.receipts / "000001" / "score.json"
    path.write_bytes(path.read_bytes().replace(b"000001", b"000007"))
    assert refused(workspace, gates.test_every_stage_left_a_receipt) == ["receipts that are not of their run"]


def test_a_run_without_a_summary_was_cut_off(workspace: Workspace) -> None:
    (workspace.receipts / "000001" / "summary.json").unlink()
    assert refused(workspace, gates.test_every_stage_left_a_receipt) == ["receipts that are not of their run"]


def test_a_receipt_that_does_not_add_up_ends_the_gate(workspace: Workspace) -> None:
    path = workspace.receipts / "000001" / "score.json"
    path.write_bytes(path.read_bytes().replace(b'"scorer_version": "', b'"scorer_version": "0.'))
    with pytest.raises(DistillError, match="input_hash is not that of the inputs"):
        refused(workspace, gates.test_every_stage_left_a_receipt)


def test_a_deterministic_violation_behind_a_batch_says_no(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a scorer whose reasons come from elsewhere than the record. The same evidence is scored otherwise."""
    from pytest_distill.pipelines.evidence import score, scoring

    shutil.rmtree(workspace.root / "scored-runs")
    shutil.rmtree(workspace.state / "evidence")
    honest = score.score_record
    monkeypatch.setattr(scoring, "score_record", lambda *given: honest(*given)._replace(reasons=("because of the environment",)))
    stages.run_all(workspace)
    assert refused(workspace, gates.test_the_same_input_gave_the_same_output) == ["deterministic violations"]
