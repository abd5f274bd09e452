"""Figures that say something of a document without deciding about it, unless the settings promote them.

Shares are of the answer's own text: `repetition` is characters in repeated 10-grams of words, `symbols` what is neither letter,
digit nor mark among what is no white space, `special_characters` controls, private use, unassigned and pictographs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pytest_distill.measuring.kernels import repetition, text
from pytest_distill.measuring.kernels.buffers import Flat, flat

COLUMN = "diagnostic_{}"
_SPECIAL = r"[\p{C}\p{So}\x{FFFD}&&[^\n\t]]"

# The blocklist: shapes of personal data, counted and not judged. The gates have detectors with checksums and exceptions.
# Each starts with a kind of character that prose rarely has, and repeats are bounded.
PERSONAL = {
    "e-mail": r"\b[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}\b",
    "phone": r"(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\) ?|\b\d{2,4}[ .-])\d{3,4}[ .-]?\d{3,4}(?:[x ]{1,3}\d{1,5})?\b",
    "phone, national": r"\b0\d{2,4}(?: \d{2,4}){2,4}\b",
    "phone, named": r"(?i)\b(?:phone|tel|telephone|mobile|cell|call|fax|whatsapp)\b[^\d\n+(]{0,20}\+?\(?\d[\d ().-]{5,16}\d\b",
    "card": r"(?:^|[^\w.])\d{4}[ -]?\d{4,6}[ -]?\d{4,5}(?:[ -]?\d{1,4})?\b",
    "SSN": r"\b\d{3}-\d{2}-\d{4}\b",
    "IBAN": r"\b[A-Z]{2}\d{2} ?[A-Z0-9]{4}(?: ?[A-Z0-9]{2,4}){2,7}\b",
    "IPv4": r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b",
}
_HINT = r"@|\d[\d .()-]{5,}\d|[A-Z]{2}\d{2}"


class Cheap(NamedTuple):
    """The diagnostics that need no model, one value a text."""

    repetition: NDArray[np.float64]
    symbols: NDArray[np.float64]
    special_characters: NDArray[np.float64]
    personal_data: NDArray[np.float64]


def cheap(texts: pl.Series) -> Cheap:
    """Texts without nulls. What has no characters has shares of 0."""
    counts, repeats = [np.empty((0, len(text.FIGURES)), np.int64)], [np.empty((0, len(repetition.FIGURES)), np.int64)]
    for _, block in flat(texts).blocks():
        figures, hashes, lengths, bounds = text.statistics(block, ())
        counts.append(figures)
        repeats.append(repetition.repetition(hashes, lengths, bounds))
    count = dict(zip(text.FIGURES, np.concatenate(counts).T, strict=True))
    repeat = dict(zip(repetition.FIGURES, np.concatenate(repeats).T, strict=True))
    special = texts.str.count_matches(_SPECIAL).to_numpy().astype(np.float64)
    return Cheap(
        _share(repeat["duplicate_10"], count["chars"]),
        _share(count["symbols"], count["solid_chars"]),
        _share(special, count["chars"]),
        personal_data(texts).to_numpy().astype(np.float64),
    )


def personal_data(texts: pl.Series) -> pl.Series:
    """How many pieces of each text have the shape of personal data; one piece may have several."""
    rows = texts.str.contains(_HINT).arg_true()
    looked_at = pl.DataFrame({"text": texts.gather(rows)})
    found = looked_at.select(pl.sum_horizontal(pl.col("text").str.count_matches(pattern) for pattern in PERSONAL.values()))
    return pl.repeat(0, len(texts), dtype=pl.UInt32, eager=True).scatter(rows, found.to_series().cast(pl.UInt32))


def words(texts: Flat) -> NDArray[np.int64]:
    """Words of each text: what lies between white space, and each character of a script that writes none."""
    counts = [np.diff(text.words(block)[1]) for _, block in texts.blocks()]
    return np.concatenate(counts) if counts else np.empty(0, np.int64)


def _share(part: NDArray[np.number], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0, dtype=np.float64)
    return shares
