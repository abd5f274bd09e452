"""What a resumable run keeps on disk while it works, and what preprocessing says of itself in the batch it makes.

The resume state is `state_stage_{N}.json`, field for field as the data pipeline's contract has it, and `last_record_digest`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import FileName, Sha256

# A digest that names its algorithm, as the resume state writes them.
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Threshold = str | int | float | bool | tuple[str, ...] | None


class RngState(Contract):
    """The states of the run's generators, each as base64 of its canonical JSON: never a pickle."""

    python: str
    numpy: str

    @model_validator(mode="after")
    def encoded(self) -> RngState:
        for state in (self.python, self.numpy):
            try:
                base64.b64decode(state, validate=True)
            except binascii.Error as error:
                raise ValueError("a generator's state is no base64") from error
        return self


class Cursor(Contract):
    """How far a stage has come: `local_doc_count` documents of `source`, which lies in `shard_dir`, are done for good."""

    source: str | None
    shard_dir: str | None
    local_doc_count: int = Field(ge=0)


class ResumeState(Contract):
    """`state_stage_{N}.json`. `manifest_digest` is of the stage's own list of what it wrote, as far as the cursor vouches for it.

    `last_record_digest` is of the bytes of the record before the cursor, null where there is none.
    """

    schema_version: Literal[1] = 1
    stage: str
    started_at: str
    completed_at: str | None
    status: Literal["running", "completed"]
    rng_state: RngState
    cursor: Cursor
    last_record_digest: Digest | None
    manifest_digest: Digest
    pipeline_version: str
    git_sha: str | None

    @model_validator(mode="after")
    def consistent(self) -> ResumeState:
        if (self.status == "completed") != (self.completed_at is not None):
            raise ValueError("a stage is completed exactly when it has a completed_at")
        if (self.cursor.local_doc_count > 0) != (self.last_record_digest is not None):
            raise ValueError("a cursor behind a record needs that record's digest")
        return self


class StoredUnit(Contract):
    """One line of a stage's index: a file with the outcome of `docs` records, from record `first` (0-based) of the run on.

    `source` is the one that its last record came from, `source_docs` how many of that source are done with this unit, and
    `source_records_sha256` is over the digests of all of those, so that a source which changed since is noticed.
    """

    entry: Literal["unit"] = "unit"
    path: FileName
    sha256: Sha256
    first: int = Field(ge=0)
    docs: int = Field(gt=0)
    source: int = Field(ge=0)
    source_docs: int = Field(gt=0)
    source_records_sha256: Sha256
    last_record_digest: Digest


class SourceRead(Contract):
    """One line of a stage's index: a source that was read to its end."""

    entry: Literal["source"] = "source"
    source: int = Field(ge=0)
    name: str
    sha256: Sha256
    bytes: int = Field(ge=0)
    docs: int = Field(ge=0)


class Freeze(Contract):
    """What must not change under one pipeline version. Its digest is `freeze_sha256` in the batch manifest."""

    pipeline: str
    pipeline_version: str
    thresholds: dict[str, Threshold]
    scorer_prompts: dict[str, Sha256] = {}
    tokenizer: dict[str, str | None] | None = None
    models: dict[str, Sha256] = {}

    @property
    def sha256(self) -> str:
        return storage.sha256_bytes(self.to_bytes())


class PreprocessRun(Contract):
    """`run.json` of a run at work: all that has to be the same when it goes on. `tools` are versions the bytes depend on."""

    schema_version: Literal[1] = 1
    id: str
    kind: Literal["text", "sft"]
    what: str
    why: str
    freeze: Freeze
    unit_rows: int = Field(gt=0)
    sources: tuple[str, ...]
    options: dict[str, Threshold]
    tools: dict[str, str]
    command: tuple[str, ...]


class DiagnosticFigures(Contract):
    """One diagnostic over the rows that stayed: `rows` have a value, `over` are beyond `bound`. Null where no row has one."""

    bound: float | None
    promoted: bool
    rows: int = Field(ge=0)
    over: int = Field(ge=0)
    mean: float | None
    median: float | None
    p95: float | None
    max: float | None


class PreprocessSummary(Contract):
    """`preprocess.json` of a batch: every record is kept or dropped for a reason, and what the diagnostics say of the kept."""

    schema_version: Literal[1] = 1
    freeze: Freeze
    read: int = Field(ge=0)
    kept: int = Field(ge=0)
    dropped: dict[str, int]
    retention: float = Field(ge=0, le=1)
    languages: dict[str, int]
    diagnostics: dict[str, DiagnosticFigures]

    @model_validator(mode="after")
    def nothing_lost(self) -> PreprocessSummary:
        if self.read != self.kept + sum(self.dropped.values()):
            raise ValueError("records read must equal records kept plus records dropped")
        return self
