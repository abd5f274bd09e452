"""What the gates of tokens batches judge: the attached shards, their manifest, their state, and the rows that describe them.

Nothing here is shared with the pipeline that writes shards; the format itself is read by `batch.shards`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pytest_distill import Code, DistillError
from pytest_distill.batch import shards
from pytest_distill.contracts.preprocess import ResumeState
from pytest_distill.contracts.tokens import ATTACHED, STATE, ShardEntry, TokensManifest, freeze
from pytest_distill.storage import canonical_json

if TYPE_CHECKING:
    from pytest_distill.gating.columns import JudgedBatch
    from pytest_distill.policy.model import Policy

COLUMNS = ("shard", "start", "end", "tokens", "sha256")


@dataclass
class Faults:
    """What is wrong with the shards of a batch, by the code of each problem, and the documents they hold."""

    by_code: dict[Code, list[str]] = field(default_factory=dict)
    documents: list[tuple[str, int, int, int, str]] = field(default_factory=list)
    tokens: int = 0

    def add(self, error: DistillError) -> None:
        self.by_code.setdefault(error.code, []).append(error.message)

    def named(self, what: str, *codes: Code) -> tuple[str, int]:
        """The figure's name, with the first problem in it, and how many there are."""
        found = [message for code in codes for message in self.by_code.get(code, ())]
        return (f"{what}: {found[0]}" if found else what), len(found)


def manifest_of(batch: JudgedBatch) -> TokensManifest:
    """Raises E-EVIDENCE where the batch has none, E-MANIFEST where it is none."""
    return TokensManifest.from_bytes(_attached(batch, ATTACHED), name=ATTACHED)


def state_of(batch: JudgedBatch) -> ResumeState:
    """Raises E-EVIDENCE, E-MANIFEST."""
    return ResumeState.from_bytes(_attached(batch, STATE), name=STATE)


def manifest_digest(batch: JudgedBatch) -> str:
    """As the resume state writes it."""
    return f"sha256:{hashlib.sha256(_attached(batch, ATTACHED)).hexdigest()}"


def _attached(batch: JudgedBatch, name: str) -> bytes:
    data = batch.attachment(name)
    if data is None:
        raise DistillError(Code.EVIDENCE, f"{batch.id} has no {name}", "`distill tokenize … --id ID` attaches it.")
    return data


def unlisted(batch: JudgedBatch, manifest: TokensManifest) -> list[str]:
    """Files that only one of the two lists: the attachments of the batch, and what its shard manifest names."""
    attached = {file.path for file in batch.manifest.attachments}
    return sorted(attached ^ {ATTACHED, STATE, *manifest.files})


def faults(batch: JudgedBatch, manifest: TokensManifest) -> Faults:
    """Goes through every shard and index. One shard is in memory at a time."""
    found = Faults()
    for entry in manifest.shards:
        array, index = batch.attachment(entry.path), batch.attachment(entry.index_path)
        if array is None:
            found.add(DistillError(Code.SHARD_FILES, f"{entry.path} is missing"))
            continue
        if hashlib.sha256(array).hexdigest() != entry.checksum:
            found.add(DistillError(Code.SHARD_CHECKSUM, f"{entry.path} is not what its checksum says"))
        try:
            ids = shards.tokens_of(array, entry, manifest.dtype)
        except DistillError as error:
            found.add(error)
            continue
        found.tokens += len(ids)
        for problem in shards.token_problems(ids, entry.path, manifest.stamp):
            found.add(problem)
        if index is None:
            found.add(DistillError(Code.INDEX_MISSING, f"{entry.index_path} is missing"))
            continue
        for problem in shards.index_problems(index, ids, entry, manifest.eos_token_id):
            found.add(problem)
        found.documents += _documents(ids, entry, manifest.eos_token_id)
    return found


def _documents(ids: np.ndarray[Any, Any], entry: ShardEntry, eos: int) -> Iterator[tuple[str, int, int, int, str]]:
    """Shard, start, end, length and digest of every document, told from EOS alone."""
    start = 0
    for end in (np.flatnonzero(ids == eos) + 1).tolist():
        yield entry.path, start, end, end - start, hashlib.sha256(ids[start:end].tobytes()).hexdigest()
        start = end


def differing(rows: pl.DataFrame, documents: list[tuple[str, int, int, int, str]]) -> int:
    """How many rows are not the documents of the shards, in order; rows and documents too many count too."""
    told = rows.select(COLUMNS).rows()
    return sum(a != b for a, b in zip(told, documents, strict=False)) + abs(len(told) - len(documents))


def freeze_of(manifest: TokensManifest, parts: tuple[str, ...] = ()) -> str:
    """The digest of what one pipeline version must not change, taken again from the manifest's own values."""
    info = manifest.source_info
    return freeze(
        manifest.stamp,
        pipeline_version=manifest.pipeline_version,
        dtype=manifest.dtype,
        shard_tokens=info.shard_tokens,
        text_field=info.text_field,
        parts=parts,
    ).sha256


def policy_hash(policy: Policy) -> str | None:
    """The hash of the policy's tokenizer, of its content without truncation and padding; None where it names none."""
    if policy.tokenizer.path is None:
        return None
    declared = json.loads(policy.tokenizer.path.resolved.read_bytes())
    content = {name: value for name, value in declared.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(canonical_json(content)).hexdigest()[:16]


def sealed(batch: JudgedBatch) -> int:
    return sum(parent.unsealed is None for parent in batch.parents())
