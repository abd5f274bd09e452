"""Grading: scores that are scores, a calibration that is theirs, and the threshold that it gives."""

import polars as pl

from pytest_distill import gate
from pytest_distill.contracts.grading import SCORING
from pytest_distill.gates.measures import grading


@gate("grading.scores", rejects="score_fault", applies={"columns": ["scores"], "origin": ["derived"]})
def test_scores_are_scores(score_fault, quarantine):
    """Every score keeps to the contract's fields and ranges, and its aggregate is the weighted mean of its dimensions."""
    quarantine(score_fault.is_not_null(), found=score_fault)


@gate("grading.calibrated", applies={"columns": ["scores"], "origin": ["derived"]}, rows="all")
def test_scores_are_calibrated(batch, policy, require):
    """The policy names a calibration, and it was fitted for just this scorer: model, version, prompts and tokenizer.

    Scores without one mean nothing, and there is no default threshold.
    """
    require("calibrations that the policy names", 0 if policy.grading.calibration is None else 1, at_least=1)
    wrong = grading.unfit(batch.attachment(SCORING), policy.grading)
    require("; ".join(wrong) or "things that the calibration was not made for", len(wrong), equals=0)
    strangers = grading.strangers(batch.column("scores"), policy.grading)
    require("rows scored by another model or version", strangers, equals=0, unit="rows")


@gate(
    "grading.scored",
    applies={"policy": "grading.calibration", "kind": ["sft", "rag", "text"], "origin": ["generated"]},
    rows="all",
)
def test_generated_rows_leave_with_scores(batch, require):
    """Where the policy names a calibration, generated rows leave in the batch that is derived from them with scores."""
    require("columns of scores", sum(name == "scores" for name in batch.column_names), at_least=1)


@gate(
    "grading.quality-agg",
    rejects="low_quality",
    applies={"policy": "grading.calibration", "kind": ["sft", "rag", "text"], "origin": ["ingested", "derived"]},
)
def test_quality_is_above_the_calibrated_threshold(calibrated_mean, policy, answer_text, quarantine):
    """The scores' mean, by the calibration's weights, reaches its lower threshold. A row without a score does not.

    How many rows may go to quarantine for it is for the policy to say: `max_rejected_share`. For a generated batch, which has no
    scores yet, there is `grading.scored`.
    """
    low = grading.calibration(policy.grading).thresholds.low
    found = calibrated_mean.round(3).cast(pl.String).fill_null("no score") + f" < {low:g}"
    quarantine((calibrated_mean < low).fill_null(value=True), found=found, text=answer_text)


@gate("grading.fidelity", rejects="infidelity", applies={"columns": ["fidelity"], "origin": ["derived"]})
def test_rephrasings_are_faithful(fidelity_fault, quarantine):
    """Every rephrasing is faithful by the policy's calibration: decided anew from both texts, the stored cosine and the verifier.

    Without a calibration, or with another one than decided, every row is rejected; so is a row in doubt that nobody verified.
    """
    quarantine(fidelity_fault.is_not_null(), found=fidelity_fault)
