"""What every reader yields: a row with its place and its bytes, or why those bytes are no row."""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_distill.contracts.quarantine import Reason

# One row, as bytes. Longer ones are quarantined (JSONL, CSV) or refuse the file (JSON array, whose end could not be found again).
MAX_ROW_BYTES = 16 << 20
# Nesting of one JSON value. Deeper ones are legal JSON and beyond every reader that would follow us.
MAX_DEPTH = 100


class Malformed(Exception):  # noqa: N818 - a row's fate, not a failure of ours
    """Bytes that are no row. `sha256` is set when they were too many to keep."""

    def __init__(self, reason: Reason, message: str, *, sha256: str | None = None) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.sha256 = sha256


class Record(NamedTuple):
    """`line` is 1-based (in Parquet: the row), `offset` counts bytes of the decompressed file (in Parquet: None).

    `raw` may still hold the line's newline.
    """

    line: int
    offset: int | None
    raw: bytes
    value: dict[str, Any] | Malformed
