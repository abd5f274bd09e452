"""Embeddings: what they do not depend on, what is decided by them, and which folders are refused."""

from __future__ import annotations

import importlib.util
import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch

from pytest_distill.errors import Code, DistillError
from pytest_distill.gates.measures.diversity import radius
from pytest_distill.gates.measures.meaning import same_meaning
from pytest_distill.measuring import embedding
from pytest_distill.pipelines.grading.diversity import from_pairs
from pytest_distill.policy.model import Diversity, Embedding

WORDS = [
    "what", "is", "the", "capital", "of", "norway", "sweden", "name", "a", "list", "three", "fruits", "add", "plus", "and", "3",
    "6", "7", "city", "opposite", "heavy", "word", "for",
]  # fmt: skip
TEXTS = [
    "what is the capital of norway",
    "add 3 and 6",
    "name three fruits",
    "",
    "add 3 and 6",
    "a",
    "list three fruits for a city",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of random weights in the layout of sentence-transformers."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel

    made = tmp_path_factory.mktemp("models") / "bert"
    made.mkdir()
    vocabulary = {word: place for place, word in enumerate(["[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(made / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    config.save_pretrained(made)
    save_file({k: v.contiguous() for k, v in BertModel(config).state_dict().items()}, made / "model.safetensors")
    (made / "1_Pooling").mkdir()
    (made / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    )
    (made / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}))
    return made


def test_a_vector_is_the_texts_own(folder):
    texts = [text for text in TEXTS if text]
    together = embedding.embed(texts, folder, dtype="float32")
    assert together.shape == (6, 32)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([embedding.embed([text], folder, dtype="float32") for text in texts])
    assert np.allclose(together, alone, atol=1e-5)
    assert together[1].tobytes() == together[3].tobytes(), "equal texts are computed once"
    assert embedding.embed(texts, folder, dtype="float32").tobytes() == together.tobytes()
    assert embedding.embed([], folder).shape == (0, 32)


def test_weights_in_another_layout_multiply_to_the_same(folder, monkeypatch):
    texts = [text for text in TEXTS if text]
    ours = {dtype: embedding.embed(texts, folder, dtype=dtype) for dtype in ("float32", "bfloat16")}
    embedding._load.cache_clear()
    monkeypatch.setattr(embedding, "_repacked", lambda network: network)
    plain = embedding.embed(texts, folder, dtype="float32")
    embedding._load.cache_clear()
    assert np.allclose(ours["float32"], plain, atol=1e-6)
    assert (ours["bfloat16"] * plain).sum(axis=1).min() > 0.999


def test_bfloat16_is_asked_for_and_refused_where_the_processor_has_no_units_for_it(monkeypatch):
    monkeypatch.setattr(embedding, "has_bfloat16", lambda: True)
    assert embedding.dtype_of(Embedding()) == "float32", "a faster processor moves no figure"
    assert embedding.dtype_of(Embedding(precision="bfloat16")) == "bfloat16"
    monkeypatch.setattr(embedding, "has_bfloat16", lambda: False)
    with pytest.raises(DistillError, match=r"E-POLICY.*no.* avx512_bf16, amx_bf16"):
        embedding.dtype_of(Embedding(precision="bfloat16"))


def test_what_was_calibrated_in_one_precision_is_no_calibration_of_the_other(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "packaged", lambda: folder)
    pairs = [{"a": f"{word} plus", "b": f"{word} plus plus", "duplicate": True} for word in WORDS[:12]]
    pairs += [{"a": WORDS[place], "b": WORDS[-place], "duplicate": False} for place in range(1, 12)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    made = from_pairs(tmp_path / "pairs.jsonl", folder, dtype="bfloat16")
    assert made.model_sha256 != embedding.digest(folder)
    made.write(tmp_path / "diversity.json")
    table = Diversity.model_validate({"check": True, "calibration": "diversity.json"})
    table.calibration.pin(tmp_path)
    assert radius(table, Embedding(precision="bfloat16")) == made.radius
    with pytest.raises(DistillError, match=r"E-CALIBRATION.*another embedding model or precision"):
        radius(table, Embedding())


def test_texts_are_read_up_to_the_models_length(folder):
    text = "what is the capital of norway and sweden"  # eight tokens
    longer = embedding.embed([text, f"{text} name three fruits"], folder, dtype="float32")
    assert np.allclose(longer[0], longer[1], atol=1e-6)


@pytest.mark.parametrize("cosine", [0.5, 0.9, 0.97, 0.999])
def test_precision_moves_no_decision(folder, cosine):
    texts = [f"{a} {b} {c}" for a in WORDS[:8] for b in WORDS[8:12] for c in WORDS[12:14]]
    exact = embedding.alike(texts[:30], texts[30:], folder, cosine=cosine, dtype="float32")
    fast = embedding.alike(texts[:30], texts[30:], folder, cosine=cosine, dtype="bfloat16")
    assert [pair[:2] for pair in fast] == [pair[:2] for pair in exact]
    assert np.allclose([pair[2] for pair in fast], [pair[2] for pair in exact], atol=1e-5)


def test_the_first_token_can_be_the_vector(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "cls")
    (other / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    first = embedding.embed(["add 3 and 6"], other, dtype="float32")
    assert not np.allclose(first, embedding.embed(["add 3 and 6"], folder, dtype="float32"), atol=1e-3)


def spoil_config(folder):
    (folder / "config.json").write_bytes(b"{")


def ask_for_code(folder):
    values = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(values | {"auto_map": {"AutoModel": "evil.Model"}}))


def other_layers(folder):
    values = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(values | {"num_hidden_layers": 3}))


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def strange_pooling(folder):
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))


@pytest.mark.parametrize("spoil", [spoil_config, ask_for_code, other_layers, pickled, strange_pooling])
def test_a_folder_that_holds_no_such_model_is_refused(folder, tmp_path, spoil):
    other = shutil.copytree(folder, tmp_path / "spoiled")
    spoil(other)
    with pytest.raises(DistillError) as caught:
        embedding.embed(["a"], other, dtype="float32")
    assert caught.value.code is Code.MODEL


@pytest.mark.skipif(importlib.util.find_spec(embedding.PACKAGE) is None, reason="[embed] is not installed: meaning was not tried")
def test_other_words_are_found_and_other_questions_spared():
    training = [
        "What is the capital of Norway?", "Write the plural of goose.", "Name three fruits.", "Add 3 and 6.",
        "What is the opposite of heavy?", "How many minutes are in 2 hours?",
    ]  # fmt: skip
    asked_again = [
        "Name the capital city of Norway.", "Give the plural form of the word goose.", "List three different fruits.",
        "Give an antonym for heavy.",
    ]  # fmt: skip
    others = [
        "What is the capital of Sweden?", "Write the plural of mouse.", "Name three vegetables.", "Add 3 and 7.",
        "What is the opposite of hot?", "How many minutes are in 3 hours?",
    ]  # fmt: skip
    found = same_meaning(pl.Series([*asked_again, *others]), pl.Series(training), Embedding(), 0.83)
    assert [line.partition("' is ")[0].strip("'") for line in found] == asked_again
