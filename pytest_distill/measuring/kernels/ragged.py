"""Gathering runs of ids: pieces into texts, and texts into documents that end with EOS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def gathered(
    values: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint32]:
    """The runs `values[starts[k] : starts[k] + counts[k]]` for every k in `order`, one after the other."""
    size = 0
    for k in order:
        size += counts[k]
    out = np.empty(size, np.uint32)
    at = 0
    for k in order:
        start = starts[k]
        for i in range(counts[k]):
            out[at + i] = values[start + i]
        at += counts[k]
    return out


@njit(cache=True, nogil=True)
def terminated(
    ids: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64], eos: np.uint32
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Documents of `counts[d]` ids each, with EOS after every one that is not empty; and the end of each, EOS inside.

    An empty document takes no place: its end is that of the one before it.
    """
    filled = 0
    for count in counts:
        filled += count > 0
    out = np.empty(len(ids) + filled, np.uint32)
    ends = np.empty(len(counts), np.int64)
    source = at = 0
    for d in range(len(counts)):
        for i in range(counts[d]):
            out[at + i] = ids[source + i]
        source += counts[d]
        at += counts[d]
        if counts[d] > 0:
            out[at] = eos
            at += 1
        ends[d] = at
    return out, ends
