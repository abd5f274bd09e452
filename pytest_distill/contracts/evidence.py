"""Evidence and what is made of it: records of what agents did, their scores, and the samples that a dataset may hold.

The first layer of the contamination firewall is here: the models of samples have no way to say that a sample comes from a
rejected run. Every row names the source row it comes from, and both digests of it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.quarantine import EXPORT_REASONS, Reason
from pytest_distill.contracts.rows import NonBlank

Category = Literal["accepted", "partially_accepted", "rejected", "needs_human_review"]
CATEGORIES: tuple[Category, ...] = ("accepted", "partially_accepted", "rejected", "needs_human_review")
ModelRole = Literal[
    "executor", "reviewer", "extractor", "verifier", "categorizer", "tiebreaker", "applier", "embedder", "other"
]  # fmt: skip
StreamClass = Literal["verdict-bearing", "telemetry-rich", "extraction"]
ScoringRule = Literal["attempts", "verdict", "severity", "applied", "events", "grounding", "markers", "join"]
Exporter = Literal["export-rag", "export-sft", "export-preference"]


def _zoned(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no ISO 8601 time") from None
    if found.tzinfo is None:
        raise ValueError("has no time zone")
    return text


Timestamp = Annotated[str, StringConstraints(min_length=20, max_length=40), AfterValidator(_zoned)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
StreamName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class Provenance(Contract):
    """The source row: its file (relative to the streams folder), where its line begins, and two digests of it.

    `sig_hash` is of its RFC 8785 canonical JSON, the same however the row was written; `line_hash` of its bytes as they stand,
    without the newline. `recorded_at` is when it was materialised.
    """

    source_file: NonBlank
    line_offset: Count
    sig_hash: Sha256
    line_hash: Sha256
    recorded_at: Timestamp


class EvidenceRecord(Contract):
    """One row of evidence: what one run of an agent did, as far as its stream tells.

    `scored_by` is the rule of the scorer that reads the record's markers. `latency_ms` is in milliseconds, `cost` in US dollars.
    """

    schema_version: Literal[1] = 1
    run_id: NonBlank
    task_id: NonBlank
    timestamp: Timestamp
    provenance: Provenance
    source: StreamName | None = None
    source_class: StreamClass | None = None
    scored_by: ScoringRule | None = None
    task_type: str | None = None
    model_name: str | None = None
    model_provider: str | None = None
    model_role: ModelRole | None = None
    success_markers: tuple[str, ...] = ()
    failure_markers: tuple[str, ...] = ()
    observer_verdict: Literal["accept", "reject", "cycle"] | None = None
    validation_results: dict[str, JsonValue] | None = None
    retrieved_context: str | None = None
    file: str | None = None
    instruction: str | None = None
    text: str | None = None
    latency_ms: Annotated[float, Field(ge=0)] | None = None
    cost: Annotated[float, Field(ge=0)] | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    metadata: dict[str, JsonValue] = {}


class ScoredRun(Contract):
    """The score of one evidence record. `joined_run_id` is the verdict-bearing parent that an extraction row took it from."""

    schema_version: Literal[1] = 1
    evidence_run_id: NonBlank
    evidence_task_id: NonBlank
    category: Category
    reasons: tuple[NonBlank, ...] = Field(min_length=1)
    sub_scores: dict[str, float] = {}
    joined_run_id: str | None = None
    scored_at: Timestamp
    scorer_version: NonBlank
    provenance: Provenance


SAMPLE_SCORES: dict[str, float] = {"accepted": 1.0, "partially_accepted": 0.5, "needs_human_review": 0.0}


def sample_id(*parts: str) -> str:
    """The id of a sample: SHA-256 over the evidence run id and sig_hash it is made of (of a pair: of both sides, in order)."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


class RagSample(Contract):
    """A document to retrieve. There is no category for a rejected one; rows for review need `--include-review`."""

    schema_version: Literal[1] = 1
    id: Sha256
    title: NonBlank
    content: NonBlank
    tags: tuple[str, ...]
    source_run_id: NonBlank
    source_category: Literal["accepted", "partially_accepted", "needs_human_review"]
    success_score: Share
    created_at: Timestamp
    provenance: Provenance

    @model_validator(mode="after")
    def consistent(self) -> RagSample:
        if self.success_score != SAMPLE_SCORES[self.source_category]:
            raise ValueError("success_score is not that of the category")
        if self.id != sample_id(self.source_run_id, self.provenance.sig_hash):
            raise ValueError("id is not that of source_run_id and sig_hash")
        return self


class SftSample(Contract):
    """An instruction and the response of an accepted run; partially accepted ones need `--include-partial`."""

    schema_version: Literal[1] = 1
    id: Sha256
    instruction: NonBlank
    context: str
    response: NonBlank
    source_run_id: NonBlank
    quality_score: Literal["accepted", "partially_accepted"]
    created_at: Timestamp
    provenance: Provenance

    @model_validator(mode="after")
    def consistent(self) -> SftSample:
        if self.id != sample_id(self.source_run_id, self.provenance.sig_hash):
            raise ValueError("id is not that of source_run_id and sig_hash")
        return self


class PreferenceSample(Contract):
    """Two answers to one prompt. `provenance` is of the chosen one, `rejected_provenance` of the other."""

    schema_version: Literal[1] = 1
    id: Sha256
    prompt: NonBlank
    chosen: NonBlank
    rejected: NonBlank
    reason: NonBlank
    task_id: NonBlank
    rejected_task_id: NonBlank
    chosen_run_id: NonBlank
    rejected_run_id: NonBlank
    created_at: Timestamp
    provenance: Provenance
    rejected_provenance: Provenance

    @model_validator(mode="after")
    def consistent(self) -> PreferenceSample:
        if self.chosen_run_id == self.rejected_run_id:
            raise ValueError("chosen and rejected come from one run")
        if self.chosen.split() == self.rejected.split():
            raise ValueError("chosen and rejected are the same text")
        parts = (self.provenance.sig_hash, self.rejected_run_id, self.rejected_provenance.sig_hash)
        if self.id != sample_id(self.chosen_run_id, *parts):
            raise ValueError("id is not that of the two runs and their sig_hashes")
        return self


class Playbook(Contract):
    """What worked and what did not on one kind of task, with the runs that say so. `provenance` is of the newest of them."""

    schema_version: Literal[1] = 1
    playbook_id: Sha256
    task_type: NonBlank
    problem_pattern: NonBlank
    useful_context: tuple[str, ...] = ()
    model_routing_path: tuple[str, ...] = ()
    commands_worked: tuple[str, ...] = ()
    commands_failed: tuple[str, ...] = ()
    validation_steps: tuple[str, ...] = ()
    repo_files_touched: tuple[str, ...] = ()
    recovery_strategy: tuple[str, ...] = ()
    known_failure_modes: tuple[str, ...] = ()
    escalation_threshold: Annotated[int, Field(ge=1)]
    acceptance_criteria: tuple[NonBlank, ...] = Field(min_length=1)
    source_run_ids: tuple[NonBlank, ...] = Field(min_length=1)
    created_at: Timestamp
    provenance: Provenance


class ModelLedgerEntry(Contract):
    """How one model did on one kind of task. Runs that need a human are no sample: nobody has said how they went."""

    schema_version: Literal[1] = 1
    model: NonBlank
    task_type: NonBlank
    success_rate: Share
    sample_count: Annotated[int, Field(ge=1)]
    accepted: Count
    partially_accepted: Count
    rejected: Count

    @model_validator(mode="after")
    def consistent(self) -> ModelLedgerEntry:
        if self.accepted + self.partially_accepted + self.rejected != self.sample_count:
            raise ValueError("the counts do not add up to sample_count")
        if self.success_rate != round(self.accepted / self.sample_count, 6):
            raise ValueError("success_rate is not accepted / sample_count")
        return self


def _exporters_own(reason: Reason) -> Reason:
    if reason not in EXPORT_REASONS:
        raise ValueError(f"{reason.value} is no reason of an exporter")
    return reason


class QuarantineEntry(Contract):
    """A scored record that an exporter turned away. `provenance` is null exactly where its missing is the reason."""

    schema_version: Literal[1] = 1
    exporter: Exporter
    reason: Annotated[Reason, AfterValidator(_exporters_own)]
    source_record: dict[str, JsonValue]
    errors: tuple[NonBlank, ...] = Field(min_length=1)
    provenance: Provenance | None

    @model_validator(mode="after")
    def consistent(self) -> QuarantineEntry:
        if self.provenance is None and self.reason is not Reason.MISSING_PROVENANCE:
            raise ValueError("an entry without provenance must say missing_provenance")
        return self


class Skip(Contract):
    """A source row that became no evidence, and why."""

    schema_version: Literal[1] = 1
    source_file: NonBlank
    line: Annotated[int, Field(ge=1)]
    line_offset: Count
    line_hash: Sha256
    reason: Literal["torn_line", "malformed", "misnamed_shape", "missing_field", "schema_violation", "no_canonical_form"]
    message: NonBlank
    recorded_at: Timestamp


class Tally(Contract):
    """The beginning of a source file up to a byte: how many rows it holds, how many were skipped, and its digest."""

    bytes: Count = 0
    lines: Count = 0
    rows: Count = 0
    skipped: Count = 0
    sha256: Sha256


class Written(Contract):
    """A file as we left it. More may have been added since; what was there has to be there still."""

    path: NonBlank
    bytes: Count
    rows: Count
    sha256: Sha256


class StreamState(Contract):
    """`.distill/evidence/<stream>.json`: what was read of a stream and what it became, so that only what is new is read again.

    `complete` ends after the last whole line; `whole` is the file as it was. Without this file everything is read again, and
    nothing else changes.
    """

    schema_version: Literal[1] = 1
    stream: StreamName
    source_file: NonBlank
    transform_sha256: Sha256
    complete: Tally
    whole: Tally
    outputs: tuple[Written, ...]


class StageState(Contract):
    """`.distill/evidence/<stage>.state.json`: what a derived stage was made from (`key`) and what stands of it."""

    schema_version: Literal[1] = 1
    stage: NonBlank
    key: Sha256
    outputs: tuple[Written, ...]
    counts: dict[str, Count] = {}
