"""From a polars Series of strings to the flat buffers that kernels read: UTF-8 bytes and int64 offsets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class Flat:
    """Row i is `data[offsets[i] : offsets[i + 1]]`. `offsets` has one more entry than there are rows and need not start at 0."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def bytes(self) -> int:
        return int(self.offsets[-1] - self.offsets[0])

    def blocks(self, size: int = BLOCK_BYTES) -> Iterator[tuple[int, Flat]]:
        """The same rows in runs of about `size` bytes (at least one row each), with the number of the first row of each."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.offsets, self.offsets[first] + size, side="right")) - 1
            last = min(max(last, first + 1), len(self))
            yield first, Flat(self.data, self.offsets[first : last + 1])
            first = last


def flat(texts: pl.Series) -> Flat:
    """The buffers of a String column without nulls; slices and chunks are welcome.

    polars keeps strings as views, so Arrow writes the contiguous form once (about 1 GB/s); from there on nothing is copied.
    """
    if texts.dtype != pl.String:
        raise TypeError(f"{texts.name or 'column'} is {texts.dtype}, not String")
    if texts.null_count():
        raise ValueError(f"{texts.name or 'column'} has nulls; fill them first, a null has no words")
    array = texts.rechunk().to_arrow()
    if not pa.types.is_large_string(array.type):
        array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets or bytes(8), np.int64)[array.offset : array.offset + len(array) + 1]
    return Flat(np.frombuffer(data or b"", np.uint8), bounds)  # both read-only: one compiled version of each kernel
