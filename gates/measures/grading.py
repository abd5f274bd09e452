"""Scores of a scored batch, taken again from what it stores: are they scores, and what do they come to by the calibration?"""

from __future__ import annotations

import polars as pl
from pydantic import ValidationError

from pytest_distill import measure
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.calibration import Calibration
from pytest_distill.contracts.grading import SCORING, TOLERANCE, ScorerOutput, ScoringSummary, aggregate
from pytest_distill.policy.model import Grading


@measure(version=1)
def score_fault(scores: pl.Series) -> pl.Series:
    """Why a row's score is none, as `field: what is wrong`; null where it is one."""
    return pl.Series([_read(text)[1] for text in scores], dtype=pl.String)


@measure(version=1, config="grading")
def calibrated_mean(answer_text: pl.Series, config: Grading, scores: pl.Series | None = None) -> pl.Series:
    """Weighted mean of a row's scores by the weights of the pinned calibration, in [0, 1]; null where it has no score."""
    weights = calibration(config).weights
    texts = [None] * len(answer_text) if scores is None else scores.to_list()
    found = [_read(text)[0] for text in texts]
    return pl.Series([None if one is None else aggregate(one.scores, weights) for one in found], dtype=pl.Float64)


def calibration(config: Grading) -> Calibration:
    """The calibration that the policy names; it was read when the policy was loaded, so it is one."""
    assert config.calibration is not None, "the gate applies where a calibration is named"
    return Calibration.load(config.calibration.resolved)


def unfit(summary: bytes | None, config: Grading) -> list[str]:
    """Why the pinned calibration does not hold for the scorer of a batch; empty where it does."""
    if config.calibration is None:
        return ["the policy names no calibration"]
    if summary is None:
        return [f"the batch has no {SCORING}, so nobody knows who scored it"]
    why = calibration(config).unfit_for(ScoringSummary.from_bytes(summary, name=SCORING).scorer)
    return [] if why is None else [why]


def strangers(scores: pl.Series, config: Grading) -> int:
    """Rows whose score names another model or version than the calibration does."""
    if config.calibration is None:
        return len(scores)
    known = calibration(config)
    found = (_read(text)[0] for text in scores)
    wanted = (known.scorer_model, known.scorer_version)
    return sum(one is None or (one.scorer_model, one.scorer_version) != wanted for one in found)


def _read(text: str | None) -> tuple[ScorerOutput | None, str | None]:
    if text is None:
        return None, "scores: is missing"
    try:
        output = ScorerOutput.model_validate_json(text)
    except ValidationError as error:
        return None, first_problem(error)
    total = aggregate(output.scores)
    if abs(output.aggregated - total) > TOLERANCE + 1e-9:
        return None, f"aggregated: is {output.aggregated:g}, the scores give {total:.4f}"
    return output, None
