"""Rows that are too short or too long to train on."""

import polars as pl

from pytest_distill import gate


@gate(
    "length.answer",
    rejects="length_out_of_bounds",
    limits={"min_answer_tokens": 0, "max_answer_tokens": 2048},
    applies={"kind": ["sft", "preference"]},
)
def test_answer_length(answer_tokens, quarantine, limits, answer_text):
    """Answers fit the training context."""
    quarantine(
        ~answer_tokens.is_between(limits.min_answer_tokens, limits.max_answer_tokens),
        found=tokens(answer_tokens),
        text=answer_text,
    )


@gate(
    "length.prompt", rejects="length_out_of_bounds", limits={"max_prompt_tokens": 8192}, applies={"kind": ["sft", "preference"]}
)
def test_prompt_length(prompt_tokens, quarantine, limits, prompt_text):
    """Prompts fit the training context."""
    quarantine(prompt_tokens > limits.max_prompt_tokens, found=tokens(prompt_tokens), text=prompt_text)


@gate(
    "length.document", rejects="length_out_of_bounds", limits={"min_words": 50, "max_words": 100_000}, applies={"kind": ["text"]}
)
def test_document_length(answer_words, quarantine, limits, answer_text):
    """Documents have 50 to 100,000 words."""
    quarantine(
        ~answer_words.is_between(limits.min_words, limits.max_words),
        found=answer_words.cast(pl.String) + " words",
        text=answer_text,
    )


@gate("length.median-answer", limits={"max_median_answer_tokens": 1024}, applies={"kind": ["sft", "preference"]})
def test_median_answer_length(answer_tokens, require, limits):
    """The median answer stays within its bound; recipes for short answers set it lower."""
    require("median answer tokens", answer_tokens.median(), below=limits.max_median_answer_tokens, unit="tokens")


def tokens(counts: pl.Series) -> pl.Series:
    """A count as the note of an example."""
    return counts.cast(pl.String) + " tokens"
