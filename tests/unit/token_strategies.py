"""Strategies for the manifest of a shard set, and for what a tokenizing run keeps on disk."""

from __future__ import annotations

from hypothesis import strategies as st
from preprocess_strategies import COUNT, DIGEST, SHA, SOME, TEXT, freeze

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.preprocess import Freeze
from pytest_distill.contracts.tokens import (
    ShardEntry,
    SourceInfo,
    TokenizerStamp,
    TokenizeRun,
    TokensManifest,
    TokenSource,
    TokenUnit,
    stem,
)

NAMED = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
SHORT = st.text("0123456789abcdef", min_size=16, max_size=16)
COMMIT = st.none() | st.text("0123456789abcdef", min_size=40, max_size=40)
TIME = st.datetimes().map(lambda moment: f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}T12:00:00Z")
TYPES = st.sampled_from(["uint32", "uint16"])

sources = st.lists(st.builds(TokenSource, name=TEXT, sha256=SHA, bytes=COUNT), max_size=3).map(tuple)


@st.composite
def stamps(draw: st.DrawFn) -> TokenizerStamp:
    size = draw(st.integers(2, 1 << 16))
    return TokenizerStamp(
        tokenizer_name=draw(st.text(min_size=1, max_size=9)), tokenizer_hash=draw(SHORT),
        tokenizer_version=draw(st.none() | TEXT), vocab_size=size, eos_token_id=draw(st.integers(0, size - 1)),
    )  # fmt: skip


def entry(name: str, tokens: int, documents: int, checksum: str) -> ShardEntry:
    return ShardEntry(path=f"{name}.npy", index_path=f"{name}.idx", num_tokens=tokens, num_documents=documents, checksum=checksum)


@st.composite
def manifests(draw: st.DrawFn) -> TokensManifest:
    dataset, version, stamp = draw(NAMED), draw(NAMED), draw(stamps())
    sizes = draw(st.lists(st.tuples(SOME, SOME, SHA), min_size=1, max_size=3))
    shards = tuple(entry(stem(dataset, version, number), *size) for number, size in enumerate(sizes))
    documents, dropped = sum(size[1] for size in sizes), draw(st.dictionaries(TEXT, COUNT, max_size=2))
    return TokensManifest(
        pipeline_version=draw(st.text(min_size=1, max_size=9)), git_sha=draw(COMMIT), dataset=dataset, version=version,
        tokenizer=stamp.tokenizer_name, **stamp.model_dump(), dtype=draw(TYPES), created_at=draw(TIME),
        total_tokens=sum(size[0] for size in sizes), total_documents=documents, num_shards=len(sizes), shards=shards,
        source_info=SourceInfo(
            sources=draw(sources), text_field=draw(TEXT), shard_tokens=draw(SOME), freeze_sha256=draw(SHA),
            documents_read=documents + sum(dropped.values()), documents_dropped=dropped,
        ),
    )  # fmt: skip


units = st.builds(
    TokenUnit, shard=st.builds(entry, st.just(stem("a", "b", 0)), SOME, SOME, SHA),
    dropped=st.dictionaries(TEXT, COUNT, max_size=2), read=SOME, source=COUNT, done=SOME, records_sha256=SHA,
    last_record_digest=DIGEST,
)  # fmt: skip
runs = st.builds(
    TokenizeRun, dataset=NAMED, version=NAMED, dtype=TYPES, shard_tokens=SOME, text_field=TEXT, freeze=freeze, stamp=stamps(),
    git_sha=COMMIT, started_at=TIME, sources=sources, batch_id=st.none() | TEXT, batch_sha256=st.none() | SHA,
)  # fmt: skip

WRITTEN: dict[str, st.SearchStrategy[Contract]] = {"tokens": manifests(), "tokenize_run": runs, "token_unit": units}

_SHA = "0" * 64
_ENTRY = entry(stem("a", "b", 0), 2, 1, _SHA)
_STAMP = TokenizerStamp(tokenizer_name="t", tokenizer_hash="0" * 16, tokenizer_version=None, vocab_size=2, eos_token_id=0)
# One document of each format, small and valid.
ONE: dict[str, Contract] = {
    "tokens": TokensManifest(
        pipeline_version="v1", git_sha=None, dataset="a", version="b", tokenizer="t", **_STAMP.model_dump(), dtype="uint32",
        created_at="2026-01-31T12:00:00Z", total_tokens=2, total_documents=1, num_shards=1, shards=(_ENTRY,),
        source_info=SourceInfo(text_field="text", shard_tokens=1, freeze_sha256=_SHA, documents_read=1),
    ),
    "tokenize_run": TokenizeRun(
        dataset="a", version="b", dtype="uint32", shard_tokens=1, text_field="text", stamp=_STAMP, git_sha=None,
        freeze=Freeze(pipeline="tokenize", pipeline_version="v1", thresholds={}), started_at="2026-01-31T12:00:00Z", sources=(),
        batch_id=None, batch_sha256=None,
    ),
    "token_unit": TokenUnit(
        shard=_ENTRY, dropped={}, read=1, source=0, done=1, records_sha256=_SHA, last_record_digest=f"sha256:{_SHA}"
    ),
}  # fmt: skip
