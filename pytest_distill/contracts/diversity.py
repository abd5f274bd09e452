"""The radius of the diversity gate, and what it was calibrated on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256

Cosine = Annotated[float, Field(ge=-1, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class DiversityCalibration(Contract):
    """`distill diversity calibrate` writes it, `[diversity] calibration` names it.

    From labelled pairs the radius is the cosine of the best F1, with a bootstrap interval; precision and recall are those of
    cross-validation. From a reference batch it is the quantile of each row's cosine to its nearest other row.
    """

    schema_version: Literal[1] = 1
    method: Literal["pairs", "reference"]
    radius: Cosine
    low: Cosine
    high: Cosine
    count: int = Field(ge=1)
    duplicates: int | None = Field(default=None, ge=1)
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    quantile: Share | None = None
    seed: int = Field(ge=0)
    data_sha256: Sha256
    model_sha256: Sha256
    created_at: str

    @model_validator(mode="after")
    def consistent(self) -> DiversityCalibration:
        if not self.low <= self.radius <= self.high:
            raise ValueError("the radius lies outside its interval")
        of_pairs = (self.duplicates, self.precision, self.recall, self.f1)
        if (self.method == "pairs") != all(value is not None for value in of_pairs):
            raise ValueError("pairs have duplicates, precision, recall and f1, and a reference has none of them")
        if (self.method == "reference") != (self.quantile is not None):
            raise ValueError("a reference has its quantile, and pairs have none")
        if self.duplicates is not None and self.duplicates >= self.count:
            raise ValueError("no pair is labelled as different")
        return self
