"""What one gate run leaves: figures, bounds and a status for every required gate (`evidence.json`).

Deterministic: the same bytes judged by the same gates under the same policy give the same record. Times live in `run.json`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import BatchId, Sha256

Op = Literal["below", "at_most", "above", "at_least", "equals"]
SYMBOLS: dict[str, str] = {"below": "<", "at_most": "<=", "above": ">", "at_least": ">=", "equals": "=="}

Status = Literal["passed", "failed", "warned", "waived", "not_applicable", "did_not_run"]


class Bound(Contract):
    op: Op
    value: float | int | str | bool

    def __str__(self) -> str:
        return f"{SYMBOLS[self.op]} {self.value:g}" if isinstance(self.value, float) else f"{SYMBOLS[self.op]} {self.value}"


class Figure(Contract):
    """One number a gate measured. `rows` is how many rows it was drawn from."""

    name: str
    value: float | int | str | bool | None
    bound: Bound | None = None
    ok: bool
    unit: str | None = None
    rows: int = Field(ge=0)


class Example(Contract):
    """One rejected row: where it is, and the text around what was found. `start`/`end` are the span inside `text`."""

    row: int
    id: str
    source: str
    line: int
    text: str
    start: int | None = None
    end: int | None = None


class Waiver(Contract):
    gate: str
    reason: str
    who: str
    expires: str


# Two reasons that others act on: what a person is told to do next hangs on them.
NOT_COLLECTED = "it was not collected"
DID_NOT_RUN = "it did not run"


class GateRecord(Contract):
    id: str
    title: str
    kind: Literal["row", "batch"]
    severity: Literal["block", "warn"]
    status: Status
    why: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    rows_seen: int = 0
    rejected: int = 0
    reason_code: str | None = None
    examples: tuple[Example, ...] = ()
    origin: Literal["standard", "workspace", "policy"]
    source: str | None = None
    source_sha256: Sha256 | None = None
    limits: dict[str, float | int | str | bool | tuple[str, ...] | None] = {}
    waiver: Waiver | None = None


class MeasureRecord(Contract):
    """Whether it came from the cache is not here, because a cold and a warm run have to leave the same bytes."""

    name: str
    version: int
    status: Literal["ok", "failed"]
    error: str | None = None


class Rows(Contract):
    batch: int
    quarantined: int
    remaining: int


class RunRecord(Contract):
    schema_version: Literal[1] = 1
    run_id: str
    batch_id: BatchId
    batch_sha256: Sha256
    kind: str
    verdict: Literal["PASSED", "FAILED", "INCOMPLETE"]
    findings: tuple[str, ...] = ()
    policy_sha256: Sha256
    gates_sha256: Sha256
    plugins: tuple[str, ...] = ()
    plugins_sha256: Sha256
    required: tuple[str, ...] = ()
    gates: tuple[GateRecord, ...] = ()
    rows: Rows
    quarantine_sha256: Sha256 | None = None
    measures: tuple[MeasureRecord, ...] = ()


class RunTimes(Contract):
    """`run.json`: what must not enter a digest."""

    schema_version: Literal[1] = 1
    started_at: str
    finished_at: str
    seconds: float
    scans: int = 0
    measure_seconds: dict[str, float] = {}  # of the measures computed in this run; the others came from the cache
    engine: Literal["local", "ray"] = "local"
    measured_here: tuple[str, ...] = ()  # with Ray: measures that its workers could not find, and that this process computed
    command: tuple[str, ...] = ()
