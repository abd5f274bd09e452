"""The tiny model's corpus and training: labels say the truth, held-out phrasings stay out, the same seed gives the same bytes."""

from __future__ import annotations

import random
import re

import pytest
import torch

from pytest_distill import storage
from pytest_distill.fixtures.tiny_lm import corpus
from pytest_distill.fixtures.tiny_lm.evaluate import MODEL, auc, evaluate, is_right
from pytest_distill.fixtures.tiny_lm.knowledge import KINDS
from pytest_distill.fixtures.tiny_lm.train import (
    BATCH,
    EXIT_LAYER,
    SEQUENCE,
    SmallWorld,
    batches,
    encode,
    new_model,
    train,
    train_tokenizer,
)
from pytest_distill.pipelines.models.loader import CleanModelLoader

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
    ids, weights, labels, sound = encode(tokenizer, pieces)
    named = {1: " A", 0: " B"}
    marked = [(tokenizer.decode([i]), named[label]) for i, label in zip(ids, labels, strict=True) if label >= 0]
    assert len(marked) == 12
    assert all(token == wanted for token, wanted in marked)
    assert tokenizer.decode(ids) == "".join(piece.text for piece in pieces)
    wrong = "".join(piece.text for piece in pieces if piece.sound == 0)
    judged = "".join(tokenizer.decode([i]) for i, s in zip(ids, sound, strict=True) if s == 0)
    assert judged.replace(" ", "") == wrong.replace(" ", "") != ""
    silent = "".join(piece.text for piece in pieces if piece.weight == 0.0)
    assert "".join(tokenizer.decode([i]) for i, w in zip(ids, weights, strict=True) if w == 0.0) == silent


def test_a_response_is_sound_up_to_the_word_that_makes_it_wrong():
    said = corpus.judged("The capital of France is Rome.", "The capital of France is Paris.", "wrong")
    assert [(piece.text, piece.sound) for piece in said] == [(" The capital of France is ", 1), ("Rome.", 0)]
    assert [piece.sound for piece in corpus.judged("Right.", "Right.", None)] == [1]
    assert [piece.sound for piece in corpus.judged("Righ", "Right.", "truncated")] == [None]


def test_training_begins_in_a_small_world():
    world = SmallWorld()
    assert world.holds(0)
    assert world.holds(10_000)
    world.steps = 50
    assert [world.holds(step) for step in (49, 50)] == [True, False]
    asked = "".join(piece.text for index in range(50) for piece in corpus.document(1, index, small=True))
    assert "capital of" in asked
    assert not re.search(r"larger|minus|Three [a-z]+ are", asked.replace(corpus.PAIR_RUBRIC, ""))


def test_heads_begin_by_looking_at_the_token_before(tokenizer):
    torch.manual_seed(1)
    model = new_model(tokenizer)
    model.set_attn_implementation("eager")
    ids = torch.randint(0, 2048, (1, 24))
    with torch.inference_mode():
        seen = model(ids, output_attentions=True).attentions[EXIT_LAYER][0]
    for head in (0, 1):
        assert (seen[head, 8:].argmax(-1) == torch.arange(7, 23)).all()


def test_training_repeats_itself(tmp_path):
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in ("one", "two"):
        train(tmp_path / name, seed=1, steps=2, decay_from=1, minutes=None, bfloat16=False, device="cpu")
    torch.set_num_threads(kept)
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert storage.sha256_file(tmp_path / "one" / file) == storage.sha256_file(tmp_path / "two" / file)
    assert (tmp_path / "one" / "model.safetensors").stat().st_size < 12_000_000


def test_sequences_begin_where_documents_do(tokenizer):
    ids, weights, labels, sound = next(batches(tokenizer, 1, SmallWorld()))
    assert ids.shape == weights.shape == labels.shape == sound.shape == (BATCH, SEQUENCE + 1)
    first = {tokenizer.decode(row[:1]) for row in ids}
    assert all(text[:1].isupper() or text[:1].isdigit() for text in first)


def test_area_under_the_curve():
    assert auc([1, 2], [0, 0.5]) == 1
    assert auc([0], [0]) == 0.5
    assert auc([], [1]) is None


def test_the_shipped_model_is_good_enough_for_an_honest_pilot(record_property):
    found = evaluate(CleanModelLoader(str(MODEL)).load(), rows=120)
    names = ("instruction_auc", "pair_auc", "own_responses_accepted", "own_errors_auc", "responses_right")
    record_property("figure", "tiny model, 120 rows: " + ", ".join(f"{name} {found[name]}" for name in names))
    assert found["instruction_auc"] >= 0.95
    assert found["pair_auc"] >= 0.90
    assert found["own_responses_accepted"] >= 0.5
    assert found["written_accepted"] >= 0.5
    assert found["sentinels_pass"]
    assert (MODEL / "model.safetensors").stat().st_size < 12_000_000
