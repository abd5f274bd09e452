"""The full audit of a workspace: a family of checks for each phase from streams to replay, and ten figures of each audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.receipts import Delta

PHASES: tuple[str, ...] = (
    "sources", "formats", "evidence", "scores", "exports", "receipts", "acceptance", "replay",
)  # fmt: skip
METRICS: tuple[str, ...] = (
    "evidence_rows", "evidence_skips", "accepted", "partially_accepted", "rejected", "needs_human_review", "rag_rows", "sft_rows",
    "preference_rows", "quarantined",
)  # fmt: skip
Metrics = dict[str, Annotated[int, Field(ge=0)]]


class AuditCheck(Contract):
    """One check of a phase, 0 to 7. `detail` says what was looked at, or what is wrong."""

    phase: int = Field(ge=0, le=7)
    name: str = Field(min_length=1)
    ok: bool
    detail: str


class BaselineEntry(Contract):
    """One line of the baseline: the figures of an audit that passed."""

    schema_version: Literal[1] = 1
    metrics: Metrics
    recorded_at: str

    @model_validator(mode="after")
    def complete(self) -> BaselineEntry:
        if set(self.metrics) != set(METRICS):
            raise ValueError(f"the metrics are {', '.join(METRICS)}")
        return self


class AuditReport(Contract):
    """It passed when every phase was looked at and every check is ok. `changes` are against the newest entry of the baseline."""

    schema_version: Literal[1] = 1
    checks: tuple[AuditCheck, ...]
    metrics: Metrics
    changes: tuple[Delta, ...] = ()
    warnings: tuple[str, ...] = ()
    warn_percent: float = Field(gt=0)
    passed: bool

    @model_validator(mode="after")
    def consistent(self) -> AuditReport:
        looked_at = {check.phase for check in self.checks}
        if self.passed != (looked_at == set(range(len(PHASES))) and all(check.ok for check in self.checks)):
            raise ValueError("passed must be: every phase was looked at, and every check is ok")
        return self
