"""Kernels that read characters: words and tokens as 64-bit hashes, and what can be counted in a text.

No compiled function calls one of another file, so every kernel that decodes UTF-8 is here: numba's disk cache notices
changes of a function's own file only, and would go on using an old helper.

Hashes are FNV-1a over the bytes, finished by a mixer: good against chance. Two different words of one text with the same
hash are a matter of 1 in 10**13, and the worst that follows is one row too many in quarantine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from pytest_distill.measuring.kernels import unicode
from pytest_distill.measuring.kernels.buffers import Flat, flat

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Bounds = NDArray[np.int64]
Lengths = NDArray[np.int32]
Figures = NDArray[np.int64]

# Flags of unicode.py, in its order, as the type the table has.
SPACE, ALPHA, ALNUM, WORD, SOLO, BREAK, PUNCTUATION, TERMINAL = (np.uint8(1 << bit) for bit in range(8))
BASIS, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
MIX_A, MIX_B = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
SHIFT = np.uint64(33)
BEYOND = np.uint8(255)
ONE = np.uint64(1)  # the lowest bit of a token's hash: set for numbers, clear for words

MARKS = PUNCTUATION | TERMINAL

# Columns of what `statistics` counts.
FIGURES = (
    "words", "plain_words", "plain_word_chars", "alpha_words", "stop_words", "chars", "solid_chars", "symbols", "hashes",
    "hashtags", "ellipses", "lines", "bullet_lines", "ellipsis_lines", "feeds", "feed_lines", "duplicate_lines",
    "duplicate_line_chars", "solid_lines", "duplicate_solid_lines", "duplicate_solid_chars", "terminal_lines", "short_lines",
    "paragraphs", "duplicate_paragraphs", "duplicate_paragraph_chars",
)  # fmt: skip
(
    WORDS, PLAIN_WORDS, PLAIN_WORD_CHARS, ALPHA_WORDS, STOP_WORDS, CHARS, SOLID_CHARS, SYMBOLS, HASHES,
    HASHTAGS, ELLIPSES, LINES, BULLET_LINES, ELLIPSIS_LINES, FEEDS, FEED_LINES, DUPLICATE_LINES,
    DUPLICATE_LINE_CHARS, SOLID_LINES, DUPLICATE_SOLID_LINES, DUPLICATE_SOLID_CHARS, TERMINAL_LINES, SHORT_LINES, PARAGRAPHS,
    DUPLICATE_PARAGRAPHS, DUPLICATE_PARAGRAPH_CHARS,
) = range(len(FIGURES))  # fmt: skip


@njit(nogil=True, cache=True)
def _decode(data: Bytes, at: int) -> tuple[np.int64, int]:
    """Code point and width of the character at `at`; Arrow guarantees valid UTF-8."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return ((lead & 0x1F) << 6) | (np.int64(data[at + 1]) & 0x3F), 2
    if lead < 0xF0:
        return ((lead & 0x0F) << 12) | ((np.int64(data[at + 1]) & 0x3F) << 6) | (np.int64(data[at + 2]) & 0x3F), 3
    high = ((lead & 0x07) << 18) | ((np.int64(data[at + 1]) & 0x3F) << 12)
    return high | ((np.int64(data[at + 2]) & 0x3F) << 6) | (np.int64(data[at + 3]) & 0x3F), 4


@njit(nogil=True, cache=True)
def _extend(value: np.uint64, data: Bytes, at: int, width: int) -> np.uint64:
    for byte in range(at, at + width):
        value = (value ^ np.uint64(data[byte])) * PRIME
    return value


@njit(nogil=True, cache=True)
def _finish(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> SHIFT)) * MIX_A
    value = (value ^ (value >> SHIFT)) * MIX_B
    return value ^ (value >> SHIFT)


@njit(nogil=True, cache=True)
def _words(data: Bytes, offsets: Bounds, table: Bytes, hashes: Hashes, bounds: Bounds) -> None:
    count = 0
    for row in range(len(offsets) - 1):
        bounds[row] = count
        at, end = offsets[row], offsets[row + 1]
        inside = False
        value = BASIS
        while at < end:
            point, width = _decode(data, at)
            flags = table[point]
            if flags & (SPACE | SOLO):
                if inside:
                    hashes[count] = _finish(value)
                    count += 1
                    inside = False
                value = BASIS
                if flags & SOLO:
                    hashes[count] = _finish(_extend(BASIS, data, at, width))
                    count += 1
            else:
                inside = True
                value = _extend(value, data, at, width)
            at += width
        if inside:
            hashes[count] = _finish(value)
            count += 1
    bounds[len(offsets) - 1] = count


@njit(nogil=True, cache=True)
def _tokens(
    data: Bytes, offsets: Bounds, table: Bytes, quick: Bytes, hashes: Hashes, starts: Bounds, ends: Bounds, bounds: Bounds
) -> None:
    """`quick` says of a byte what most texts are made of: 0 no word, BEYOND not ASCII, else the digit or lower-case letter."""
    count = 0
    for row in range(len(offsets) - 1):
        bounds[row] = count
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            byte = quick[data[at]]
            if byte == 0:
                at += 1
                continue
            starts[count] = at
            value = BASIS
            if 0x30 <= byte <= 0x39:  # a number: digits, with separators only between digits
                while at < end:
                    byte = data[at]
                    inside = (byte == 0x2C or byte == 0x2E) and at + 1 < end and 0x30 <= data[at + 1] <= 0x39
                    if not inside and not 0x30 <= byte <= 0x39:
                        break
                    if byte != 0x2C:  # 1,000 is 1000
                        value = (value ^ np.uint64(byte)) * PRIME
                    at += 1
                hashes[count] = _finish(value) | ONE
            else:
                while at < end:
                    byte = quick[data[at]]
                    if byte >= 0x61 and byte != BEYOND:
                        value = (value ^ np.uint64(byte)) * PRIME
                        at += 1
                        continue
                    if byte != BEYOND:
                        break
                    point, width = _decode(data, at)
                    flags = table[point]
                    alone = flags & SOLO != 0
                    if not flags & WORD or (alone and at > starts[count]):
                        break
                    value = _extend(value, data, at, width)
                    at += width
                    if alone:
                        break
                if at == starts[count]:  # a character beyond ASCII that belongs to no word
                    at += width
                    continue
                hashes[count] = _finish(value) & ~ONE
            ends[count] = at
            count += 1
    bounds[len(offsets) - 1] = count


@njit(nogil=True, cache=True)
def _add(seen: Hashes, stamps: Bounds, stamp: int, value: np.uint64) -> bool:
    """Puts a value into the row's hash set (a slot counts when it bears the row's stamp). True when it was there already."""
    mask = np.uint64(len(seen) - 1)
    slot = value & mask
    while stamps[slot] == stamp:
        if seen[slot] == value:
            return True
        slot = (slot + np.uint64(1)) & mask
    seen[slot] = value
    stamps[slot] = stamp
    return False


@njit(nogil=True, cache=True)
def _word_figures(
    data: Bytes, at: int, end: int, table: Bytes, stops: Hashes, out: Bounds, hashes: Hashes, lengths: Lengths
) -> int:
    """Words and characters. Writes the words from the front of `hashes` and `lengths`; returns how many."""
    count, length, stop_words, dots = 0, 0, 0, 0
    value, plain, letters, tag = BASIS, False, False, False
    chars, solid, symbols, hash_marks, ellipses = -1, 0, 0, 0, 0  # -1: the end is no character
    while at <= end:
        point, width = _decode(data, at) if at < end else (np.int64(0x20), 1)  # the end of the text ends a word
        flags = table[point]
        dots = dots + 1 if point == 0x2E else 0
        if flags & SPACE:
            if length:
                value = _finish(value)
                hashes[count], lengths[count] = value, length
                count += 1
                out[PLAIN_WORDS] += plain
                out[PLAIN_WORD_CHARS] += length * plain
                out[ALPHA_WORDS] += letters
                for stop in range(len(stops)):
                    if stops[stop] == value:
                        stop_words |= 1 << stop
                value, length, plain, letters, tag = BASIS, 0, False, False, False
        else:
            value = _extend(value, data, at, width)
            plain |= flags & MARKS == 0
            letters |= flags & ALPHA != 0
            out[HASHTAGS] += tag and flags & ALNUM != 0
            tag = length == 0 and point == 0x23
            length += 1
            solid += 1
            symbols += flags & WORD == 0
            hash_marks += point == 0x23
            ellipses += point == 0x2026 or (dots > 0 and dots % 3 == 0)
        chars += 1
        at += width
    out[WORDS], out[CHARS], out[SOLID_CHARS], out[SYMBOLS] = count, chars, solid, symbols
    out[HASHES], out[ELLIPSES] = hash_marks, ellipses
    while stop_words:
        out[STOP_WORDS] += stop_words & 1
        stop_words >>= 1
    return count


@njit(nogil=True, cache=True)
def _line_figures(data: Bytes, at: int, end: int, table: Bytes, out: Bounds) -> None:
    """Lines as str.splitlines cuts them: which begin with a bullet, which end with an ellipsis."""
    first = previous = np.int64(0)
    dots, ellipsis, gap, empty = 0, False, False, True
    while at <= end:
        point, width = _decode(data, at) if at < end else (np.int64(-1), 1)
        if point < 0 or table[point] & BREAK:
            if (point >= 0 or not empty) and not (point == 0x0A and previous == 0x0D):
                out[LINES] += 1
                out[BULLET_LINES] += first == 0x2022 or first == 0x2D
                out[ELLIPSIS_LINES] += dots >= 3 or ellipsis
            first, dots, ellipsis, gap, empty = np.int64(0), 0, False, False, True
        else:
            empty = False
            if table[point] & SPACE:
                gap = True
            else:
                first = point if first == 0 else first
                dots = (0 if gap else dots) + 1 if point == 0x2E else 0
                ellipsis, gap = point == 0x2026, False
        previous = point
        at += width


@njit(nogil=True, cache=True)
def _feed_figures(
    data: Bytes, at: int, end: int, table: Bytes, out: Bounds, seen: Hashes, stamps: Bounds, stamp: int
) -> tuple[int, int]:
    """Lines between line feeds: which repeat, and how those end that are not blank. Returns where the stripped text lies."""
    begin, first, last = at, end, end
    value, chars, blank, terminal = BASIS, 0, True, False
    while at <= end:
        point, width = _decode(data, at) if at < end else (np.int64(-1), 1)
        if point == 0x0A or point < 0:
            at_edge = point < 0 or at == begin
            if chars or at_edge:  # re.split leaves an empty line at the ends only
                out[FEED_LINES] += 1
                if _add(seen, stamps, stamp, value):
                    out[DUPLICATE_LINES] += 1
                    out[DUPLICATE_LINE_CHARS] += chars
                    out[DUPLICATE_SOLID_LINES] += not blank
                    out[DUPLICATE_SOLID_CHARS] += chars * (not blank)
            if not blank:
                out[SOLID_LINES] += 1
                out[TERMINAL_LINES] += terminal
                out[SHORT_LINES] += chars <= 30
            out[FEEDS] += point == 0x0A
            value, chars, blank, terminal = BASIS, 0, True, False
        else:
            value = _extend(value, data, at, width)
            chars += 1
            terminal = table[point] & TERMINAL != 0
            if not table[point] & SPACE:
                blank = False
                first = at if first == end else first
                last = at + width
        at += width
    return first, last


@njit(nogil=True, cache=True)
def _paragraph_figures(data: Bytes, at: int, end: int, out: Bounds, seen: Hashes, stamps: Bounds, stamp: int) -> None:
    """Paragraphs of the stripped text, between two line feeds or more."""
    value, chars, feeds = BASIS, 0, 0
    while at <= end:
        if at < end and data[at] == 0x0A:
            feeds += 1
        else:
            if feeds >= 2 or at == end:
                out[PARAGRAPHS] += 1
                if _add(seen, stamps, stamp, value):
                    out[DUPLICATE_PARAGRAPHS] += 1
                    out[DUPLICATE_PARAGRAPH_CHARS] += chars
                value, chars = BASIS, 0
            elif feeds == 1:
                value, chars = (value ^ np.uint64(0x0A)) * PRIME, chars + 1
            feeds = 0
            if at < end:
                value = _extend(value, data, at, 1)
                chars += data[at] & 0xC0 != 0x80
        at += 1


@njit(nogil=True, cache=True)
def _figures(
    data: Bytes, offsets: Bounds, table: Bytes, stops: Hashes, seen: Hashes, stamps: Bounds, figures: Figures, hashes: Hashes,
    lengths: Lengths, bounds: Bounds,
) -> None:  # fmt: skip
    count = 0
    for row in range(len(offsets) - 1):
        bounds[row] = count
        at, end, out = offsets[row], offsets[row + 1], figures[row]
        count += _word_figures(data, at, end, table, stops, out, hashes[count:], lengths[count:])
        _line_figures(data, at, end, table, out)
        first, last = _feed_figures(data, at, end, table, out, seen, stamps, 2 * row + 1)
        _paragraph_figures(data, first, last, out, seen, stamps, 2 * row + 2)
    bounds[len(offsets) - 1] = count


def words(texts: Flat) -> tuple[Hashes, Bounds]:
    """Hashes of all words, and where each row's begin: row i has `hashes[bounds[i] : bounds[i + 1]]`.

    A word is a run of characters that are no whitespace (as `str.split()` cuts); in scripts that write no spaces every
    character is a word, so that Chinese or Thai texts have n-grams too.
    """
    hashes = np.empty((texts.bytes + len(texts)) // 2 + 1, np.uint64)
    bounds = np.empty(len(texts) + 1, np.int64)
    _words(texts.data, texts.offsets, unicode.classes(), hashes, bounds)
    return hashes[: bounds[-1]], bounds


def tokens(texts: Flat) -> tuple[Hashes, Bounds, Bounds, Bounds]:
    """Hashes of all tokens, byte positions where each starts and ends in `texts.data`, and where each row's begin.

    A token is a run of letters, or one number; punctuation separates and is not kept. The lowest bit of a hash says number. Case
    makes no difference in ASCII; other letters have to be folded before (`folding.folded_beyond_ascii`).
    """
    room = texts.bytes + 1
    hashes, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    bounds = np.empty(len(texts) + 1, np.int64)
    _tokens(texts.data, texts.offsets, unicode.classes(), unicode.quick(), hashes, starts, ends, bounds)
    count = bounds[-1]
    return hashes[:count], starts[:count], ends[:count], bounds


def statistics(texts: Flat, stop_words: Sequence[str]) -> tuple[Figures, Hashes, Lengths, Bounds]:
    """Counts of each text (columns as in FIGURES), and its words: hash, characters, and where each row's begin.

    words            runs of characters that are no whitespace, exactly as `str.split()` cuts; the hashes are of these
    plain_words      words with any character that is no punctuation; plain_word_chars: their characters
    stop_words       how many different ones of `stop_words` (at most 4 characters each) occur
    symbols          characters that are neither letters, digits, marks (as Hindi and Thai write vowels) nor whitespace;
                     solid_chars: all but whitespace
    hashtags         words that begin with # and a letter or digit; hashes: all #; ellipses: "…" and "..."
    lines            as `str.splitlines()` cuts; feed_lines: as `re.split("\\n+", text)` does; solid_lines: between line feeds,
                     not blank; duplicate_*: lines or paragraphs seen before in the text, and the characters in them
    """
    feeds = np.flatnonzero(texts.data[texts.offsets[0] : texts.offsets[-1]] == 0x0A) + texts.offsets[0]
    most = int(np.diff(np.searchsorted(feeds, texts.offsets)).max(initial=0))
    room = 1 << (4 * most + 8).bit_length()
    figures = np.zeros((len(texts), len(FIGURES)), np.int64)
    most_words = (texts.bytes + len(texts)) // 2 + 1
    hashes, lengths = np.empty(most_words, np.uint64), np.empty(most_words, np.int32)
    bounds = np.empty(len(texts) + 1, np.int64)
    stops = words(flat(pl.Series(stop_words, dtype=pl.String)))[0]
    _figures(
        texts.data, texts.offsets, unicode.classes(), stops, np.empty(room, np.uint64), np.zeros(room, np.int64),
        figures, hashes, lengths, bounds,
    )  # fmt: skip
    return figures, hashes[: bounds[-1]], lengths[: bounds[-1]], bounds
