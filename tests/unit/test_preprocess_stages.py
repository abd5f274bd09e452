"""What preprocessing does to one document, and to documents that are alike."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocess_runs import prose

from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.kernels import minhash
from pytest_distill.measuring.kernels.buffers import flat
from pytest_distill.pipelines.preprocess import config, diagnostics, language, perplexity
from pytest_distill.pipelines.preprocess.clean import normalised

SALT = minhash.salts(128, np.random.default_rng(0))


# -- normalising


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",))), max_size=5))
@settings(max_examples=200, deadline=None)
def test_what_is_normalised_stays_as_it_is(texts: list[str]) -> None:
    once = normalised(pl.Series(texts, dtype=pl.String))
    assert normalised(once).to_list() == once.to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\ufeffone\x00 two\x1b", "one two"),
        ("a  \t\nb", "a\nb"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("\n\n    indented code\n", "    indented code"),
        ("cafe\u0301", "caf\u00e9"),
        ("tab\there", "tab\there"),
        ("पानी और 水", "पानी और 水"),
    ],
)
def test_normalising_mends_how_a_text_was_stored_and_not_what_it_says(text: str, expected: str) -> None:
    assert normalised(pl.Series([text])).item() == expected


# -- near duplicates


def shingles(text: str, size: int = 13) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


def similarity(a: str, b: str, size: int = 13) -> float:
    left, right = shingles(a, size), shingles(b, size)
    return len(left & right) / len(left | right) if left | right else 0.0


def exact_greedy(texts: Sequence[str], order: Sequence[int], threshold: float, size: int = 13) -> set[int]:
    """Who is dropped when every pair is compared: the reference."""
    kept: list[int] = []
    out = set()
    for at in order:
        if any(shingles(texts[at], size) and similarity(texts[at], texts[other], size) >= threshold for other in kept):
            out.add(at)
        else:
            kept.append(at)
    return out


def found(texts: Sequence[str], threshold: float = 0.82, size: int = 13) -> minhash.Found:
    column = flat(pl.Series(texts, dtype=pl.String))
    signatures, counts = minhash.sign(column, size, SALT)
    return minhash.near_duplicates(column, np.arange(len(texts)), signatures, counts, size=size, threshold=threshold)


def edited(text: str, changes: int, rng: random.Random) -> str:
    words = text.split()
    for _ in range(changes):
        words[rng.randrange(len(words))] = rng.choice(("lantern", "harbour", "violet", "thunder", "copper"))
    return " ".join(words)


def family(seed: int) -> list[str]:
    """Texts and edited copies of them, from nearly the same to hardly alike."""
    rng = random.Random(seed)
    originals = [prose(rng.randrange(10**9), rng.randint(20, 120)) for _ in range(40)]
    return originals + [edited(rng.choice(originals), rng.randint(0, 8), rng) for _ in range(80)]


def test_every_similarity_that_is_told_is_the_true_one() -> None:
    texts = family(1)
    of, jaccard = found(texts)
    assert (of >= 0).sum() > 20
    for at, other in enumerate(of.tolist()):
        if other >= 0:
            assert jaccard[at] == pytest.approx(similarity(texts[at], texts[other]))
            assert jaccard[at] >= 0.82


def test_precision_and_recall_against_comparing_every_pair() -> None:
    right = wrong = missed = 0
    for seed in range(3):
        texts = family(seed)
        expected, got = exact_greedy(texts, range(len(texts)), 0.82), set(np.flatnonzero(found(texts).of >= 0).tolist())
        right, wrong, missed = right + len(expected & got), wrong + len(got - expected), missed + len(expected - got)
    assert right > 75
    assert right / (right + wrong) >= 0.99
    assert right / (right + missed) >= 0.95


def test_estimates_are_as_good_as_those_of_datasketch() -> None:
    datasketch = pytest.importorskip("datasketch")
    texts = family(7)
    signatures, _ = minhash.sign(flat(pl.Series(texts)), 13, SALT)
    theirs = []
    for text in texts:
        one = datasketch.MinHash(num_perm=128)
        one.update_batch([shingle.encode() for shingle in shingles(text)])
        theirs.append(one)
    pairs = [(a, b) for a in range(40, 120) for b in range(40) if similarity(texts[a], texts[b]) > 0.1]
    true = np.array([similarity(texts[a], texts[b]) for a, b in pairs])
    ours = np.array([(signatures[a] == signatures[b]).mean() for a, b in pairs])
    peer = np.array([theirs[a].jaccard(theirs[b]) for a, b in pairs])
    assert len(pairs) > 50
    assert np.sqrt(((ours - true) ** 2).mean()) <= 1.3 * np.sqrt(((peer - true) ** 2).mean())
    assert abs((ours - true).mean()) < 0.02


@given(st.lists(st.text(st.sampled_from("aäb水 🙂"), max_size=12), max_size=8))
@settings(max_examples=60, deadline=None)
def test_texts_shorter_than_a_shingle_are_like_nothing(texts: list[str]) -> None:
    assert (found(texts).of == -1).all()


def test_short_texts_are_not_merged_for_being_short() -> None:
    texts = ["The answer is 4.", "The answer is 7.", "Paris is the capital", "Paris was a capital", "yes", "no", ""]
    assert (found(texts).of == -1).all()


@given(st.lists(st.text(st.sampled_from("abc水é🙂"), max_size=30), max_size=12), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_every_merge_is_one_that_the_sets_bear_out(texts: list[str], size: int) -> None:
    of, jaccard = found(texts, threshold=0.5, size=size)
    for at, other in enumerate(of.tolist()):
        if other >= 0:
            assert jaccard[at] == pytest.approx(similarity(texts[at], texts[other], size))
            assert jaccard[at] >= 0.5
            assert of[other] == -1


# -- language


def test_a_long_text_is_known_by_a_sample_of_it_and_an_unsure_sample_is_not_enough() -> None:
    english = prose(3, 300)
    german = "Der alte Lehrer erklärte den Kindern am Morgen, warum der Fluss im Winter so langsam durch das Dorf fließt. " * 12
    guesses = language.identify([english, german, german[: len(german) // 2] + english, "", "4"], ["en"])
    assert [guess.code for guess in guesses[:2]] == ["en", "de"]
    assert guesses[0].allowed >= 0.65
    assert guesses[1].allowed < 0.1
    assert guesses[2].allowed < 0.9  # half of it is German, although it ends in English


def test_a_text_without_letters_has_no_language_to_be_told() -> None:
    counts = language.letters(pl.Series(["", "12 + 4 = 16", "Hola", "今日は"]))
    assert counts.to_list() == [0, 0, 4, 9]


# -- diagnostics


def test_the_shares_of_a_text() -> None:
    loop = " ".join(["all work and no play makes jack a dull boy indeed"] * 12)
    figures = diagnostics.cheap(pl.Series([prose(1), loop, "!!! ??? ### $$$ word", "a\ue000\u0000\U0001f600b", ""]))
    assert figures.repetition[0] == 0
    assert figures.repetition[1] > 0.7
    assert figures.symbols[3 - 1] == pytest.approx(12 / 16)
    assert figures.special_characters[3] == pytest.approx(3 / 5)
    assert [column[4] for column in figures] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "write to anna.meyer@firma-mail.de today",
        "call me on 0490 75 40 81",
        "Phone: 450 0840",
        "(212) 736-5000",
        "+44 20 7946 0958",
        "card 4556 7375 8689 9855",
        "SSN 536-90-4399",
        "GB29 NWBK 6016 1331 9268 19",
        "host 93.184.216.34",
    ],
)
def test_shapes_of_personal_data_are_counted(text: str) -> None:
    assert diagnostics.personal_data(pl.Series([text])).item() >= 1


@pytest.mark.parametrize(
    "text", ["It was 1999 or 2001.", "version 1.2.3", "3.14159265358979", "x = 10 - 20 - 3", "see page 12, line 7", "10000000"]
)
def test_numbers_that_are_nobodys_are_not(text: str) -> None:
    assert diagnostics.personal_data(pl.Series([text])).item() == 0


def test_what_is_no_language_surprises_a_model_of_the_corpus() -> None:
    rng = random.Random(5)
    texts = [prose(seed) for seed in range(60)]
    odd = ["".join(rng.sample(text, len(text))) for text in texts[:5]]
    column = flat(pl.Series(texts + odd))
    every = np.arange(len(texts) + len(odd))
    model = perplexity.train(column, every[:60:2])
    nats = perplexity.surprise(column, every, model)
    scores = perplexity.within_domains(nats, ["prose"] * len(every))
    assert np.isfinite(nats).all()
    assert nats[60:].min() > 1.5 * nats[:60].max()
    assert scores[60:].min() > 2
    assert (perplexity.surprise(column, every, model, threads=3) == nats).all()


def test_scores_are_of_a_domain_and_a_small_domain_is_compared_with_all() -> None:
    figures = np.concatenate([np.linspace(1, 2, 50), np.linspace(5, 6, 50), [5.5]])
    scores = perplexity.within_domains(figures, ["a"] * 50 + ["b"] * 50 + ["c"])
    assert abs(scores[:50].mean()) < 1e-9
    assert abs(scores[50:100].mean()) < 1e-9
    assert scores[100] == pytest.approx((5.5 - figures.mean()) / figures.std())


# -- settings


def test_silent_settings_are_the_contracts(tmp_path) -> None:
    (tmp_path / "empty.toml").write_bytes(b"")
    chosen = config.load(tmp_path / "empty.toml", languages=("en", "de"))
    assert chosen.words == (50, 100_000)
    assert chosen.allowed == ("en", "de")
    assert (chosen.language.min_confidence, chosen.duplicates.similarity, chosen.duplicates.shingle) == (0.65, 0.82, 13)
    assert chosen.duplicates.permutations == 128
    assert (chosen.diagnostics.repetition.max, chosen.diagnostics.symbols.max) == (0.20, 0.30)
    assert not any(getattr(chosen.diagnostics, name).promote for name in config.REASONS)
    assert config.load(None, languages=("en",), kind="sft").words[0] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("min_word = 3", "min_word"),
        ("[duplicates]\nsimilarity = 0", "duplicates.similarity"),
        ("[length]\nmin_words = 10\nmax_words = 9", "at least 10 and at most 9"),
        ("[diagnostics.toxicity]\npromote = true", "toxicity is promoted and has no model"),
        ("language = 3", "language"),
        ("[duplicates]\noff = true", "duplicates.off"),
        ("= 3", "is no TOML"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, text: str, said: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(DistillError, match=said) as caught:
        config.load(tmp_path / "settings.toml", languages=("en",))
    assert caught.value.code is Code.POLICY


def test_the_settings_that_the_docs_show_are_the_defaults_and_all_of_them(tmp_path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "preprocess.md").read_text()
    shown = next(block for block in re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if "unit_rows" in block)
    (tmp_path / "shown.toml").write_text(shown)
    assert config.load(tmp_path / "shown.toml", languages=("en",)) == config.load(None, languages=("en",))
    named = re.findall(r"^(?:# )?(\w+) = ", shown, re.MULTILINE)
    tables = [config.Config, config.Languages, config.Length, config.Duplicates, config.Perplexity, config.Toxicity]
    known = {
        name for table in tables for name, field in table.model_fields.items() if not str(field.annotation).startswith("<class")
    }
    assert known - {"split", "mapping"} <= set(named), "the page does not show these"
