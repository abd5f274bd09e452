"""Tokenised shards: their manifest, and the state of a run that makes them. The two binary files of a shard are described here.

A shard is `{dataset}-{version}-shard-{NNNNNN}.npy`, a one-dimensional array of token ids (NPY 1.0, little-endian, uint32, or
uint16 where the vocabulary fits): documents one after the other, EOS after each. Beside it, under the same stem, its `.idx`: a
header of 32 bytes, little-endian: the magic `NMOEIDX\\0`, then as uint64 the version 1, the number of documents, and 0; then for
every document its start and end (exclusive, EOS inside) as uint64.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.preprocess import Digest, Freeze

MANIFEST = "manifest.json"
STAGE = "tokenize"
STATE = "state_stage_2.json"  # preprocessing is stage 1
RUN = "run.json"  # this and the next are there while a run is under way
UNITS = "units.jsonl"
ATTACHED = "tokens_manifest.json"  # what MANIFEST is called in a batch, which has a manifest of its own
EXPORTED = "tokens"  # the folder of the set in an export
MAGIC = b"NMOEIDX\0"
INDEX_VERSION = 1
INDEX_HEADER = 32
SPAN = 16  # bytes of one (start, end) pair
DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

Name = Annotated[str, StringConstraints(pattern=rf"^{DATASET.pattern}$")]
TokenizerHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
ShardName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,161}-shard-[0-9]{6}\.npy$")]
IndexName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,161}-shard-[0-9]{6}\.idx$")]
GitSha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
Utc = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
DType = Literal["uint32", "uint16"]


def stem(dataset: str, version: str, number: int) -> str:
    """The name of a shard without its suffix."""
    return f"{dataset}-{version}-shard-{number:06d}"


class ShardEntry(Contract):
    """One shard. `checksum` is the SHA-256 of the whole .npy file."""

    path: ShardName
    index_path: IndexName
    num_tokens: int = Field(ge=1)
    num_documents: int = Field(ge=1)
    checksum: Sha256

    @model_validator(mode="after")
    def one_stem(self) -> Self:
        if self.path.removesuffix(".npy") != self.index_path.removesuffix(".idx"):
            raise ValueError("a shard and its index have one stem")
        return self


class TokenSource(Contract):
    """One file that documents were read from: its name without folders and the digest of its bytes as given."""

    name: str
    sha256: Sha256
    bytes: int = Field(ge=0)


class SourceInfo(Contract):
    """Where documents came from, and what became of every record: read = tokenised + dropped, by reason.

    `batch_sha256` is the digest of the sealed batch that the texts are of, null for raw files. `freeze_sha256` binds what one
    pipeline version must not change: `freeze` of this module makes it again. A set joined from others names the digests of
    their manifests in `merged`.
    """

    sources: tuple[TokenSource, ...] = ()
    batch_id: str | None = None
    batch_sha256: Sha256 | None = None
    text_field: str
    shard_tokens: int = Field(ge=1)
    freeze_sha256: Sha256
    documents_read: int = Field(ge=0)
    documents_dropped: dict[str, int] = {}
    merged: tuple[Sha256, ...] = ()


class TokenizerStamp(Contract):
    """What is derived from a tokenizer when it is loaded, and has to stay the same in everything made with it."""

    tokenizer_name: str = Field(min_length=1)
    tokenizer_hash: TokenizerHash
    tokenizer_version: str | None
    vocab_size: int = Field(ge=2)
    eos_token_id: int = Field(ge=0)

    @model_validator(mode="after")
    def eos_in_vocabulary(self) -> Self:
        if self.eos_token_id >= self.vocab_size:
            raise ValueError("eos_token_id lies beyond the vocabulary")
        return self

    def differences(self, other: TokenizerStamp) -> list[str]:
        """What differs, as `field: this one's, other's`."""
        mine, others = self.model_dump(), other.model_dump()
        return [f"{name}: {mine[name]}, {others[name]}" for name in TokenizerStamp.model_fields if mine[name] != others[name]]


class TokensManifest(Contract):
    """manifest.json of a shard set. `cuda_arch` is null: nothing of a run uses a GPU. `created_at` is the injected clock's."""

    schema_version: Literal[1] = 1
    pipeline_version: str = Field(min_length=1)
    git_sha: GitSha | None
    cuda_arch: str | None = None
    dataset: Name
    version: Name
    tokenizer: str
    tokenizer_name: str
    tokenizer_hash: TokenizerHash
    tokenizer_version: str | None
    vocab_size: int = Field(ge=2)
    eos_token_id: int = Field(ge=0)
    dtype: DType
    created_at: Utc
    total_tokens: int = Field(ge=1)
    total_documents: int = Field(ge=1)
    num_shards: int = Field(ge=1)
    shards: tuple[ShardEntry, ...] = Field(min_length=1)
    source_info: SourceInfo

    @property
    def stamp(self) -> TokenizerStamp:
        return TokenizerStamp.model_validate({name: getattr(self, name) for name in TokenizerStamp.model_fields})

    @property
    def files(self) -> tuple[str, ...]:
        """The files of all shards, each index behind its shard."""
        return tuple(name for shard in self.shards for name in (shard.path, shard.index_path))

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.tokenizer != self.tokenizer_name:
            raise ValueError("tokenizer and tokenizer_name differ")
        if self.dtype == "uint16" and self.vocab_size > 1 << 16:
            raise ValueError("the vocabulary does not fit into uint16")
        if self.eos_token_id >= self.vocab_size:
            raise ValueError("eos_token_id lies beyond the vocabulary")
        if self.num_shards != len(self.shards):
            raise ValueError("num_shards is not the number of shards")
        if self.total_tokens != sum(shard.num_tokens for shard in self.shards):
            raise ValueError("total_tokens is not the sum of the shards' tokens")
        if self.total_documents != sum(shard.num_documents for shard in self.shards):
            raise ValueError("total_documents is not the sum of the shards' documents")
        if [shard.path for shard in self.shards] != [
            f"{stem(self.dataset, self.version, number)}.npy" for number in range(self.num_shards)
        ]:
            raise ValueError("the shards are not those of this dataset and version, numbered from 0")
        if self.source_info.documents_read != self.total_documents + sum(self.source_info.documents_dropped.values()):
            raise ValueError("documents read must equal documents tokenised plus documents dropped")
        return self


class TokenUnit(Contract):
    """One line of units.jsonl: a shard that stands, and the records that it was made from.

    `read` is how many records of all sources are behind the unit, `source` and `done` the same within the source at work;
    `records_sha256` is over the SHA-256 of each of the unit's records.
    """

    shard: ShardEntry
    dropped: dict[str, int]
    read: int = Field(ge=1)
    source: int = Field(ge=0)
    done: int = Field(ge=1)
    records_sha256: Sha256
    last_record_digest: Digest


class TokenizeRun(Contract):
    """run.json of a run at work: all that has to be the same when it goes on."""

    schema_version: Literal[1] = 1
    dataset: Name
    version: Name
    dtype: DType
    shard_tokens: int = Field(ge=1)
    text_field: str
    freeze: Freeze
    stamp: TokenizerStamp
    git_sha: GitSha | None
    started_at: Utc
    sources: tuple[TokenSource, ...]
    batch_id: str | None
    batch_sha256: Sha256 | None


def freeze(
    stamp: TokenizerStamp, *, pipeline_version: str, dtype: DType, shard_tokens: int, text_field: str, parts: tuple[str, ...] = ()
) -> Freeze:
    """What must not change under one pipeline version. `parts` are the freezes of the sets that a joined set was made of."""
    return Freeze(
        pipeline=STAGE,
        pipeline_version=pipeline_version,
        thresholds={"dtype": dtype, "shard_tokens": shard_tokens, "text_field": text_field, "parts": parts},
        tokenizer={name: None if value is None else str(value) for name, value in stamp.model_dump().items()},
    )
