"""Answers that repeat themselves."""

from typing import Any

import polars as pl

from pytest_distill import gate
from pytest_distill.gates.measures.quality import repeated_piece
from pytest_distill.measuring.candidates import examined


@gate(
    "quality.repetition",
    rejects="repetition",
    applies={"kind": ["sft", "preference", "rag", "text"]},
    limits={
        # Gopher, table A1. Made for long documents: in a short answer one frequent phrase is over the bound (of GSM8K's worked
        # solutions, 355 of the 3,435 with 50 words or more would be), so from 100 words on.
        "min_words": 100,
        "max_repeated_lines": 0.30,
        "max_duplicate_paragraphs": 0.30,
        "max_duplicate_line_chars": 0.20,
        "max_duplicate_paragraph_chars": 0.20,
        "max_top_2": 0.20,
        "max_top_3": 0.18,
        "max_top_4": 0.16,
        "max_duplicate_5": 0.15,
        "max_duplicate_6": 0.14,
        "max_duplicate_7": 0.13,
        "max_duplicate_8": 0.12,
        "max_duplicate_9": 0.11,
        "max_duplicate_10": 0.10,
        # Ours, for any length: a phrase that comes four times or more in a row ...
        "min_loop_words": 12,
        "max_loop_share": 0.50,
        # ... and nearly half of a short text in repeated 5-grams, as when everything is said three times.
        "min_words_short": 20,
        "max_duplicate_5_short": 0.45,
    },
)
def test_repetition(quality, quarantine, limits, answer_text):
    """Answers do not repeat themselves."""
    figure = quality.struct.field
    bounds = {
        name: getattr(limits, f"max_{name}")
        for name in (
            "repeated_lines", "duplicate_paragraphs", "duplicate_line_chars", "duplicate_paragraph_chars",
            "top_2", "top_3", "top_4", "duplicate_5", "duplicate_6", "duplicate_7", "duplicate_8", "duplicate_9", "duplicate_10",
        )
    }  # fmt: skip
    over = [figure(name) > bound for name, bound in bounds.items()]
    words, loop = figure("words"), figure("loop")
    gopher = pl.select(pl.any_horizontal(*over)).to_series() & (words >= limits.min_words)
    looping = (loop >= limits.min_loop_words) & (loop > limits.max_loop_share * words)
    thrice = (words >= limits.min_words_short) & (figure("duplicate_5") > limits.max_duplicate_5_short)
    mask = gopher | looping | thrice
    why = _exceeded(quality, mask, bounds, limits)
    quarantine(mask, found=examined(repeated_piece, mask, answer_text), text=answer_text, why=why)


def _exceeded(quality: pl.Series, mask: pl.Series, bounds: dict[str, float], limits: Any) -> pl.Series:
    """The first limit that each rejected row is over, with its figure; none is worked out for rows that stay."""
    rows, long = mask.arg_true(), pl.col("words") >= limits.min_words
    told = [
        pl.when(long & (pl.col(name) > bound)).then(pl.format(f"max_{name} = {bound}, here {{}}", pl.col(name).round(3)))
        for name, bound in bounds.items()
    ]
    looping = (pl.col("loop") >= limits.min_loop_words) & (pl.col("loop") > limits.max_loop_share * pl.col("words"))
    short = pl.when(looping).then(pl.lit("max_loop_share")).otherwise(pl.lit("max_duplicate_5_short"))
    found = quality.gather(rows).struct.unnest().select(pl.coalesce(*told, short)).to_series()
    return pl.repeat(None, len(mask), dtype=pl.String, eager=True).scatter(rows, found)
