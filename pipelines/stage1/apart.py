"""What a run must not ask: instructions of the batches that a hold-out is kept apart from, word for word or nearly so."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

SHINGLE: Final = 3  # words
SIMILARITY: Final = 0.8  # Jaccard, of word 3-grams
_WORD = re.compile(r"\w+")


def normal(text: str) -> str:
    """Equal for texts that are the same for a reader: case folded, composed, single spaces, no closing punctuation."""
    return " ".join(unicodedata.normalize("NFC", text.casefold()).split()).rstrip(".?! ")


class KeptApart:
    """A set of instructions with an index of their shingles; a comparison costs what the texts share."""

    def __init__(self, instructions: Iterable[str]) -> None:
        self._texts = sorted({normal(text) for text in instructions})
        self._exact = set(self._texts)
        self._sizes: list[int] = []
        self._rows: dict[str, list[int]] = defaultdict(list)
        for row, text in enumerate(self._texts):
            shingles = _shingles(text)
            self._sizes.append(len(shingles))
            for shingle in shingles:
                self._rows[shingle].append(row)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._texts)

    def holds(self, instruction: str) -> bool:
        """Is the instruction among them, or is the Jaccard similarity to one of them 0.8 or more?"""
        text = normal(instruction)
        if text in self._exact:
            return True
        shingles = _shingles(text)
        shared = Counter(row for shingle in shingles for row in self._rows.get(shingle, ()))
        return any(common >= SIMILARITY * (len(shingles) + self._sizes[row] - common) for row, common in shared.items())


def _shingles(text: str) -> set[str]:
    words = _WORD.findall(text)
    if len(words) < SHINGLE:
        return {" ".join(words)} if words else set()
    return {" ".join(words[n : n + SHINGLE]) for n in range(len(words) - SHINGLE + 1)}
