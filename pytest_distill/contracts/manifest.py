"""The batch manifest: what a batch is, where its rows came from, and the digest of every shard.

Clocks and absolute paths are not here, because the manifest is hashed: `created.json` beside it holds them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_distill.contracts.base import Contract

Kind = Literal["sft", "preference", "rag", "text", "evidence", "tokens"]
# The seven kinds of work that the bulk contract names.
BulkKind = Literal["expansion", "variants", "formatting", "transforms", "templates", "labelling", "synthetic"]
# What a frontier model may be used for, outside bulk.
Purpose = Literal["high_stakes_reasoning", "architecture", "safety_verification", "gold_set", "diagnosis"]
CostName = Literal["low", "med", "high"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BatchId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
# One file name inside the batch folder: no separators, so no shard can ever lie outside it.
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]

# Position columns that every row shard carries besides its own; gates and exports see them apart from the data.
SOURCE_COLUMN = "distill_source"  # int32, index into Manifest.sources
LINE_COLUMN = "distill_line"  # int64, 1-based line of a text file, 1-based row of a Parquet file
OFFSET_COLUMN = "distill_offset"  # int64, byte offset of the row in the decompressed file, null for Parquet
POSITION_COLUMNS = (SOURCE_COLUMN, LINE_COLUMN, OFFSET_COLUMN)

# The columns a row of each kind must have as text. What else the source had is carried along untouched.
REQUIRED_COLUMNS: dict[str, tuple[str, ...]] = {
    "sft": ("instruction", "response"),
    "preference": ("chosen", "rejected"),
    "rag": ("content",),
    "text": ("text",),
}


class Shard(Contract):
    path: FileName
    rows: int = Field(ge=0)
    sha256: Sha256


class Attachment(Contract):
    """A file of the pipeline's own beside the rows, such as a session manifest."""

    path: FileName
    sha256: Sha256


class Column(Contract):
    """One data column. `json` columns hold each value as JSON text, because its values have no single scalar type.

    `nulls` says what a null stands for in the source: nothing (no nulls), an explicit null, or an absent key.
    """

    name: str
    type: Literal["string", "int64", "float64", "bool", "json"]
    nulls: Literal["never", "null", "absent"]


class Source(Contract):
    """One input file: its name without folders, its bytes as given (compressed or not), and where its rows went."""

    name: str
    sha256: Sha256
    bytes: int = Field(ge=0)
    rows_read: int = Field(ge=0)
    rows_kept: int = Field(ge=0)
    rows_quarantined: int = Field(ge=0)

    @model_validator(mode="after")
    def nothing_lost(self) -> Source:
        if self.rows_read != self.rows_kept + self.rows_quarantined:
            raise ValueError("rows read must equal rows kept plus rows quarantined")
        return self


class Counts(Contract):
    planned: int | None = Field(default=None, ge=0)
    read: int = Field(ge=0)
    kept: int = Field(ge=0)
    quarantined: int = Field(ge=0)

    @model_validator(mode="after")
    def nothing_lost(self) -> Counts:
        if self.read != self.kept + self.quarantined:
            raise ValueError("rows read must equal rows kept plus rows quarantined")
        return self


class CostClass(Contract):
    declared: CostName = "low"
    used: CostName = "low"


class Usage(Contract):
    """What a model was asked, as it was metered. `cost` is in the currency of the policy's prices; time is in the ledger."""

    calls: int = Field(default=0, ge=0)
    tokens_read: int = Field(default=0, ge=0)
    tokens_written: int = Field(default=0, ge=0)
    cost: float = Field(default=0.0, ge=0)

    def plus(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            tokens_read=self.tokens_read + other.tokens_read,
            tokens_written=self.tokens_written + other.tokens_written,
            cost=round(self.cost + other.cost, 8),
        )


class ModelUse(Contract):
    """A model that had a part in a batch. A frontier model had a `purpose`; `usage` is null where nothing metered it."""

    name: str
    revision: str
    weights_sha256: Sha256 | None = None
    purpose: Purpose | None = None
    usage: Usage | None = None


class Authorization(Contract):
    by: str
    date: str | None = None


class Declaration(Contract):
    """What a run says of its cost before it begins. MED has a justification, HIGH an authorization too; `purpose` is that of
    its frontier model, where it has one."""

    cost_class: CostName = "low"
    justification: str | None = None
    authorization: Authorization | None = None
    purpose: Purpose | None = None


class How(Contract):
    pipeline: str
    models: tuple[ModelUse, ...] = ()
    parameters: dict[str, str | int | float | bool | None] = {}


class Manifest(Contract):
    schema_version: Literal[1] = 1
    id: BatchId
    kind: Kind
    origin: Literal["generated", "ingested", "derived"]
    bulk_kind: BulkKind | None = None
    what: str
    why: str
    how: How
    spec_version: str | None = None
    spec_sha256: Sha256 | None = None
    seed: int | None = None
    counts: Counts
    cost_class: CostClass = CostClass()
    justification: str | None = None
    authorization: Authorization | None = None
    parents: tuple[Sha256, ...] = ()
    freeze_sha256: Sha256 | None = None
    mapping: dict[str, str] = {}
    columns: tuple[Column, ...]
    sources: tuple[Source, ...]
    shards: tuple[Shard, ...]
    quarantine: Shard | None = None
    candidates: tuple[Shard, ...] = ()
    candidate_columns: tuple[Column, ...] = ()
    attachments: tuple[Attachment, ...] = ()

    @property
    def lost(self) -> str:
        """Where the rows in the batch's own quarantine were lost, in words."""
        return "at ingest" if self.origin == "ingested" else "when it was made"

    @property
    def files(self) -> tuple[Shard | Attachment, ...]:
        """Every file of the batch besides the manifest itself."""
        return (*self.shards, *self.candidates, *((self.quarantine,) if self.quarantine else ()), *self.attachments)

    @model_validator(mode="after")
    def consistent(self) -> Manifest:
        if sum(s.rows for s in self.shards) != self.counts.kept:
            raise ValueError("shard rows do not add up to the rows kept")
        if (self.quarantine.rows if self.quarantine else 0) != self.counts.quarantined:
            raise ValueError("quarantine rows do not add up to the rows quarantined")
        for columns in (self.columns, self.candidate_columns):
            names = [c.name for c in columns]
            if len(set(names)) != len(names):
                raise ValueError("a column is listed twice")
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("a file is listed twice")
        return self


class Created(Contract):
    """`created.json`: what must not enter a digest. Not listed in SHA256SUMS; the ledger holds it too."""

    schema_version: Literal[1] = 1
    created_at: str
    where: str
    command: tuple[str, ...] = ()
