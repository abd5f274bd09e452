"""Records of the bulk contract that are files: versions of a frozen policy, versions of a gold set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import BatchId, FileName, Sha256

Said = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Rejudged(Contract):
    """A past batch judged under the new policy: its verdicts before and after, and each gate that says something else now."""

    batch: BatchId
    before: str
    after: str
    flips: dict[str, str] = {}  # gate -> "passed -> failed"


class PolicyChange(Contract):
    """`policy/<version>.json`, beside the distill.toml of that version. Version 1 is the freeze itself.

    `policy_sha256` covers the file and every file it names; `previous_sha256` is the digest of the record before, so that none
    can be rewritten or left out unseen.
    """

    schema_version: Literal[1] = 1
    version: int = Field(ge=1)
    at: str
    what: Said
    why: Said
    affects: Said
    impact_on_cost: Said
    impact_on_quality: Said
    impact_on_safety: Said
    rollback_plan: Said
    approver: Said
    policy_sha256: Sha256
    file_sha256: Sha256
    previous_sha256: Sha256 | None = None
    rollback_to: int | None = Field(default=None, ge=1)
    rejudged: tuple[Rejudged, ...] = ()
    untested_because: Said | None = None  # why no past batch was judged under it, where there were sealed ones

    @model_validator(mode="after")
    def chained(self) -> PolicyChange:
        if (self.version == 1) != (self.previous_sha256 is None):
            raise ValueError("exactly the first version has no version before it")
        if self.rollback_to is not None and self.rollback_to >= self.version:
            raise ValueError("a rollback goes back")
        return self


class GoldFile(Contract):
    """One file of gold rows: its bytes, who wrote or checked them, and with which model (None: people alone)."""

    path: FileName
    sha256: Sha256
    rows: int = Field(ge=1)
    who: Said
    model: Said | None = None


class GoldSet(Contract):
    """`gold/gold.json`: the files of a version. `frozen_at` is null while it is a draft; bulk is judged against a frozen one."""

    schema_version: Literal[1] = 1
    version: int = Field(ge=1)
    frozen_at: str | None = None
    files: tuple[GoldFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def once(self) -> GoldSet:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("a file is listed twice")
        return self
