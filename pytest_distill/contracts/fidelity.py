"""Fidelity: whether a rephrased text still says what the original said, and the calibration that decides it.

There is no default threshold. What a calibration says holds for the model of meaning that it names by digest, and for no other.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.rows import NonBlank

FIDELITY: Final = "fidelity"  # the column of a derived batch, a Fidelity for each row
PIPELINE: Final = "grading.fidelity"
PASS_AT: Final = 4  # the verifier's score from which a rephrasing passes

Cosine = Annotated[float, Field(strict=True, ge=-1.001, le=1.001)]  # float32 rounds a hair beyond 1
Share = Annotated[float, Field(ge=0, le=1)]
Difference = Literal["numbers", "negation", "names", "units", "length"]
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
    length: Annotated[float, Field(ge=0)]  # words of the rephrasing, as a share of the original's
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
    """`distill fidelity calibrate` writes it.

    cosine > high passes, cosine < low rejects, both edges and what lies between go to the verifier. A difference that is in
    `rejecting` rejects whatever the cosine; any other sends a pair that would pass to the verifier.
    """

    schema_version: Literal[1] = 1
    kind: Literal["fidelity"] = "fidelity"
    low: Annotated[float, Field(ge=-1, le=1)]
    high: Annotated[float, Field(ge=-1, le=1)]
    shortest: Annotated[float, Field(ge=0, le=1)]  # a rephrasing with a smaller share of the original's words differs in length
    rejecting: tuple[Difference, ...]
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
        if self.faithful >= self.count:
            raise ValueError("every pair it was fitted on is faithful: nothing tells what is not")
        return self
