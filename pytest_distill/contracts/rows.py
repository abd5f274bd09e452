"""What a row of each kind has to be. Foreign columns pass: only the fields that have a meaning here are judged."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pytest_distill.contracts.manifest import Kind

NonBlank = Annotated[str, StringConstraints(pattern=r"\S")]
LogProbability = Annotated[float, Field(le=0, allow_inf_nan=False)]
TOLERANCE = 1e-6  # of a margin that was written with rounded numbers


class Row(BaseModel):
    """Base of the rows: values are not converted ("1" is no number), columns of others are carried along."""

    model_config = ConfigDict(extra="allow", strict=True)


class Critique(Row):
    """An A/B critic's judgement: which of two labels it found likelier, by next-token log-probabilities."""

    is_good: bool
    predicted_label: Literal["A", "B"]
    logp_a: LogProbability
    logp_b: LogProbability
    margin: float = Field(ge=0, allow_inf_nan=False)
    confident: bool
    confidence_threshold: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def consistent(self) -> Critique:
        if self.is_good != (self.predicted_label == "A"):
            raise ValueError("label A and is_good must agree")
        if self.is_good != (self.logp_a > self.logp_b):
            raise ValueError("label A must be the likelier one: logp_a > logp_b")
        if not math.isclose(self.margin, abs(self.logp_a - self.logp_b), rel_tol=0, abs_tol=TOLERANCE):
            raise ValueError("margin must be |logp_a - logp_b|")
        if self.confident != (self.margin >= self.confidence_threshold):
            raise ValueError("confident must mean margin >= confidence_threshold")
        return self


class SftRow(Row):
    instruction: NonBlank
    response: NonBlank
    prompt: str | None = None
    completion: str | None = None
    instruction_critique: Critique | None = None
    pair_critique: Critique | None = None
    candidate_status: str | None = None
    raw_tokens: int | None = Field(default=None, ge=0)
    clean_tokens: int | None = Field(default=None, ge=0)
    hit_token_limit: bool | None = None
    trim_rule: str | None = None

    @model_validator(mode="after")
    def consistent(self) -> SftRow:
        critiques = (self.instruction_critique, self.pair_critique)
        if self.candidate_status == "kept":
            if None in critiques:
                raise ValueError("a kept row needs both critiques")
            if not all(c is not None and c.is_good and c.confident for c in critiques):
                raise ValueError("a kept row must be good and confident in both critiques")
        if critiques[0] is not None and critiques[0] == critiques[1]:
            raise ValueError("instruction_critique and pair_critique are copies of each other")
        if self.raw_tokens is not None and self.clean_tokens is not None and self.clean_tokens > self.raw_tokens:
            raise ValueError("clean_tokens must not exceed raw_tokens")
        return self


class PreferenceRow(Row):
    chosen: str
    rejected: str
    prompt: str | None = None

    @model_validator(mode="after")
    def distinct(self) -> PreferenceRow:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text")
        return self


class RagRow(Row):
    content: NonBlank
    title: str | None = None


class TextRow(Row):
    text: NonBlank


ROWS: dict[Kind, type[Row]] = {"sft": SftRow, "preference": PreferenceRow, "rag": RagRow, "text": TextRow}
