"""House style of this data set."""

import polars as pl

from pytest_distill import gate, measure


@measure(version=1)
def ends_with_exclamation(answer_text: pl.Series) -> pl.Series:
    """Whether an answer ends with an exclamation mark."""
    return answer_text.str.strip_chars_end().str.ends_with("!")


@gate("answers.end-well", rejects="exclamation")
def test_answers_end_well(ends_with_exclamation, answer_text, quarantine):
    """No answer ends with an exclamation mark."""
    quarantine(ends_with_exclamation, text=answer_text)
