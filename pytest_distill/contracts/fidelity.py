"""Fidelity: whether a rephrased text still says what the original said, and the calibration that decides it.

There is no default threshold. What a calibration says holds for the model of meaning that it names by digest, and for no other.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.rows import NonBlank

FIDELITY: Final = "fidelity"  # the column of a derived batch, a Fidelity for each row
PIPELINE: Final = "grading.fidelity"
PASS_AT: Final = 4  # the verifier's score from which a rephrasing passes

Cosine = Annotated[float, Field(strict=True, ge=-1.001, le=1.001)]  # float32 rounds a hair beyond 1
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(allow_inf_nan=False)]
Difference = Literal["ending", "names", "negation", "numbers-came", "numbers-changed", "numbers-gone", "question", "units"]
Figure = Literal[
    "cosine", "clause", "ending", "fewer", "names", "negation", "numbers-came", "numbers-changed", "numbers-gone", "question",
    "repeated", "shorter", "units", "unsaid",
]  # fmt: skip
Decision = Literal["pass", "reject", "verify"]


class FidelityPair(Contract):
    """What the verifier is given, as one JSON value. With `faithful` it is a labelled line of a calibration."""

    original: NonBlank
    rephrased: NonBlank
    faithful: bool | None = None


class FidelityScore(Contract):
    """What the verifier answers, as one JSON value: 1 is major loss of information, 5 perfect preservation."""

    fidelity_score: Annotated[int, Field(strict=True, ge=1, le=5)]
    passed: Annotated[bool, Field(strict=True, alias="pass")]
    verifier_model: NonBlank
    version: NonBlank

    @model_validator(mode="after")
    def consistent(self) -> FidelityScore:
        if self.passed != (self.fidelity_score >= PASS_AT):
            raise ValueError(f"pass is {self.passed} at a score of {self.fidelity_score}; it passes from {PASS_AT} on")
        return self


class Fidelity(Contract):
    """What was found of one row: the cosine, in what the texts differ when compared exactly, and what follows from both."""

    original: NonBlank  # the columns that were compared
    rephrased: NonBlank
    calibration_sha256: Sha256
    cosine: Cosine
    score: Share  # the calibration's: how sure it is that the rephrasing is faithful
    differences: tuple[Difference, ...]
    decision: Decision
    verifier: FidelityScore | None = None


class FidelityHeldOut(Contract):
    """How it does on pairs that took no part in fitting. `f1` counts the doubtful as not passed, as without a verifier."""

    count: int = Field(ge=1)
    precision: Share
    recall: Share
    f1: Share
    f1_doubtful_passed: Share
    f1_decided: Share
    verify_share: Share


class FidelityCalibration(Contract):
    """`distill fidelity calibrate` writes it: a logistic regression over a cosine and what is compared exactly beside it.

    score > high passes, score < low rejects, both edges and what lies between go to the verifier. The score is
    1 / (1 + exp(-(constant + the weighted figures))). A greater cosine never lowers it, and no other figure ever raises it.
    """

    schema_version: Literal[4] = 4  # raised when a figure changes: its weight would mean something else
    kind: Literal["fidelity"] = "fidelity"
    low: Share
    high: Share
    constant: Weight
    weights: dict[Figure, Weight]
    count: int = Field(ge=2)
    faithful: int = Field(ge=1)
    model_sha256: Sha256
    data_sha256: Sha256
    seed: int = Field(ge=0)
    held_out: FidelityHeldOut

    @model_validator(mode="after")
    def fitted(self) -> FidelityCalibration:
        if self.low > self.high:
            raise ValueError(f"the thresholds cross: low {self.low:g} lies above high {self.high:g}")
        if self.weights.keys() != set(get_args(Figure)):
            raise ValueError(f"each of {', '.join(get_args(Figure))} needs a weight, and nothing else has one")
        turned = [name for name, weight in self.weights.items() if (weight < 0) is (name == "cosine") and weight != 0]
        if turned:
            raise ValueError(f"the weight of {turned[0]} has the wrong sign: a difference would speak for a rephrasing")
        if self.faithful >= self.count:
            raise ValueError("every pair it was fitted on is faithful: nothing tells what is not")
        return self
