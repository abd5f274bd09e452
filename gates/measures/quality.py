"""The cheap statistics of a text: its size, its symbols, its lines, and how much of it repeats itself.

Definitions are those of Gopher (Rae et al. 2021, appendix A), C4 and FineWeb as datatrove computes them, so that limits from
those papers mean here what they mean there. Words are what `str.split()` cuts.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pytest_distill import measure

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


@measure(version=1)
def quality(answer_text: pl.Series) -> pl.Series:
    """One struct of figures per answer; shares and ratios are 0 where there is nothing to share.

    words, chars (code points), mean_word_length (of words that are not all punctuation), alpha_share (of words with a letter),
    stop_words (how many of Gopher's eight occur), hash_ratio and ellipsis_ratio (# and … or ... per word), hashtag_ratio (words
    like #tag per word: headings, comments and #include are none), symbol_share (of the characters that are no whitespace, those
    that are no letter, digit or mark); lines, bullet_share, ellipsis_share, feed_ratio (line feeds per word), terminal_share and
    short_share (of lines that are not blank, those that end a sentence, and those of up to 30 characters);
    duplicate_lines, duplicate_line_chars, duplicate_paragraphs, duplicate_paragraph_chars: as datatrove's; repeated_lines,
    repeated_chars: of lines that are not blank; top_2 to top_4, duplicate_5 to duplicate_10: characters in the most frequent
    n-gram and in repeated n-grams. All are shares of the whole;
    loop: words in the longest stretch where a phrase of up to 16 words comes four times or more in a row.
    """
    from pytest_distill.measuring.kernels import repetition, text
    from pytest_distill.measuring.kernels.buffers import flat

    texts = flat(answer_text)
    counted, repeated = [np.empty((0, len(text.FIGURES)), np.int64)], [np.empty((0, len(repetition.FIGURES)), np.int64)]
    for _, block in texts.blocks():
        counts, hashes, lengths, bounds = text.statistics(block, STOP_WORDS)
        counted.append(counts)
        repeated.append(repetition.repetition(hashes, lengths, bounds))
    count = dict(zip(text.FIGURES, np.concatenate(counted).T, strict=True))
    repeat = dict(zip(repetition.FIGURES, np.concatenate(repeated).T, strict=True))
    chars = count["chars"]
    figures = {
        "words": count["words"],
        "chars": chars,
        "mean_word_length": _share(count["plain_word_chars"], count["plain_words"]),
        "alpha_share": _share(count["alpha_words"], count["words"]),
        "stop_words": count["stop_words"],
        "hash_ratio": _share(count["hashes"], count["words"]),
        "ellipsis_ratio": _share(count["ellipses"], count["words"]),
        "hashtag_ratio": _share(count["hashtags"], count["words"]),
        "symbol_share": _share(count["symbols"], count["solid_chars"]),
        "lines": count["lines"],
        "bullet_share": _share(count["bullet_lines"], count["lines"]),
        "ellipsis_share": _share(count["ellipsis_lines"], count["lines"]),
        "feed_ratio": _share(count["feeds"], count["words"]),
        "terminal_share": _share(count["terminal_lines"], count["solid_lines"]),
        "short_share": _share(count["short_lines"], count["solid_lines"]),
        "duplicate_lines": _share(count["duplicate_lines"], count["feed_lines"]),
        "duplicate_line_chars": _share(count["duplicate_line_chars"], chars),
        "duplicate_paragraphs": _share(count["duplicate_paragraphs"], count["paragraphs"]),
        "duplicate_paragraph_chars": _share(count["duplicate_paragraph_chars"], chars),
        "repeated_lines": _share(count["duplicate_solid_lines"], count["solid_lines"]),
        "repeated_chars": _share(count["duplicate_solid_chars"], chars - count["feeds"]),
        **{name: _share(repeat[name], chars) for name in repetition.FIGURES if name != "loop"},
        "loop": repeat["loop"],
        "plain_words": count["plain_words"],
    }
    return pl.DataFrame(figures).to_struct("quality")


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def repeated_piece(text: str) -> str | None:
    """What a text repeats most: its most frequent line of some length, else its most frequent phrase of up to five words."""
    lines = Counter(line.strip() for line in text.split("\n") if len(line.strip()) > 10).most_common(1)
    if lines and lines[0][1] > 1:
        return lines[0][0][:200]
    words = text.split()
    for size in (5, 3, 1):
        phrases = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1)).most_common(1)
        if phrases and phrases[0][1] > 1:
            return " ".join(phrases[0][0])[:200]
    return None
