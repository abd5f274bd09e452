"""Scored batches: refused without a calibration or with one of another scorer; rows below its threshold are quarantined."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from stage1_runs import call_generated
from workbench import Bench, curated

from pytest_distill.batch.batch import open_batch
from pytest_distill.contracts.calibration import Calibration, CalibrationDigests, HeldOut, Interval, QualityThresholds, digests_of
from pytest_distill.contracts.grading import DIMENSIONS, SCORING, Scorer, ScorerOutput, ScoringSummary, aggregate
from pytest_distill.contracts.manifest import How
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.grading.derive import derived
from pytest_distill.policy import workspace as workspaces

SHA = "0" * 64
SCORER = Scorer(
    model="m", version="v", revision="r", weights_sha256="1" * 64, tokenizer_hash="2" * 64, constrained=True, rubric_version="1",
    rubric_sha256=SHA,
)  # fmt: skip
WEIGHTS = {"helpfulness": 0.6, "correctness": 0.4, "coherence": 0.0, "complexity": 0.0, "verbosity": 0.0}
ONLY = ("-k", "scores_are or quality_is or record_schema or copies_of_a_row")


def output(share: float, **changes: Any) -> dict[str, Any]:
    """A valid score whose helpfulness and correctness are `share` of their highest, and the rest 0."""
    scores = {name: share * highest if WEIGHTS[name] else 0.0 for name, highest in DIMENSIONS.items()}
    whole = ScorerOutput(
        **scores,
        aggregated=round(aggregate(scores), 6),
        domain={"id": 0, "confidence": 0.5},
        scorer_model="m",
        scorer_version="v",
    )
    return {**whole.model_dump(), **changes}


def scored(bench: Bench, outputs: list[dict[str, Any]], *, scorer: Scorer | None = SCORER) -> None:
    """The batch "scored": rows of the demo with these scores, and what scored them."""
    bench.batch(curated(len(outputs)), name="rows")
    workspace = workspaces.load(bench.root)
    summary = ScoringSummary(
        parent_sha256=SHA, scorer=scorer or SCORER, weights=dict.fromkeys(DIMENSIONS, 0.2), rows=0, scored=0, tokens_read=0,
        tokens_written=0,
    )  # fmt: skip
    derived(
        workspace, open_batch(workspace.batch_folder("rows")), "scored", columns={"scores": outputs},
        how=How(pipeline="grading.score"), what="w", why="y", attachments={SCORING: summary.to_bytes()} if scorer else {},
    )  # fmt: skip


def calibrated(bench: Bench, low: float = 0.5, *, policy: str = "", scorer: Scorer = SCORER, **changes: Any) -> None:
    held, sure = digests_of(scorer), Interval(value=0.7, low=0.6, high=0.8)
    made = Calibration(
        weights=WEIGHTS, thresholds=QualityThresholds(low=low, high=0.9), count=100, labelled_by="people",
        scorer_model=scorer.model, scorer_version=scorer.version,
        digests=CalibrationDigests(data=SHA, model=held["model"], rubric=scorer.rubric_sha256, tokenizer=held["tokenizer"]),
        weight_intervals={}, threshold_intervals={}, precision=0.9, seed=0,
        held_out=HeldOut(count=50, auc=sure, balanced_accuracy=sure, rejected_share=0.2, doubtful_share=0.3),
    )  # fmt: skip
    bench.file("calibration.json", json.dumps({**made.model_dump(mode="json"), **changes}))
    bench.policy(f'[grading]\ncalibration = "calibration.json"\n{policy}')


def test_scores_without_a_calibration_are_refused(bench: Bench) -> None:
    scored(bench, [output(0.9)] * 3)
    ended = bench.judge(*ONLY, batch="scored")
    assert ended.status("grading.scores") == "passed"
    assert ended.status("grading.calibrated") == "failed"
    assert "calibrations that the policy names" in ended.why("grading.calibrated")
    assert ended.status("grading.quality-agg") == "not_applicable"


def test_rows_below_the_threshold_are_quarantined_and_their_share_is_bounded(bench: Bench) -> None:
    scored(bench, [output(share) for share in (0.9, 0.8, 0.5, 0.49)])
    calibrated(bench)
    ended = bench.judge(*ONLY, batch="scored")
    assert ended.status("grading.calibrated") == "passed"
    gate = ended.gate("grading.quality-agg")
    assert (gate.status, gate.rejected, gate.reason_code) == ("failed", 1, "low_quality")
    assert gate.examples[0].row == 3
    calibrated(bench, policy='[gates."grading.quality-agg"]\nmax_rejected_share = 0.25\n')
    assert bench.judge(*ONLY, batch="scored").status("grading.quality-agg") == "passed"
    calibrated(bench, policy='[gates."grading.quality-agg"]\nmax_rejected_share = 0.2\n')
    assert bench.judge(*ONLY, batch="scored").status("grading.quality-agg") == "failed"


def test_the_mean_is_taken_again_by_the_calibrations_weights(bench: Bench) -> None:
    """By equal weights these rows have 0.4; the calibration looks at two dimensions only, and they are full there."""
    scored(bench, [output(1.0)] * 2)
    calibrated(bench, low=0.85)
    assert bench.judge(*ONLY, batch="scored").status("grading.quality-agg") == "passed"


def test_a_batch_without_scores_does_not_leave_once_a_calibration_is_named(bench: Bench) -> None:
    calibrated(bench)
    gate = bench.judge(*ONLY).gate("grading.quality-agg")
    assert (gate.status, gate.rejected) == ("failed", 30)


def test_generated_rows_leave_in_the_batch_that_scores_them(bench: Bench) -> None:
    """Scoring derives a batch from one that cannot be sealed for want of scores, and of nothing else."""
    scored(bench, [output(0.9)] * 30)
    rows = call_generated(open_batch(bench.root / "batches" / "rows"))
    shutil.rmtree(bench.root / "batches" / "scored")
    space = workspaces.load(bench.root)
    derived(space, rows, "scored", columns={"n": list(range(30))}, how=How(pipeline="grading.score"), what="w", why="y")

    calibrated(bench)
    unjudged = bench.judge("-k", "ancestors", batch="scored")
    assert unjudged.status("lineage.generated") == "failed"
    raw = bench.judge(batch="rows")
    assert (raw.status("grading.scored"), raw.sealed) == ("failed", False)
    for_want_of_scores = [gate.id for gate in raw.record.gates if gate.status == "failed"]
    assert for_want_of_scores == ["grading.scored"], raw.out
    assert bench.judge("-k", "ancestors", batch="scored").status("lineage.generated") == "passed"

    bench.policy('[grading]\ncalibration = "calibration.json"\n[gates."counts.rows"]\nmin_rows = 31\n')
    assert bench.judge("-k", "ancestors", batch="scored").status("lineage.generated") == "failed"  # another policy judged
    assert not bench.judge(batch="rows").sealed
    again = bench.judge("-k", "ancestors", batch="scored")
    assert again.status("lineage.generated") == "failed"  # more than scores is missing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "other"}, "another model"),
        ({"version": "other"}, "another version"),
        ({"weights_sha256": "3" * 64}, "another weights"),
        ({"rubric_sha256": "3" * 64}, "another prompts"),
        ({"tokenizer_hash": "3" * 64}, "another tokenizer"),
        ({"template_sha256": "3" * 64}, "another tokenizer"),
    ],
)
def test_a_calibration_of_another_scorer_is_refused(bench: Bench, change: dict[str, Any], said: str) -> None:
    scored(bench, [output(0.9)] * 2)
    calibrated(bench, scorer=SCORER.model_copy(update=change))
    ended = bench.judge(*ONLY, batch="scored")
    assert ended.status("grading.calibrated") == "failed"
    assert said in ended.why("grading.calibrated")


def test_scores_that_nobody_vouches_for_are_refused(bench: Bench) -> None:
    scored(bench, [output(0.9)] * 2, scorer=None)
    calibrated(bench)
    assert "nobody knows who scored it" in bench.judge(*ONLY, batch="scored").why("grading.calibrated")


def test_rows_of_another_scorer_among_them_are_counted(bench: Bench) -> None:
    scored(bench, [output(0.9), output(0.9, scorer_model="stranger")])
    calibrated(bench)
    assert "rows scored by another model or version is 1" in bench.judge(*ONLY, batch="scored").why("grading.calibrated")


def test_stored_scores_that_are_none_are_rejected(bench: Bench) -> None:
    bad = [
        output(0.9, helpfulness=5.1), output(0.9, aggregated=0.99), output(0.9, honesty=1),
        {name: value for name, value in output(0.9).items() if name != "coherence"},
    ]  # fmt: skip
    scored(bench, [output(0.9), *bad])
    calibrated(bench)
    gate = bench.judge(*ONLY, batch="scored").gate("grading.scores")
    assert (gate.status, gate.rejected, [e.row for e in gate.examples]) == ("failed", 4, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 0}, "count"),
        ({"weights": dict.fromkeys(DIMENSIONS, 0.2)}, "placeholder"),
        ({"weights": {**WEIGHTS, "helpfulness": 0.5}}, "sum to 0.9"),
        ({"weights": {"helpfulness": 1.0}}, "weights are not those"),
        ({"thresholds": {"low": 0.9, "high": 0.5}}, "thresholds cross"),
        ({"thresholds": {"low": 0.5, "high": 1.5}}, "high"),
        ({"labelled_by": "M "}, "of the scorer itself"),
        ({"weights": {**WEIGHTS, "helpfulness": float("nan")}}, "weights"),
    ],
)
def test_an_artifact_that_is_no_calibration_is_refused_with_the_policy(bench: Bench, changes: dict[str, Any], said: str) -> None:
    calibrated(bench, **changes)
    with pytest.raises(DistillError, match=rf"E-CALIBRATION.*{said}"):
        workspaces.load(bench.root)


def test_a_plain_file_with_a_column_of_that_name_is_left_alone(bench: Bench) -> None:
    bench.batch([{**row, "scores": 3} for row in curated(3)], name="plain")
    ended = bench.judge(*ONLY, batch="plain")
    assert {ended.status(f"grading.{name}") for name in ("scores", "calibrated", "quality-agg")} == {"not_applicable"}


def test_another_byte_of_the_calibration_is_another_policy(bench: Bench) -> None:
    calibrated(bench)
    before = workspaces.load(bench.root).policy.sha256
    calibrated(bench, low=0.51)
    assert workspaces.load(bench.root).policy.sha256 != before
