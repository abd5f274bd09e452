"""Shards of tokens: every promise of the format, taken again from the attached bytes, and where the tokens come from."""

import polars as pl

from pytest_distill import Code, gate
from pytest_distill.gates.measures import shards as judged


@gate("tokens.shards", applies={"kind": "tokens"}, rows="all")
def test_shards_keep_the_format(batch, require):
    """Checksums, arrays, indexes and documents of every shard hold; no file is missing, and none is there besides."""
    manifest = judged.manifest_of(batch)
    found = judged.faults(batch, manifest)
    unlisted = judged.unlisted(batch, manifest)
    require(f"files missing or beyond the set{': ' + unlisted[0] if unlisted else ''}", len(unlisted), equals=0)
    figures = (
        found.named("shards that are not their checksum", Code.SHARD_CHECKSUM, Code.SHARD_FILES),
        found.named("shards that are no array of the manifest's type and length", Code.SHARD_FORMAT),
        found.named("documents without EOS at their end, with one inside, empty, or beyond the vocabulary", Code.SHARD_TOKENS),
        found.named("indexes that do not describe their shard", Code.INDEX, Code.INDEX_MISSING),
    )
    for name, count in figures:
        require(name, count, equals=0)


@gate("tokens.totals", applies={"kind": "tokens"}, rows="all")
def test_rows_are_the_documents(batch, require):
    """The rows of the batch are the documents of its shards, one by one, and the manifest's totals are their sums."""
    manifest = judged.manifest_of(batch)
    found = judged.faults(batch, manifest)
    rows = pl.DataFrame({name: batch.column(name).to_list() for name in judged.COLUMNS})
    require("rows that are not the documents of the shards", judged.differing(rows, found.documents), equals=0)
    require("documents", len(found.documents), equals=manifest.total_documents)
    require("tokens", found.tokens, equals=manifest.total_tokens, unit="tokens")


@gate("tokens.tokenizer", applies={"kind": "tokens"}, rows="all")
def test_the_tokenizer_is_stamped(batch, policy, require):
    """The manifest names one tokenizer; where the policy names the model's, it is that one."""
    manifest = judged.manifest_of(batch)
    require("the tokenizer's name, as the manifest has it twice", manifest.tokenizer, equals=manifest.tokenizer_name)
    require("the end of a document lies in the vocabulary", manifest.eos_token_id < manifest.vocab_size, equals=True)
    if (expected := judged.policy_hash(policy)) is not None:
        require("hash of the tokenizer", manifest.tokenizer_hash, equals=expected)


@gate("tokens.freeze", applies={"kind": "tokens"}, rows="all")
def test_frozen_values_are_those_of_the_run(batch, require):
    """The freeze digest of the batch and of its shard manifest is that of the tokenizer and the values it was made with."""
    manifest = judged.manifest_of(batch)
    require("freeze digest of the shards", manifest.source_info.freeze_sha256, equals=judged.freeze_of(manifest))
    require("freeze digest of the batch", str(batch.manifest.freeze_sha256), equals=manifest.source_info.freeze_sha256)


@gate("tokens.retention", applies={"kind": "tokens"}, rows="all", limits={"min_retention": 0.99})
def test_few_documents_are_lost(batch, require, limits):
    """Of the documents that were read, at most one in a hundred had no token."""
    manifest = judged.manifest_of(batch)
    read = manifest.source_info.documents_read
    require("share of documents kept", manifest.total_documents / read if read else None, at_least=limits.min_retention)


@gate("tokens.state", applies={"kind": "tokens"}, rows="all")
def test_the_run_was_completed(batch, require):
    """The resume state says that the run came to its end, and names this manifest."""
    state = judged.state_of(batch)
    require("state of the run", state.status, equals="completed")
    require("manifest that the state names", state.manifest_digest, equals=judged.manifest_digest(batch))
    require("pipeline version of the state", state.pipeline_version, equals=judged.manifest_of(batch).pipeline_version)


@gate("tokens.source", applies={"kind": "tokens"}, rows="all", limits={"min_sealed_sources": 1})
def test_the_texts_were_judged(batch, require, limits):
    """The tokens are of a sealed batch, so that its texts have passed the gates of text. Raw files have not: 0 allows them."""
    require("sealed batches that the tokens come from", judged.sealed(batch), at_least=limits.min_sealed_sources)
