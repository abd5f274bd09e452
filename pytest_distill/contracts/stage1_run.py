"""The private files of a stage 1 run: what was agreed on at its start, the units of its work, and which units a shard is made of.

They lie in the workspace's `.distill/stage1/<batch>/`, are written once each, and a run that was killed goes on from them. A unit
is a function of the recipe and its own number: who made it, and when, in which order and beside what, changes nothing in it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import BatchId, Declaration, Sha256
from pytest_distill.contracts.rows import NonBlank
from pytest_distill.contracts.stage1 import (
    Count,
    Purpose,
    SessionManifest,
    StoredCritique,
    Thresholds,
    TrimRule,
)

# What became of a candidate in its unit. "accepted" is decided over the whole run: kept, duplicate or surplus.
Outcome = Literal[
    "instruction_invalid", "instruction_duplicate", "instruction_unsure", "instruction_bad", "response_empty", "response_marker",
    "response_truncated", "response_runaway", "pair_unsure", "pair_bad", "accepted",
]  # fmt: skip
SeedNumber = Annotated[int, Field(ge=0, lt=2**63)]


class Draw(Contract):
    """How texts are sampled; `stop` ends one, and stays in it."""

    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)
    repetition_penalty: float = Field(gt=0)
    stop: tuple[str, ...] = ()


class Recipe(Contract):
    """All that the text and the decisions of a run depend on. Devices, workers and batch sizes are not among it."""

    purpose: Purpose  # draws differ with it: a hold-out is no replay of its pilot
    backend: NonBlank
    dtype: NonBlank
    model_name: NonBlank
    model_revision: NonBlank
    weights_sha256: Sha256 | None
    quantization: str | None
    tokenizer_name: NonBlank
    tokenizer_hash: Sha256
    loader_version: NonBlank
    code_sha256: Sha256  # of the source of stage 1
    spec_version: NonBlank  # of the prompts, as a person counts
    prompts_sha256: Sha256  # of the prompts as they are sent, for fixed inputs
    libraries: dict[str, str]
    seed: SeedNumber
    lists_per_unit: int = Field(ge=1)
    instructions: Draw
    responses: Draw
    thresholds: Thresholds
    similarity: float = Field(ge=0, le=1)  # of word 5-grams, from which two pairs are near duplicates
    apart_from: tuple[Sha256, ...] = ()  # batches whose instructions a hold-out must not have


class Plan(Contract):
    """`plan.json` of a shard: written before its first unit, and never again."""

    schema_version: Literal[1] = 1
    batch: BatchId
    count: int = Field(ge=1)
    shards: int = Field(ge=1)
    shard: Count
    recipe: Recipe
    said: Declaration = Declaration()
    parents: tuple[Sha256, ...] = ()  # the sealed pilot first
    what: str
    why: str
    session: SessionManifest  # of the shard's first start; `guards` are of the sentinels alone

    def frozen(self) -> dict[str, object]:
        """What has to be the same in all shards, and whenever one goes on."""
        return self.model_dump(mode="json", exclude={"shard", "what", "why", "session"})

    @property
    def sha256(self) -> str:
        return storage.sha256_bytes(storage.canonical_json(self.frozen()))


class Continued(Contract):
    """One list that the model went on with: the raw text in which instructions were looked for."""

    seed: SeedNumber
    prompt: NonBlank
    completion: str


class Prospect(Contract):
    """A candidate as its unit left it. What it did not reach is null."""

    list: Count  # position in the unit's lists
    outcome: Outcome
    instruction: str
    instruction_critique: StoredCritique | None = None
    seed: SeedNumber  # of the response, whether or not there is one
    prompt: NonBlank | None = None
    completion: str | None = None
    response: str | None = None
    pair_critique: StoredCritique | None = None
    raw_tokens: Count | None = None
    clean_tokens: Count | None = None
    hit_token_limit: bool | None = None
    trim_rule: TrimRule | None = None


class Unit(Contract):
    """`unit-NNNNNN.json`: one unit of work, whole. `plan_sha256` is of the plan that it was made by."""

    schema_version: Literal[1] = 1
    plan_sha256: Sha256
    number: Count
    lists: tuple[Continued, ...]
    prospects: tuple[Prospect, ...]
    inputs_checked: Count  # texts that the guard looked at
    calls: Count  # prompts that the model was given
    tokens_read: Count
    tokens_written: Count


class UnitEntry(Contract):
    number: Count
    sha256: Sha256
    candidates: Count
    accepted: Count


class ShardManifest(Contract):
    """`shard-NNNNN.json`: the units that a finished shard is made of. Attached to the batch."""

    schema_version: Literal[1] = 1
    batch: BatchId
    shard: Count
    shards: int = Field(ge=1)
    plan_sha256: Sha256
    session_id: NonBlank
    session_start: NonBlank
    wanted: Count  # accepted pairs, without duplicates among themselves, at which the shard was finished
    units: tuple[UnitEntry, ...]


PLAN: Final = "plan.json"


def shard_manifest_name(shard: int) -> str:
    return f"shard-{shard:05d}.json"


def unit_name(number: int) -> str:
    return f"unit-{number:06d}.json"
