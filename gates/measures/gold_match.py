"""How generated rows differ from the gold set: length, form, words, refusals, and meaning where the policy asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pytest_distill.gates.measures.refusals import refusal_class
from pytest_distill.measuring import embedding, two_sample
from pytest_distill.measuring.measure import declaration
from pytest_distill.measuring.two_sample import Effect

if TYPE_CHECKING:
    from pytest_distill.policy.model import Embedding

# Of an answer: whether it has this form. Case and punctuation of scripts that have none (such as Chinese) are no form.
_FORMS = {
    "list items": pl.col("a").str.contains(r"(?m)^\s*(?:[-*•]|\d{1,3}[.)])\s"),
    "code": pl.col("a").str.contains(r"`[^`\n]+`|(?m)^```|(?m)^(?:def|class|import|from|#include|function|const|let|var) "),
    "JSON": pl.col("a").str.contains(r"(?s)^\s*(?:\{.*\}|\[.*\])\s*$"),
    "closing punctuation": pl.col("a").str.contains(r"[.!?。！？…:;)\]}`\"”»]\s*$"),
    "several lines": pl.col("a").str.strip_chars().str.contains("\n"),
    "lower case throughout": pl.col("a").str.contains(r"\p{Ll}") & ~pl.col("a").str.contains(r"\p{Lu}"),
}


def effects(
    rows: pl.DataFrame, gold: pl.DataFrame, *, max_delta: float, max_difference: float, max_refusal_difference: float
) -> Iterator[tuple[str, Effect]]:
    """Each figure's name and how far the rows are from gold in it. Frames have `q` (asked) and `a` (answered), texts."""
    for name, column in (("length of answers", "a"), ("length of prompts", "q")):
        yield name, two_sample.dominance(_words(rows[column]), _words(gold[column]), max_delta)
    yield "words of the gold set", two_sample.dominance(*_familiar(rows, gold), max_delta)
    for name, form in _FORMS.items():
        here, there = (frame.select(form).to_series().to_numpy() for frame in (rows, gold))
        yield name, two_sample.difference(here, there, max_difference)
    refused = declaration(refusal_class).function
    here, there = ((refused(frame["a"]) == "full").to_numpy() for frame in (rows, gold))
    yield "refusals", two_sample.difference(here, there, max_refusal_difference)


def by_meaning(rows: pl.DataFrame, gold: pl.DataFrame, model: Embedding, max_delta: float) -> tuple[Effect, float]:
    """What a classifier on embeddings tells apart, and its permutation p. Raises E-EXTRA-MISSING without the extra [embed]."""
    place, dtype = embedding.folder_of(model), embedding.dtype_of(model)
    vectors = [
        embedding.embed(texts.sample(min(two_sample.MOST, len(texts)), seed=0).to_list(), place, dtype=dtype)
        for texts in (frame["q"] + "\n" + frame["a"] for frame in (rows, gold))
    ]
    return two_sample.classified(vectors[0].astype(np.float64), vectors[1].astype(np.float64), max_delta)


def _words(texts: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return texts.str.count_matches(r"\S+").cast(pl.Float64).to_numpy()


def _familiar(
    rows: pl.DataFrame, gold: pl.DataFrame
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Of each answer, the share of words that gold uses: a gold row is compared with the others, a row with all but one too."""
    found = [frame["a"].str.to_lowercase().str.extract_all(r"[\p{L}\p{N}']+").to_list() for frame in (rows, gold)]
    used: dict[str, set[int]] = {}
    for place, words in enumerate(found[1]):
        for word in words:
            used.setdefault(word, set()).add(place)

    def share(words: list[str], left_out: int) -> float:
        return sum(bool(used.get(word, set()) - {left_out}) for word in words) / len(words) if words else 0.0

    here = np.array([share(words, place % len(gold)) for place, words in enumerate(found[0])])
    return here, np.array([share(words, place) for place, words in enumerate(found[1])])
