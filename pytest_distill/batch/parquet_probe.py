"""Going through a Parquet file that came from elsewhere: in a process of its own first, because some damage aborts the reader.

Light to import: that process starts for every Parquet file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_distill.errors import Code, DistillError

OPTIONS: dict[str, Any] = {"pre_buffer": False, "page_checksum_verification": True, "arrow_extensions_enabled": False}
_ROWS = 1024
_BYTES = 16 << 20


def probe() -> None:
    """The other process: decodes standard input and keeps nothing. Errors that can be raised are left to the reader proper."""
    expected = (OSError, pa.ArrowException, ValueError, OverflowError, MemoryError, DistillError)
    with suppress(*expected), pq.ParquetFile(sys.stdin.buffer, **OPTIONS) as opened:
        check_metadata(opened.metadata, "")
        for batch in batches(opened):
            batch.validate(full=True)


def batches(opened: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """Few enough rows at a time that they fit into memory, whatever a row holds."""
    groups = [opened.metadata.row_group(group) for group in range(opened.metadata.num_row_groups)]
    row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    size = max(1, min(_ROWS, _BYTES // max(row_bytes, 1)))
    found: Iterator[pa.RecordBatch] = opened.iter_batches(batch_size=size, use_threads=False)
    return found


def check_metadata(metadata: pq.FileMetaData, name: str) -> None:
    """Raises E-SOURCE-FORMAT when the file says of a column what cannot be."""
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(index)
            if {"RLE_DICTIONARY", "PLAIN_DICTIONARY"} & set(chunk.encodings) and not chunk.has_dictionary_page:
                raise refused(name, f"says {chunk.path_in_schema!r} is dictionary-encoded and names no dictionary")


def refused(name: str, what: str) -> DistillError:
    return DistillError(Code.FORMAT, f"{name}: {what}", "Nothing of it was taken; write or download it again.")
