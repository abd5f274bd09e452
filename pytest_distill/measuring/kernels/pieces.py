"""Splitting texts into pieces that tokenizers never join, and numbering the distinct ones: one pass over the Arrow bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from pytest_distill.measuring.kernels.buffers import flat

_PRIME = np.uint64(0x100000001B3)
_SEED = np.uint64(0xCBF29CE484222325)


@dataclass(frozen=True)
class Pieces:
    """`distinct` pieces in order of appearance; `ids` numbers the pieces of all texts, row r owns ids[ends[r-1]:ends[r]]."""

    distinct: list[str]
    ids: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]

    def sums(self, value: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Per row the sum of `value[piece]` over its pieces."""
        totals = np.zeros(len(self.ids) + 1, np.int64)
        np.cumsum(value[self.ids], out=totals[1:])
        starts = np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])
        sums: npt.NDArray[np.int64] = totals[self.ends] - totals[starts]
        return sums


def split(texts: pl.Series) -> Pieces:
    """Cuts before a space that follows a visible ASCII character, and between an ASCII letter and `. , ; : ! ? )` or a newline.

    `texts` has no nulls. Every cut lies before an ASCII character, so pieces are whole UTF-8.
    """
    buffers = flat(texts)
    ids, ends, starts, lengths = _split(buffers.data, buffers.offsets)
    view = buffers.data.data
    distinct = [
        str(view[start : start + length], "utf-8") for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]
    return Pieces(distinct, ids, ends)


@njit(cache=True, nogil=True)
def _is_cut(before: np.uint8, after: np.uint8) -> bool:
    if after == 0x20:
        return bool(0x21 <= before <= 0x7E)
    if after in (0x2E, 0x2C, 0x3B, 0x3A, 0x21, 0x3F, 0x29, 0x0A):
        return bool(0x61 <= before <= 0x7A or 0x41 <= before <= 0x5A)
    return False


@njit(cache=True, nogil=True)
def _split(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    rows = len(offsets) - 1
    cuts = 0
    for row in range(rows):
        if offsets[row + 1] > offsets[row]:
            cuts += 1
        for i in range(offsets[row] + 1, offsets[row + 1]):
            if _is_cut(data[i - 1], data[i]):
                cuts += 1
    ids = np.empty(cuts, np.int32)
    ends = np.empty(rows, np.int64)
    starts = np.empty(1024, np.int64)
    lengths = np.empty(1024, np.int32)
    hashes = np.empty(1024, np.uint64)
    table = np.full(4096, -1, np.int32)
    known = 0
    piece = 0
    for row in range(rows):
        i = offsets[row]
        end = offsets[row + 1]
        while i < end:
            start = i
            value = (_SEED ^ np.uint64(data[i])) * _PRIME
            i += 1
            while i < end and not _is_cut(data[i - 1], data[i]):
                value = (value ^ np.uint64(data[i])) * _PRIME
                i += 1
            if 2 * known >= len(table):
                table = np.full(4 * len(table), -1, np.int32)
                mask = np.uint64(len(table) - 1)
                for old in range(known):
                    slot = (hashes[old] ^ (hashes[old] >> np.uint64(29))) & mask
                    while table[slot] >= 0:
                        slot = (slot + np.uint64(1)) & mask
                    table[slot] = old
            mask = np.uint64(len(table) - 1)
            slot = (value ^ (value >> np.uint64(29))) & mask
            found = table[slot]
            while found >= 0 and not (hashes[found] == value and _same(data, starts[found], lengths[found], start, i - start)):
                slot = (slot + np.uint64(1)) & mask
                found = table[slot]
            if found < 0:
                if known == len(starts):
                    starts = np.concatenate((starts, np.empty(known, np.int64)))
                    lengths = np.concatenate((lengths, np.empty(known, np.int32)))
                    hashes = np.concatenate((hashes, np.empty(known, np.uint64)))
                starts[known] = start
                lengths[known] = i - start
                hashes[known] = value
                table[slot] = known
                found = known
                known += 1
            ids[piece] = found
            piece += 1
        ends[row] = piece
    return ids, ends, starts[:known], lengths[:known]


@njit(cache=True, nogil=True)
def _same(data: npt.NDArray[np.uint8], a: int, length_a: int, b: int, length_b: int) -> bool:
    k = 0
    while k < length_a and length_a == length_b and data[a + k] == data[b + k]:
        k += 1
    return k == length_a == length_b
