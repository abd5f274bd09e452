"""A calibration: weights and thresholds that were fitted on labelled rows, and everything that they hold for.

What it says is only true of the scorer, rubric, model and tokenizer that it names by digest; judging anything else with it is
refused. When it was made lies beside it (`….created.json`), so that its digest is a function of what it was made from.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.grading import DIMENSIONS, Scorer
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.rows import NonBlank

SUM_TOLERANCE: Final = 1e-6
Share = Annotated[float, Field(ge=0, le=1)]


class Interval(Contract):
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float

    @model_validator(mode="after")
    def ordered(self) -> Interval:
        if self.low > self.high:
            raise ValueError("an interval's low end lies above its high end")
        return self


class QualityThresholds(Contract):
    """Below `low` a row is rejected; from `high` on it is good beyond doubt. Both are means in [0, 1]."""

    low: Share
    high: Share

    @model_validator(mode="after")
    def ordered(self) -> QualityThresholds:
        if self.low > self.high:
            raise ValueError(f"the thresholds cross: low {self.low:g} lies above high {self.high:g}")
        return self


class CalibrationDigests(Contract):
    """What a calibration holds for. `model` is of the weights that ran, or of the server's word where it has them."""

    data: Sha256
    model: Sha256
    rubric: Sha256
    tokenizer: Sha256 | None = None  # and its chat template; None where a server tokenizes


class HeldOut(Contract):
    """How it does on labelled rows that took no part in fitting, at the threshold `low`."""

    count: int = Field(ge=1)
    auc: Interval
    balanced_accuracy: Interval
    precision: Interval | None = None  # None where no row passes
    recall: Interval | None = None
    rejected_share: Share
    doubtful_share: Share


class Calibration(Contract):
    """`distill calibrate` writes it. `count` is how many rows fitted; the labels are of people, never of the scorer."""

    schema_version: Literal[1] = 1
    weights: dict[NonBlank, Share]
    thresholds: QualityThresholds
    count: int = Field(ge=1)
    labelled_by: NonBlank
    scorer_model: NonBlank
    scorer_version: NonBlank
    digests: CalibrationDigests
    weight_intervals: dict[NonBlank, Interval]
    threshold_intervals: dict[Literal["low", "high"], Interval]
    held_out: HeldOut
    precision: Share  # that `high` was chosen for
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def fitted(self) -> Calibration:
        if set(self.weights) != set(DIMENSIONS):
            raise ValueError(f"the weights are not those of {', '.join(DIMENSIONS)}")
        total = math.fsum(self.weights.values())
        if abs(total - 1) > SUM_TOLERANCE:
            raise ValueError(f"the weights sum to {total:g}, not to 1")
        if len({round(weight, 6) for weight in self.weights.values()}) == 1:
            raise ValueError("all weights are equal: a placeholder, which nobody fitted")
        if self.labelled_by.strip().casefold() == self.scorer_model.strip().casefold():
            raise ValueError("the labels are of the scorer itself")
        return self

    def unfit_for(self, scorer: Scorer) -> str | None:
        """What of a scorer this calibration was not made for; None where it holds for it."""
        found = digests_of(scorer)
        pairs = (
            ("model", scorer.model, self.scorer_model),
            ("version", scorer.version, self.scorer_version),
            ("weights", found["model"], self.digests.model),
            ("prompts", scorer.rubric_sha256, self.digests.rubric),
            ("tokenizer", found["tokenizer"], self.digests.tokenizer),
        )
        wrong = next((name for name, there, here in pairs if there != here), None)
        return None if wrong is None else f"the scores are of another {wrong} than the calibration"


def digests_of(scorer: Scorer) -> dict[str, str | None]:
    """The digests of model and tokenizer that a calibration holds for."""
    served = storage.canonical_json([scorer.model, scorer.revision, scorer.version])
    tokenizer = storage.canonical_json([scorer.tokenizer_hash, scorer.template_sha256])
    return {
        "model": scorer.weights_sha256 or storage.sha256_bytes(served),
        "tokenizer": storage.sha256_bytes(tokenizer) if scorer.tokenizer_hash else None,
    }
