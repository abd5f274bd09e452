"""Answers that are symbols rather than language."""

from pytest_distill import gate
from pytest_distill.measuring.candidates import first_match


@gate(
    "quality.symbols",
    rejects="symbols",
    applies={"kind": ["sft", "preference", "rag", "text"]},
    limits={
        # Share of characters that are neither letter, digit, mark nor whitespace. Prose has 0.03, dense code up to 0.45.
        "max_symbol_share": 0.50,
        "min_chars": 50,
        # Gopher's symbol-to-word ratios, from Gopher's least length on. Only #tags count: headings and comments are no symbols.
        "max_hashtag_ratio": 0.10,
        "max_ellipsis_ratio": 0.10,
        "min_words": 50,
    },
)
def test_symbols(quality, quarantine, limits, answer_text):
    """Answers are made of words, not of symbols."""
    figure = quality.struct.field
    tags = (figure("hashtag_ratio") > limits.max_hashtag_ratio) | (figure("ellipsis_ratio") > limits.max_ellipsis_ratio)
    symbols = (figure("symbol_share") > limits.max_symbol_share) & (figure("chars") >= limits.min_chars)
    mask = symbols | (tags & (figure("words") >= limits.min_words))
    quarantine(mask, found=first_match(answer_text, r"#\w+|…|\.{3,}|[^\p{L}\p{N}\s]{3,}"), text=answer_text)
