"""JSON lines: one object a line, split on the byte 0x0A and nothing else.

A blank line is a malformed row, except one at the very end of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BufferedReader

from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed, Record
from pytest_distill.batch.ingest.strict_json import parse_object
from pytest_distill.contracts.quarantine import Reason


def read(stream: BufferedReader) -> Iterator[Record]:
    """Every line as a record, in order. One line is in memory at a time, at most MAX_ROW_BYTES of it."""
    line = offset = 0
    blank: Record | None = None
    while data := stream.readline(MAX_ROW_BYTES + 1):
        line += 1
        size = len(data)
        if blank is not None:
            yield blank
            blank = None
        if size > MAX_ROW_BYTES and not data.endswith(b"\n"):
            error, size = skip_line(stream, data)
            yield Record(line, offset, b"", error)
        else:
            try:
                yield Record(line, offset, data, parse_object(data))
            except Malformed as error:
                if data.isspace():
                    blank = Record(line, offset, data, Malformed(Reason.MALFORMED_JSON, "a blank line"))
                else:
                    yield Record(line, offset, data, error)
        offset += size


def skip_line(stream: BufferedReader, begun: bytes) -> tuple[Malformed, int]:
    """Reads on to the end of a line that is too long to keep; its digest stands for it. Returns its whole size too."""
    digest = hashlib.sha256(begun)
    size = len(begun)
    ended = False
    while not ended and (data := stream.readline(1 << 20)):
        ended = data.endswith(b"\n")
        digest.update(data[:-1] if ended else data)
        size += len(data)
    message = f"a line of {size - ended:,} bytes; at most {MAX_ROW_BYTES:,} are read"
    return Malformed(Reason.TOO_LONG, message, sha256=digest.hexdigest()), size
