"""Tokenising: the contract with tokenizers, the bytes of shards, runs that are stopped and go on."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from token_sets import SHARD_TOKENS, TEXTS, bytes_of, make_set, write_rows
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from pytest_distill import clock
from pytest_distill.cli.main import main
from pytest_distill.engine.local import Threads
from pytest_distill.errors import DistillError
from pytest_distill.measuring.separable import PATTERNS
from pytest_distill.pipelines.tokenize import blocks, pieces
from pytest_distill.pipelines.tokenize.blocks import encoded
from pytest_distill.pipelines.tokenize.sources import Files
from pytest_distill.pipelines.tokenize.tokenizer import load
from pytest_distill.pipelines.tokenize.writer import npy_header
from pytest_distill.stages.stopping import Stop

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).absolute()
FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "tokenizer.json"
END = "<|endoftext|>"


@pytest.fixture(autouse=True)
def pinned(monkeypatch, tmp_path_factory):
    """One time for all sets; and away from the checkout, whose commit a manifest would name."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # nobody pulls the plug here, and a busy disk takes minutes for them
    monkeypatch.setattr(clock, "_pinned", None)
    clock.pin("2026-01-31T12:00:00Z")


def shipped() -> Tokenizer:
    return Tokenizer.from_file(str(FIXTURE))


# -- a reader written from the contract's text, with nothing of ours -----------------------------------------------------------


def read_by_the_contract(folder: Path) -> list[list[int]]:
    """Every document of a set, EOS included, and every promise of the format on the way."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["tokenizer"] == manifest["tokenizer_name"]
    assert len(manifest["shards"]) == manifest["num_shards"]
    documents = []
    for number, shard in enumerate(manifest["shards"]):
        name = f"{manifest['dataset']}-{manifest['version']}-shard-{number:06d}"
        assert (shard["path"], shard["index_path"]) == (f"{name}.npy", f"{name}.idx")
        assert hashlib.sha256((folder / shard["path"]).read_bytes()).hexdigest() == shard["checksum"]
        ids = np.load(folder / shard["path"], allow_pickle=False)
        assert (ids.ndim, ids.dtype) == (1, np.dtype(manifest["dtype"]))
        assert len(ids) == shard["num_tokens"]
        assert ids.max() < manifest["vocab_size"]
        index = (folder / shard["index_path"]).read_bytes()
        magic, version, count, zero = struct.unpack("<8sQQQ", index[:32])
        assert (magic, version, count, zero) == (b"NMOEIDX\0", 1, shard["num_documents"], 0)
        pairs = [struct.unpack_from("<QQ", index, 32 + 16 * n) for n in range(count)]
        assert len(index) == 32 + 16 * count
        expected_start = 0
        for start, end in pairs:
            assert start == expected_start
            assert end > start
            assert ids[end - 1] == manifest["eos_token_id"]
            assert (ids[start : end - 1] != manifest["eos_token_id"]).all()
            documents.append(ids[start:end].tolist())
            expected_start = end
        assert expected_start == len(ids)
    assert manifest["total_documents"] == len(documents)
    assert manifest["total_tokens"] == sum(map(len, documents))
    return documents


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


def a_family(tmp_path: Path, pattern: str) -> Path:
    """Our vocabulary and merges behind the pre-tokenizer of another family."""
    declared = json.loads(FIXTURE.read_text())
    declared["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(declared))
    return path


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


# -- the tokenizer contract ----------------------------------------------------------------------------------------------------


def word_level(tmp_path: Path, vocabulary: dict[str, int], **files: object) -> Path:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def test_what_is_stamped_is_derived(tmp_path):
    folder = word_level(tmp_path, {"?": 0, "a": 1, "</s>": 9}, tokenizer_config={"eos_token": {"content": "</s>"}})
    stamp = load(str(folder)).stamp
    assert (stamp.tokenizer_name, stamp.vocab_size, stamp.eos_token_id) == ("model", 10, 9)  # ids have a gap
    again = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(again, indent=7) + "\n")
    assert load(str(folder)).stamp == stamp  # spelling is not content
    again["model"]["vocab"]["b"] = 2
    (folder / "tokenizer.json").write_text(json.dumps(again))
    assert load(str(folder)).stamp.tokenizer_hash != stamp.tokenizer_hash


def test_a_tokenizer_that_does_not_say_its_end_is_asked_for_it(tmp_path):
    folder = word_level(tmp_path, {"?": 0, "a": 1, "fin": 2})
    with pytest.raises(DistillError, match=r"E-TOKENIZER\].*--eos TOKEN"):
        load(str(folder))
    assert load(str(folder), eos="fin").stamp.eos_token_id == 2
    with pytest.raises(DistillError, match="has no token 'nil'"):
        load(str(folder), eos="nil")


def test_a_text_that_becomes_the_end_token_is_refused(tmp_path):
    folder = word_level(tmp_path, {"?": 0, "a": 1, "fin": 2})
    with pytest.raises(DistillError, match=r"E-SHARD-TOKENS\]: the text of r1 \(record 2\)"):
        make_set(tmp_path / "set", ["a a", "a fin a"], tokenizer=load(str(folder), eos="fin"))


def test_special_tokens_in_a_text_are_text(tmp_path):
    make_set(tmp_path / "set", [f"before {END} after"])
    (document,) = read_by_the_contract(tmp_path / "set")
    assert document.count(8192) == 1
    assert load().decode(document[:-1]) == f"before {END} after"


def test_a_model_of_the_hugging_face_cache_is_found_by_name(tmp_path, monkeypatch):
    model = tmp_path / "hub" / "models--org--small"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("c0ffee")
    snapshot = model / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_bytes(FIXTURE.read_bytes())
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    stamp = load("org/small").stamp
    assert (stamp.tokenizer_name, stamp.tokenizer_version) == ("org/small", "c0ffee")
    assert load(str(snapshot)).stamp == stamp
    with pytest.raises(DistillError, match="E-TOKENIZER"):
        load("org/other")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"ranks": 1}'])
def test_a_file_that_is_no_tokenizer(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(DistillError, match="E-TOKENIZER"):
        load(str(tmp_path))


# -- tiktoken ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def as_tiktoken(tmp_path: Path) -> Path:
    """The shipped tokenizer once more, as a tiktoken encoding from files."""
    pytest.importorskip("tiktoken", reason="tiktoken is not installed: its encodings were not tried")
    declared = json.loads(FIXTURE.read_text())
    byte = {c: b for b, c in enumerate(_byte_characters())}
    vocabulary = declared["model"]["vocab"]
    ranks = sorted((number, bytes(byte[c] for c in token)) for token, number in vocabulary.items())
    lines = [base64.b64encode(token) + b" %d\n" % number for number, token in ranks]
    (tmp_path / "small.tiktoken").write_bytes(b"".join(lines))
    pattern = declared["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    whole = {"name": "small", "pattern": pattern, "special_tokens": {END: 8192}, "ranks": "small.tiktoken"}
    path = tmp_path / "encoding.json"
    path.write_text(json.dumps(whole))
    return path


def _byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + others.index(b)) for b in range(256)]


def test_tiktoken_gives_the_same_shards(tmp_path, as_tiktoken):
    make_set(tmp_path / "ours")
    manifest = make_set(tmp_path / "theirs", tokenizer=load(str(as_tiktoken)), source=tmp_path / "ours.jsonl", workers=2)
    assert (manifest.tokenizer_name, manifest.vocab_size, manifest.eos_token_id) == ("small", 8193, 8192)
    assert read_by_the_contract(tmp_path / "theirs") == read_by_the_contract(tmp_path / "ours")


def test_tiktoken_keeps_special_tokens_of_texts_as_text(as_tiktoken):
    tokenizer = load(str(as_tiktoken))
    ids, counts = tokenizer.encode([f"a{END}", "", "b"])
    assert 8192 not in ids
    assert counts[1] == 0
    assert tokenizer.decode(ids[: counts[0]].tolist()) == f"a{END}"


def test_published_encodings_are_read_from_files_only(tmp_path, as_tiktoken, monkeypatch):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    with pytest.raises(DistillError, match=r"E-TOKENIZER\].*o200k_base.tiktoken"):
        load("o200k_harmony")
    (tmp_path / "cl100k_base.tiktoken").write_bytes(as_tiktoken.with_name("small.tiktoken").read_bytes())
    with pytest.raises(DistillError, match="not the file that was published"):
        load(str(tmp_path / "cl100k_base.tiktoken"))
    with pytest.raises(DistillError, match="publishes no encoding"):
        load(str(as_tiktoken.with_name("small.tiktoken")))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(DistillError, match="not in TIKTOKEN_CACHE_DIR"):
        load("r50k_base")


def test_a_published_encoding_has_the_librarys_own_table(tmp_path, as_tiktoken, monkeypatch):
    """With the digest of its ranks replaced by that of ours, a published name loads from a file and from the cache."""
    from pytest_distill.pipelines.tokenize import encodings

    ranks = as_tiktoken.with_name("small.tiktoken").read_bytes()
    path = tmp_path / "o200k_harmony.tiktoken"
    path.write_bytes(ranks)
    monkeypatch.setattr(encodings.storage, "sha256_bytes", lambda data: PUBLISHED if data == ranks else "other")
    encoding = encodings.published(str(path))
    assert encoding is not None
    assert encoding.name == "o200k_harmony"
    assert encoding.special["<|return|>"] == 200002
    url = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    (tmp_path / hashlib.sha1(url.encode()).hexdigest()).write_bytes(ranks)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert encodings.published("o200k_harmony") == encoding


PUBLISHED = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


# -- sources -------------------------------------------------------------------------------------------------------------------


def test_all_kinds_of_files_give_the_same_documents(tmp_path):
    rows = [{"text": text} for text in TEXTS if "\n" not in text]
    texts = [row["text"] for row in rows]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.txt").write_text("\n".join(texts))
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(rows).write_csv(tmp_path / "a.csv")
    import zstandard

    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(("\r\n".join(texts) + "\r\n").encode()))
    for path in sorted(tmp_path.glob("a.*")):
        assert [document.text for document in Files([path], "text").documents()] == texts, path.name


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", b'{"text":"x"}\n{"a":1,"a":2}\n', r"a.jsonl, line 2: duplicate_key"),
        ("a.jsonl", b'{"text":"x"}\n{"txt":"x"}\n', r"line 2: has no 'text' \(it has 'txt'\)"),
        ("a.jsonl", b'{"text":7}\n', "line 1: 'text' is no text"),
        ("a.txt", b"good\nb\xff\n", "line 2: invalid_utf8"),
        ("a.txt", b"\xef\xbb\xbfx\n", "line 1: byte_order_mark"),
        ("a.pickle", b"x", "the name tells no format"),
    ],
)
def test_a_record_without_a_text_stops_the_run(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DistillError, match=rf"E-SOURCE-FORMAT\].*{said}"):
        make_set(tmp_path / "set", source=tmp_path / name)


def test_files_that_are_not_there_or_twice(tmp_path):
    with pytest.raises(DistillError, match="E-SOURCE-NOTFOUND"):
        Files([tmp_path / "gone.jsonl"], "text")
    path = write_rows(tmp_path / "a.jsonl")
    with pytest.raises(DistillError, match="given twice"):
        Files([path, path], "text")


def test_a_file_that_changes_while_it_is_read(tmp_path):
    files = Files([write_rows(tmp_path / "a.jsonl")], "text")
    write_rows(tmp_path / "a.jsonl", [*TEXTS[:-1], "another"])
    with pytest.raises(DistillError, match="changed while it was read"):
        list(files.documents())


# -- stopping and going on -----------------------------------------------------------------------------------------------------


class StopAfter(Stop):
    """Told to stop once so many shards stand."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.left = shards

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.signal = signal.SIGTERM
        super().check()


def stopped(out: Path, shards: int, **values) -> None:
    with pytest.raises(SystemExit, match="143"):
        make_set(out, stop=StopAfter(shards), **values)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, shards):
    whole = make_set(tmp_path / "whole", source=write_rows(tmp_path / "rows.jsonl"))
    assert whole.num_shards > 3
    stopped(tmp_path / "set", shards, source=tmp_path / "rows.jsonl")
    assert not (tmp_path / "set" / "manifest.json").exists()
    state = json.loads((tmp_path / "set" / "state_stage_2.json").read_text())
    assert (state["status"], state["stage"]) == ("running", "tokenize")
    assert state["cursor"]["source"] == "rows.jsonl"
    clock.pin("2026-02-01T00:00:00Z")  # the time of a set is that of its beginning
    make_set(tmp_path / "set", source=tmp_path / "rows.jsonl", resume=True, workers=2)
    found, expected = bytes_of(tmp_path / "set"), bytes_of(tmp_path / "whole")
    for name in ("state_stage_2.json", "SHA256SUMS"):  # which hold when it was completed
        assert found.pop(name) != expected.pop(name)
    assert found == expected


def test_resuming_a_finished_set_or_nothing_at_all(tmp_path):
    first = make_set(tmp_path / "set", resume=True)
    before = bytes_of(tmp_path / "set")
    assert make_set(tmp_path / "set", source=tmp_path / "set.jsonl", resume=True) == first
    assert bytes_of(tmp_path / "set") == before
    with pytest.raises(DistillError, match="E-SHARD-FILES"):
        make_set(tmp_path / "set", source=tmp_path / "set.jsonl")
    with pytest.raises(DistillError, match="E-FREEZE"):
        make_set(tmp_path / "set", source=tmp_path / "set.jsonl", shard_tokens=7, resume=True)


def test_another_tokenizer_than_that_of_the_manifest_is_drift(tmp_path):
    make_set(tmp_path / "set")
    other = load(str(a_family(tmp_path, sorted(PATTERNS)[1])))
    for resume in (True, False):
        with pytest.raises(DistillError, match=r"E-TOKENIZER-DRIFT\].*tokenizer_hash"):
            make_set(tmp_path / "set", source=tmp_path / "set.jsonl", tokenizer=other, resume=resume)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"shard_tokens": SHARD_TOKENS + 1}, "E-FREEZE.*shard_tokens: 300, now 301"),
        ({"dtype": "uint16"}, "E-FREEZE.*dtype: uint32, now uint16"),
        ({"version": "v2"}, "E-FREEZE.*version: v1, now v2"),
        ({"pipeline_version": "data_v2"}, "E-FREEZE.*pipeline_version: data_v1, now data_v2"),
        ({"source": "other.jsonl"}, "E-RESUME-CURSOR-MISMATCH.*other.jsonl is not what it was"),
    ],
)
def test_a_run_goes_on_only_as_it_began(tmp_path, values, code):
    source = write_rows(tmp_path / "rows.jsonl")
    stopped(tmp_path / "set", 2, source=source)
    values = {"source": source, **values}
    if values["source"] == "other.jsonl":
        values["source"] = write_rows(tmp_path / "other.jsonl", TEXTS[1:])
    with pytest.raises(DistillError, match=code):
        make_set(tmp_path / "set", resume=True, **values)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda out: damage(out / "set-v1-shard-000000.npy"), "E-SHARD-CHECKSUM"),
        (lambda out: (out / "set-v1-shard-000001.npy").unlink(), "E-SHARD-FILES"),
        (lambda out: (out / "set-v1-shard-000001.idx").unlink(), "E-INDEX-MISSING"),
        (lambda out: damage(out / "set-v1-shard-000001.idx"), "E-INDEX"),
        (lambda out: (out / "units.jsonl").unlink(), "E-INDEX-MISSING"),
        (lambda out: damage(out / "units.jsonl"), "E-RESUME-CURSOR-MISMATCH|E-MANIFEST"),
        (lambda out: damage(out / "run.json"), "E-MANIFEST|E-FREEZE|E-RESUME|E-TOKENIZER-DRIFT"),
        (lambda out: (out / "run.json").unlink(), "E-SHARD-FILES"),
    ],
)
def test_a_run_does_not_go_on_over_damage(tmp_path, change, code):
    source = write_rows(tmp_path / "rows.jsonl")
    stopped(tmp_path / "set", 2, source=source)
    change(tmp_path / "set")
    with pytest.raises(DistillError, match=code):
        make_set(tmp_path / "set", source=source, resume=True)


def test_records_that_are_passed_over_have_to_be_those_that_were_read(tmp_path):
    from pytest_distill.contracts.tokens import TokenizeRun
    from pytest_distill.pipelines.tokenize.resume import pass_over, vouched

    source = write_rows(tmp_path / "rows.jsonl")
    stopped(tmp_path / "set", 2, source=source)
    units = vouched(tmp_path / "set", TokenizeRun.load(tmp_path / "set" / "run.json"))
    behind = units[-1].read
    assert next(pass_over(Files([source], "text").documents(), units)).text == TEXTS[behind]
    for wrong in (behind - 1, 0):
        texts = list(TEXTS)
        texts[wrong] += "."
        other = Files([write_rows(tmp_path / "other.jsonl", texts)], "text")
        with pytest.raises(DistillError, match="E-RESUME-CURSOR-MISMATCH"):
            next(pass_over(other.documents(), units))
    short = Files([write_rows(tmp_path / "short.jsonl", TEXTS[: behind - 1])], "text")
    with pytest.raises(DistillError, match="the sources end after"):
        next(pass_over(short.documents(), units))


def test_what_a_killed_run_left_half_written_is_made_again(tmp_path):
    make_set(tmp_path / "whole", source=write_rows(tmp_path / "rows.jsonl"))
    stopped(tmp_path / "set", 2, source=tmp_path / "rows.jsonl")
    out = tmp_path / "set"
    (out / ".set-v1-shard-000002.npy.abc.tmp").write_bytes(b"torn")
    (out / "set-v1-shard-000002.npy").write_bytes(b"appeared, and nothing vouches for it")
    with (out / "units.jsonl").open("ab") as units:
        units.write(b'{"torn')
    make_set(out, source=tmp_path / "rows.jsonl", resume=True)
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


KILLED = """
import os, sys
from pathlib import Path
from pytest_distill import clock, storage
clock.pin("2026-01-31T12:00:00Z")
left = int(sys.argv[3])
def counted(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return function(*args, **kwargs)
    return call
os.fsync = counted(lambda fd: None)
os.write = counted(os.write)
Path.replace = counted(Path.replace)
Path.unlink = counted(Path.unlink)
sys.path.insert(0, sys.argv[4])
from token_sets import make_set
for n in range(int(sys.argv[5])):
    make_set(Path(sys.argv[1]), source=Path(sys.argv[2]), resume=True)
"""


def test_kill_9_at_write_boundaries_changes_no_byte(tmp_path):
    """A few of the boundaries; with DISTILL_KILL_STEP=1 every one of them."""
    make_set(tmp_path / "whole", source=write_rows(tmp_path / "rows.jsonl"))
    expected = bytes_of(tmp_path / "whole")
    step = int(os.environ.get("DISTILL_KILL_STEP", "17"))
    at, killed = 3, 0
    while True:
        out = tmp_path / f"set{at}"
        command = [sys.executable, "-c", KILLED, str(out), str(tmp_path / "rows.jsonl"), str(at), str(Path(__file__).parent), "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        make_set(out, source=tmp_path / "rows.jsonl", resume=True)
        assert bytes_of(out) == expected, at
        at += step
    assert killed >= 2


# -- the command ---------------------------------------------------------------------------------------------------------------


def command(place: Path, *arguments: str) -> list[str]:
    return ["tokenize", str(place / "rows.jsonl"), "--dataset", "set", "--version", "v1", "--out", str(place / "out"), *arguments]


def test_the_command_shows_what_was_derived(tmp_path, capsys):
    write_rows(tmp_path / "rows.jsonl", [*TEXTS, ""])
    assert main(command(tmp_path, "--shard-tokens", "300", "--workers", "2", "--json")) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["vocab_size"], found["eos_token_id"], found["total_documents"]) == (8193, 8192, 60)
    assert "vocabulary 8,193, documents end with <|endoftext|> = 8192" in err
    assert "61 documents read: 60 tokenized, 1 dropped (blank)" in err
    assert "docs/s" in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--dataset", "../x"], "E-USAGE"),
        (["--text-field", "nope"], "E-SOURCE-FORMAT"),
        (["--tokenizer", "no-such-model"], "E-TOKENIZER"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_no_manifest(tmp_path, capsys, arguments, code):
    write_rows(tmp_path / "rows.jsonl")
    assert main([*command(tmp_path), *arguments]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert errors[0].startswith(f"ERROR [{code}]: ")
    assert not (tmp_path / "out" / "manifest.json").exists()


TOLD = """
import os, signal, sys
from pytest_distill import storage
from pytest_distill.cli.main import main
append = storage.append_line
def told(path, line):
    os.kill(os.getpid(), signal.SIGTERM)
    append(path, line)
os.fsync = lambda fd: None
storage.append_line = told
sys.exit(main(sys.argv[1:]))
"""


def test_sigterm_finishes_the_shard_and_exits_with_143(tmp_path):
    """The signal comes when the first shard's files are there and its line is not."""
    write_rows(tmp_path / "rows.jsonl")
    arguments = [*command(tmp_path, "--shard-tokens", "200", "--now", "2026-01-31T12:00:00Z"), "-q"]
    done = subprocess.run([sys.executable, "-c", TOLD, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "")
    assert len((tmp_path / "out" / "units.jsonl").read_bytes().splitlines()) == 1
    assert main([*arguments, "--resume"]) == 0
    assert main(["shards", "verify", str(tmp_path / "out"), "-q"]) == 0


def test_a_refused_text_frees_the_threads(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a " * 10}) + "\nbroken\n")
    before = threading.active_count()
    with pytest.raises(DistillError, match="E-SOURCE-FORMAT"):
        list(encoded(Files([path], "text").documents(), load(), Threads(3)))
    assert threading.active_count() == before


def test_a_tokenizer_of_another_kind_goes_text_by_text(tmp_path):
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, END: 2}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(tmp_path / "letters.json"))
    found = load(str(tmp_path / "letters.json"), eos=END)
    assert found._pieces is None
    make_set(tmp_path / "set", ["ab", "ba"], tokenizer=found)
    assert read_by_the_contract(tmp_path / "set") == [[0, 1, 2], [1, 0, 2]]
