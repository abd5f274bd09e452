"""The tiny model's corpus and training: labels say the truth, held-out phrasings stay out, the same seed gives the same bytes."""

from __future__ import annotations

import random
import re

import pytest
import torch

from pytest_distill import storage
from pytest_distill.fixtures.tiny_lm import corpus
from pytest_distill.fixtures.tiny_lm.evaluate import auc, is_right
from pytest_distill.fixtures.tiny_lm.knowledge import KINDS
from pytest_distill.fixtures.tiny_lm.train import SEQUENCE, batches, encode, progress, train, train_tokenizer

TEXTS = ["".join(piece.text for piece in corpus.document(1, index)) for index in range(600)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_right_is_right_and_wrong_is_not(kind):
    for seed in range(200):
        drawn = kind.draw(random.Random(seed))
        assert is_right(drawn, drawn.right), drawn
        assert not any(is_right(drawn, wrong) for wrong in drawn.wrong), drawn


@pytest.mark.parametrize("way", corpus.BAD_PAIRS)
def test_bad_responses_are_bad(way):
    rng = random.Random(1)
    for _ in range(500):
        drawn = corpus.question(rng)[1]
        assert not is_right(drawn, corpus.bad_response(way, drawn, rng)), drawn


def test_held_out_phrasings_are_never_trained_on():
    asked = {line.split(": ", 1)[-1] for text in TEXTS for line in text.splitlines() if line.startswith("Instruction: ")}
    asked |= {line.split(". ", 1)[-1] for text in TEXTS for line in text.splitlines() if line[:1].isdigit()}
    for kind in KINDS:
        if kind.name == "fact":
            continue  # a fact is its own question; there is no other way to ask it
        shape = re.compile(re.escape(kind.held_out).replace(r"\{0\}", ".+").replace(r"\{1\}", ".+"))
        assert [text for text in asked if shape.fullmatch(text)] == []
    assert len(asked) > 1000


def test_a_document_depends_on_its_seed_and_place_alone():
    assert corpus.document(1, 5) == corpus.document(1, 5) != corpus.document(2, 5)


def test_the_delimiter_digits_and_labels_are_single_tokens(tokenizer):
    for text in ("###END###", "A", " A", "B", " B", "7"):
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1
    delimiter = tokenizer("###END###", add_special_tokens=False)["input_ids"]
    assert tokenizer("Sunday.###END###", add_special_tokens=False)["input_ids"][-1:] == delimiter  # no merge swallows it
    assert len(tokenizer) == 2048


def test_labels_sit_on_label_tokens_and_bad_text_carries_no_loss(tokenizer):
    pieces = corpus.pair_worksheet(random.Random(3))
    ids, weights, labels = encode(tokenizer, pieces)
    named = {1: " A", 0: " B"}
    marked = [(tokenizer.decode([i]), named[label]) for i, label in zip(ids, labels, strict=True) if label >= 0]
    assert len(marked) == 12
    assert all(token == wanted for token, wanted in marked)
    assert tokenizer.decode(ids) == "".join(piece.text for piece in pieces)
    silent = "".join(piece.text for piece in pieces if piece.weight == 0.0)
    assert "".join(tokenizer.decode([i]) for i, w in zip(ids, weights, strict=True) if w == 0.0) == silent


def test_knowledge_comes_first():
    assert [progress(step, 10) for step in (0, 10, 15, 20, 99)] == [0, 0, 0.5, 1, 1]
    assert progress(1, 0) == 1


def test_training_repeats_itself(tmp_path):
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in ("one", "two"):
        train(
            tmp_path / name, seed=1, steps=2, decay_from=1, minutes=None, bfloat16=False, init=None, device="cpu", knowledge=1
        )  # fmt: skip
    torch.set_num_threads(kept)
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert storage.sha256_file(tmp_path / "one" / file) == storage.sha256_file(tmp_path / "two" / file)
    assert (tmp_path / "one" / "model.safetensors").stat().st_size < 12_000_000


def test_sequences_begin_where_documents_do(tokenizer):
    ids, weights, labels = next(batches(tokenizer, 1, 10))
    assert ids.shape == weights.shape == labels.shape == (4, SEQUENCE + 1)
    first = {tokenizer.decode(row[:1]) for row in ids}
    assert all(text[:1].isupper() or text[:1].isdigit() for text in first)


def test_area_under_the_curve():
    assert auc([1, 2], [0, 0.5]) == 1
    assert auc([0], [0]) == 0.5
    assert auc([], [1]) is None
