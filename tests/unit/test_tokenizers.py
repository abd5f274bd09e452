"""Files of tokenizers: what is stamped is derived, tiktoken's give the same shards, what is none is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from token_sets import FIXTURE, make_set, read_by_the_contract
from tokenizers import Tokenizer, models, pre_tokenizers

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.tokenize.tokenizer import load

END = "<|endoftext|>"

pytestmark = pytest.mark.usefixtures("pinned")


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
