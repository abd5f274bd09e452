"""Scores: what a scorer says of a row, the run that asked it, and the summary that a scored batch carries.

Ranges and fields are those of the document's scorer output. A score that does not keep to them is refused with a code of its own
(`pipelines.grading.reply`), and never clamped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import BatchId, Sha256
from pytest_distill.contracts.rows import NonBlank

SCORES: Final = "scores"  # the column of a scored batch, a ScorerOutput for each row
SCORING: Final = "scoring.json"  # its attachment, a ScoringSummary
PIPELINE: Final = "grading.score"
PLAN: Final = "plan.json"

# Each dimension and its highest score; the lowest is 0.
DIMENSIONS: Final[Mapping[str, float]] = {"helpfulness": 5, "correctness": 4, "coherence": 4, "complexity": 4, "verbosity": 3}
TOLERANCE: Final = 0.005  # by how much a stored `aggregated` may differ from what its scores give
EQUAL_WEIGHTS: Final[Mapping[str, float]] = dict.fromkeys(DIMENSIONS, 1 / len(DIMENSIONS))

Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class ScoredDomain(Contract):
    """A row's domain as the scorer sees it: an index into `domain.DOMAINS`, and how sure it is."""

    id: Annotated[int, Field(strict=True, ge=0, le=15)]
    confidence: Fraction


class ScorerOutput(Contract):
    """The document's JSON contract. `aggregated` is the weighted mean of the scores, each divided by its own highest."""

    helpfulness: Annotated[float, Field(strict=True, ge=0, le=5)]
    correctness: Annotated[float, Field(strict=True, ge=0, le=4)]
    coherence: Annotated[float, Field(strict=True, ge=0, le=4)]
    complexity: Annotated[float, Field(strict=True, ge=0, le=4)]
    verbosity: Annotated[float, Field(strict=True, ge=0, le=3)]
    aggregated: Fraction
    domain: ScoredDomain
    scorer_model: NonBlank
    scorer_version: NonBlank

    @property
    def scores(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in DIMENSIONS}


def aggregate(scores: Mapping[str, float], weights: Mapping[str, float] = EQUAL_WEIGHTS) -> float:
    """Weighted mean of the scores divided by their highest, in [0, 1] for weights of sum 1. The document's example: 0.778."""
    return sum(weights[name] * scores[name] / highest for name, highest in DIMENSIONS.items())


class Scorer(Contract):
    """What scored: the model that ran, and the prompts it was asked with. Scores of two scorers are two kinds of scores."""

    model: NonBlank
    version: NonBlank
    revision: NonBlank
    weights_sha256: Sha256 | None = None  # None for a model that a server holds
    tokenizer_hash: str | None = None
    template_sha256: Sha256 | None = None  # of the chat template that was used, None for none or the server's own
    constrained: bool  # was decoding held to the JSON Schema?
    rubric_version: NonBlank
    rubric_sha256: Sha256


class ScoringPlan(Contract):
    """What has to stay the same while a scoring is killed and resumed."""

    schema_version: Literal[1] = 1
    batch: BatchId
    parent_sha256: Sha256
    scorer: Scorer
    columns: tuple[NonBlank, ...]
    seed: int = Field(ge=0)
    retries: int = Field(ge=0)
    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(ge=0)  # of attempts after the first, which is greedy
    unit_rows: int = Field(ge=1)


class Attempt(Contract):
    """An attempt that gave no score: the code of the refusal, what it said, and the reply as it came."""

    code: str
    message: str
    reply: str


class RowScore(Contract):
    """One row: its score, or none where every attempt failed, and the attempts that failed."""

    row: Count
    output: ScorerOutput | None
    failed: tuple[Attempt, ...] = ()

    @model_validator(mode="after")
    def scored_or_said_why(self) -> RowScore:
        if self.output is None and not self.failed:
            raise ValueError(f"row {self.row} has no score, and nothing says why")
        return self


class ScoringUnit(Contract):
    """Rows that were scored and stored together; a run goes on behind the last of them."""

    schema_version: Literal[1] = 1
    plan_sha256: Sha256
    number: Count
    rows: tuple[RowScore, ...]
    tokens_read: Count
    tokens_written: Count


class ScoringSummary(Contract):
    """`scoring.json` of a scored batch. `failures` are rows without a score by the code of their last attempt."""

    schema_version: Literal[1] = 1
    parent_sha256: Sha256
    scorer: Scorer
    weights: dict[str, float]  # of `aggregated`
    rows: Count
    scored: Count
    failures: dict[str, int] = {}
    attempts_failed: dict[str, int] = {}  # all attempts that gave no score, also of rows that have one
    tokens_read: Count
    tokens_written: Count

    @model_validator(mode="after")
    def nothing_lost(self) -> ScoringSummary:
        if self.rows != self.scored + sum(self.failures.values()):
            raise ValueError("rows must be those scored and those that failed")
        if set(self.weights) != set(DIMENSIONS):
            raise ValueError("there is a weight for each dimension")
        return self
