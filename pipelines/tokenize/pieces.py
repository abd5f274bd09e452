"""Encoding by pieces: every distinct piece once, and texts put together from what is known.

Only for tokenizers that `measuring.separable` vouches for. The ids are those of encoding every text as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from pytest_distill.measuring.kernels.pieces import split
from pytest_distill.measuring.kernels.ragged import gathered

# What is remembered at most; beyond it everything is forgotten, and met again.
PIECES = 1 << 18
TOKENS = 1 << 22

Encode = Callable[[Sequence[str]], tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]]


class PieceEncoder:
    """For one thread at a time."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._forget()

    def _forget(self) -> None:
        self._known: dict[str, int] = {}
        self._tokens = np.empty(0, np.uint32)
        self._starts = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """The ids of all texts one after the other, and how many each text has."""
        if len(self._known) > PIECES or len(self._tokens) > TOKENS:
            self._forget()
        pieces = split(pl.Series(texts, dtype=pl.String))
        known = self._known
        places = np.fromiter((known.get(piece, -1) for piece in pieces.distinct), np.int64, len(pieces.distinct))
        missing = np.flatnonzero(places < 0)
        if len(missing):
            new = [pieces.distinct[number] for number in missing.tolist()]
            ids, counts = self._encode(new)
            places[missing] = np.arange(len(known), len(known) + len(new))
            known.update(zip(new, places[missing].tolist(), strict=True))
            starts = np.cumsum(counts) - counts + len(self._tokens)
            self._tokens = np.concatenate((self._tokens, ids))
            self._starts = np.concatenate((self._starts, starts))
            self._counts = np.concatenate((self._counts, counts))
        order = places[pieces.ids]
        return gathered(self._tokens, self._starts, self._counts, order), pieces.sums(self._counts[places])
