"""One shard and its index on disk, bit for bit as the contract has them. Tokens go to disk as they come."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from pytest_distill import storage
from pytest_distill.contracts.tokens import INDEX_VERSION, MAGIC, DType, ShardEntry

# NPY 1.0, written by hand so that no release of numpy changes a byte. Two times 64 bytes hold any length.
_PREAMBLE = b"\x93NUMPY\x01\x00"
_HEADER = 128


def npy_header(dtype: DType, tokens: int) -> bytes:
    """The header of a one-dimensional little-endian array, 128 bytes for every length."""
    kind = {"uint32": "<u4", "uint16": "<u2"}[dtype]
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({tokens},), }}"
    body = text.ljust(_HEADER - len(_PREAMBLE) - 3) + "\n"
    return _PREAMBLE + struct.pack("<H", len(body)) + body.encode("ascii")


def index_bytes(ends: npt.NDArray[np.int64]) -> bytes:
    """The .idx of documents that end at `ends` (exclusive, EOS inside), the first of which starts at 0."""
    spans = np.empty((len(ends), 2), "<u8")
    spans[:, 1] = ends
    spans[1:, 0] = ends[:-1]
    spans[:1, 0] = 0
    return MAGIC + struct.pack("<QQQ", INDEX_VERSION, len(ends), 0) + spans.tobytes()


class ShardWriter:
    """Writes `<stem>.npy` and `<stem>.idx` into a folder. They appear, one after the other, in `finish`; else nothing does."""

    def __init__(self, folder: Path, stem: str, dtype: DType) -> None:
        self.tokens = self.documents = 0
        self._dtype: DType = dtype
        self._array, self._index = folder / f"{stem}.npy", folder / f"{stem}.idx"
        self._ends: list[npt.NDArray[np.int64]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file: IO[bytes] = self._stack.enter_context(storage.atomic_file(self._array))
        self._file.write(npy_header(self._dtype, 0))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        unfinished = _Unfinished() if error is None else error
        self._stack.__exit__(type(unfinished), unfinished, trace)

    def add(self, ids: npt.NDArray[np.uint32], ends: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Documents one after the other; `ends` (each beyond the one before) count from the first of `ids`."""
        self._file.write(ids.astype({"uint32": "<u4", "uint16": "<u2"}[self._dtype], copy=False).tobytes())
        self._ends.append(np.asarray(ends, np.int64) + self.tokens)
        self.tokens += len(ids)
        self.documents += len(ends)

    def finish(self) -> ShardEntry:
        """Makes both files appear. Raises E-MANIFEST-COMMIT when the disk refuses."""
        self._file.seek(0)
        self._file.write(npy_header(self._dtype, self.tokens))
        self._stack.close()
        storage.write_bytes(self._index, index_bytes(np.concatenate(self._ends)))
        return ShardEntry(
            path=self._array.name,
            index_path=self._index.name,
            num_tokens=self.tokens,
            num_documents=self.documents,
            checksum=storage.sha256_file(self._array),
        )


class _Unfinished(Exception):  # noqa: N818 - unwinds the file that nobody finished, never seen outside
    pass
