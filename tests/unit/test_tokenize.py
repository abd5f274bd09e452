"""Tokenising: the bytes of shards, read by the contract alone, and encoding by pieces."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from token_sets import TEXTS, a_family, bytes_of, make_set, read_by_the_contract, shipped
from tokenizers import Tokenizer

from pytest_distill.errors import DistillError
from pytest_distill.measuring.separable import PATTERNS
from pytest_distill.pipelines.tokenize import blocks, pieces
from pytest_distill.pipelines.tokenize.tokenizer import load
from pytest_distill.pipelines.tokenize.writer import npy_header

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).absolute()
END = "<|endoftext|>"

pytestmark = pytest.mark.usefixtures("pinned")


# -- the bytes of shards -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint32", "uint16"])
def test_a_reader_of_the_contract_reads_what_was_written(tmp_path, dtype):
    make_set(tmp_path / "set", dtype=dtype)
    tokenizer = shipped()
    expected = [[*tokenizer.encode(text).ids, 8192] for text in TEXTS]
    assert read_by_the_contract(tmp_path / "set") == expected
    assert json.loads((tmp_path / "set" / "manifest.json").read_text())["dtype"] == dtype


def test_sha256sum_accepts_the_folder(tmp_path):
    make_set(tmp_path / "set")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "set", check=True)


@given(st.integers(0, 2**63), st.sampled_from(["uint32", "uint16"]))
def test_the_header_is_the_one_numpy_reads(tokens, dtype):
    import io

    file = io.BytesIO(npy_header(dtype, tokens))
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == ((tokens,), False, np.dtype(dtype))
    assert file.tell() == 128


@pytest.mark.parametrize(("dtype", "kind"), [("uint32", "<u4"), ("uint16", "<u2")])
def test_a_shard_has_the_bytes_that_numpy_writes(tmp_path, dtype, kind):
    make_set(tmp_path / "set", shard_tokens=10**6, dtype=dtype)
    (path,) = (tmp_path / "set").glob("*.npy")
    np.save(tmp_path / "again.npy", np.load(path).astype(kind))
    assert path.read_bytes() == (tmp_path / "again.npy").read_bytes()


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=12), st.integers(5, 60), st.integers(1, 3), st.integers(1, 5))
@example(["", "a", "", "b" * 40, ""], 3, 1, 2)
@example(["", "long enough"], 1, 1, 2)
@example(["00000", ""], 5, 1, 2)
@example([END, f"x{END}y"], 5, 1, 1)
def test_any_texts_give_their_tokens_whatever_the_shards_blocks_and_workers(texts, shard_tokens, workers, block):
    import tempfile

    tokenizer = shipped()
    tokenizer.encode_special_tokens = True
    expected = [[*ids, 8192] for text in texts if (ids := tokenizer.encode(text).ids)]
    before = blocks.BLOCK_DOCUMENTS
    blocks.BLOCK_DOCUMENTS = block
    try:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "set")
            if not expected:
                with pytest.raises(DistillError, match="E-SOURCE-NOTFOUND"):
                    make_set(out, texts, shard_tokens=shard_tokens)
                return
            manifest = make_set(out, texts, shard_tokens=shard_tokens, workers=workers)
            assert read_by_the_contract(out) == expected
            assert all(s.num_tokens <= shard_tokens or s.num_documents == 1 for s in manifest.shards)
            assert manifest.source_info.documents_read == len(texts)
            assert manifest.source_info.documents_dropped == ({"blank": n} if (n := len(texts) - len(expected)) else {})
    finally:
        blocks.BLOCK_DOCUMENTS = before


def test_workers_and_blocks_change_no_byte(tmp_path, monkeypatch):
    make_set(tmp_path / "one")
    for workers, block in ((2, 7), (3, 1)):
        monkeypatch.setattr(blocks, "BLOCK_DOCUMENTS", block)
        name = f"w{workers}b{block}"
        make_set(tmp_path / name, source=tmp_path / "one.jsonl", workers=workers)
        assert bytes_of(tmp_path / name) == bytes_of(tmp_path / "one")


# -- encoding by pieces --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_pieces_give_the_ids_of_whole_texts(tmp_path, pattern):
    path = a_family(tmp_path, pattern)
    whole = Tokenizer.from_file(str(path))
    whole.encode_special_tokens = True
    tokenizer = load(str(path))
    alphabet = st.sampled_from(list("abcZthe9 .,;:!?()\n\r\t'_é\u00a0日🙂<|>"))

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.text(alphabet=alphabet, max_size=60) | st.text(max_size=20) | st.just(f"a {END}.b"), max_size=6))
    def same_ids(texts):
        ids, counts = tokenizer.encode(texts)
        assert np.split(ids, np.cumsum(counts)[:-1]) if texts else len(ids) == 0
        expected = [whole.encode(text).ids for text in texts]
        assert counts.tolist() == [len(each) for each in expected]
        assert ids.tolist() == [number for each in expected for number in each]

    same_ids()


def test_what_is_remembered_is_bounded_and_forgetting_changes_nothing(monkeypatch):
    texts = [f"word{n} and {n * 7919} more" for n in range(2000)]
    expected = load().encode(texts)[0].tolist()
    monkeypatch.setattr(pieces, "PIECES", 50)
    tokenizer = load()
    found = [tokenizer.encode(texts[start : start + 10])[0] for start in range(0, 2000, 10)]
    assert np.concatenate(found).tolist() == expected
    assert len(tokenizer._pieces._known) < 200


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: equality with encode_batch was not tried on real rows")
def test_real_texts_give_the_ids_of_encode_batch():
    with gzip.open(SHARED / "code" / "codegen_instruct.json.gz") as file:
        texts = [row["response"] for row in json.load(file)]
    texts += [path.read_text() for path in sorted((SHARED / "language").glob("*.txt"))]
    ids, counts = load().encode(texts)
    expected = [encoding.ids for encoding in shipped().encode_batch(texts, add_special_tokens=False)]
    assert counts.tolist() == [len(each) for each in expected]
    assert ids.tolist() == [number for each in expected for number in each]
