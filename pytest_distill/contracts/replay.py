"""Replay: a task, what was retrieved for it, what a local model made of it, and whether that may count as evidence.

One `ReplayRun` is one line of an append-only log. What the local model wrote is evidence of the local model, good or bad; what a
frontier model wrote after an escalation is metered, kept beside it, and never becomes evidence.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import ModelUse, Sha256

ReplayCode = Literal[
    "empty", "too_short", "too_long", "marker", "hedge", "disclaimer", "checklist", "hallucinated_file_path"
]  # fmt: skip
Category = Literal["accepted", "partially_accepted", "needs_human_review"]
NonBlank = Annotated[str, StringConstraints(pattern=r"\S")]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def task_hash(task: str) -> str:
    """The digest of a task: its words, whatever the white space between them."""
    return storage.sha256_bytes(" ".join(task.split()).encode())


class BundleItem(Contract):
    """A document of the corpus that was retrieved, whole, and its Jaccard similarity to the task."""

    rag_id: str
    title: str
    content: str
    category: Category
    similarity: Share


class Bundle(Contract):
    """What the model is shown: examples that were accepted, examples that were so only in part, and what they checked."""

    exemplars: tuple[BundleItem, ...] = Field(default=(), max_length=3)
    warnings: tuple[BundleItem, ...] = Field(default=(), max_length=2)
    validation_steps: tuple[str, ...] = ()

    @model_validator(mode="after")
    def consistent(self) -> Bundle:
        if any(item.category != "accepted" for item in self.exemplars):
            raise ValueError("an exemplar must be accepted")
        if any(item.category != "partially_accepted" for item in self.warnings):
            raise ValueError("a warning must be partially accepted")
        return self

    @property
    def items(self) -> tuple[BundleItem, ...]:
        return (*self.exemplars, *self.warnings)


class ReplayFinding(Contract):
    """One reason to refuse an output. `found` is the text it is about."""

    code: ReplayCode
    found: str
    message: str


class ReplayAudit(Contract):
    """What the output claims that can be looked up (file paths, symbols, figures), and how much of it is in bundle or task."""

    claims: Count
    grounded: Count
    ungrounded: tuple[str, ...] = ()

    @model_validator(mode="after")
    def consistent(self) -> ReplayAudit:
        if self.grounded + len(self.ungrounded) != self.claims:
            raise ValueError("claims must be grounded or listed as ungrounded")
        return self


class ReplayValidation(Contract):
    """What deterministic code says of an output. `checklist_overlap` is null where there was nothing to check off."""

    passed: bool
    findings: tuple[ReplayFinding, ...] = ()
    words: Count
    checklist_overlap: Share | None
    audit: ReplayAudit

    @model_validator(mode="after")
    def consistent(self) -> ReplayValidation:
        if self.passed != (not self.findings):
            raise ValueError("passed must be: no findings")
        return self


class Escalation(Contract):
    """What a frontier model was asked after the local one failed, and what that took. `cost` is at the policy's prices."""

    model: ModelUse
    reason: str
    output: str
    validation: ReplayValidation
    prompt_tokens: Count
    completion_tokens: Count
    cost: Annotated[float, Field(ge=0)]


class ReplayRun(Contract):
    """One line of the log.

    `validation.passed` decides whether the output is used; `accepted` whether it becomes evidence of a success: it passed, and
    the audit found every claim in bundle or task.
    """

    schema_version: Literal[1] = 1
    replay_id: Sha256
    task: NonBlank
    task_hash: Sha256
    retrieval: bool
    rag_ids: tuple[str, ...]
    bundle: Bundle
    corpus_sha256: Sha256 | None
    prompt: str
    model: ModelUse
    seed: int
    output: str
    prompt_tokens: Count
    completion_tokens: Count
    finish_reason: Literal["length", "stop"]
    validation: ReplayValidation
    accepted: bool
    escalation: Escalation | None = None
    recorded_at: str

    @model_validator(mode="after")
    def consistent(self) -> ReplayRun:
        if self.task_hash != task_hash(self.task):
            raise ValueError("task_hash is not that of the task")
        if self.rag_ids != tuple(item.rag_id for item in self.bundle.items):
            raise ValueError("rag_ids are not those of the bundle")
        if not self.retrieval and self.rag_ids:
            raise ValueError("a run without retrieval has an empty bundle")
        if self.accepted != (self.validation.passed and not self.validation.audit.ungrounded):
            raise ValueError("accepted must be: the local output passed its validation and makes no ungrounded claim")
        if self.escalation is not None and self.validation.passed:
            raise ValueError("what passed is not escalated")
        if self.replay_id != self.identity():
            raise ValueError("replay_id is not that of this run")
        return self

    def identity(self) -> str:
        """The digest of what ran, what came of it, and when it was recorded."""
        parts = [self.task_hash, self.retrieval, list(self.rag_ids), self.prompt, self.model.model_dump(), self.seed, self.output]
        return storage.sha256_bytes(storage.canonical_json([*parts, self.recorded_at]))


class Compared(Contract):
    """A figure of both arms, over the same tasks. `interval` is of the difference, 95%; `p_value` where an exact test applies."""

    figure: str
    with_retrieval: float
    without_retrieval: float
    difference: float
    interval: tuple[float, float]
    p_value: Share | None = None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out no difference at all."""
        return not self.interval[0] <= 0 <= self.interval[1]


class EscalationWindow(Contract):
    """Runs of the log, from `first` (counted from 1) on: how many failed locally, so that a frontier model is wanted."""

    first: int = Field(ge=1)
    runs: int = Field(ge=1)
    wanted: Count
    escalated: Count
    share: Share
    interval: tuple[float, float]


class ReplayStudy(Contract):
    """`distill replay study`: the same tasks and model with and without retrieval, outputs held against the same documents."""

    schema_version: Literal[1] = 1
    tasks: int = Field(ge=1)
    tasks_sha256: Sha256
    corpus_sha256: Sha256
    model: ModelUse
    seed: int
    room: int
    max_new_tokens: int
    both_passed: Count
    only_with: Count
    only_without: Count
    neither: Count
    compared: tuple[Compared, ...]
    escalation: tuple[EscalationWindow, ...]

    @model_validator(mode="after")
    def consistent(self) -> ReplayStudy:
        if self.both_passed + self.only_with + self.only_without + self.neither != self.tasks:
            raise ValueError("the four outcomes do not add up to the tasks")
        return self
