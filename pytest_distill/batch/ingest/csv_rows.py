"""CSV as RFC 4180 has it: commas, double quotes doubled inside quotes, quoted fields may hold line breaks. Every value is text.

The first record names the columns. A record whose quotes do not fit, or with another number of fields, is a bad row. A quote
that never closes takes the lines after it along, up to MAX_ROW_BYTES: where it should have closed cannot be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedReader

from pytest_distill.batch.ingest.jsonl import skip_line
from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed, Record
from pytest_distill.batch.ingest.strict_json import BOM
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError, one_line

_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\Z)')


def read(stream: BufferedReader, name: str) -> Iterator[Record]:
    """Every record after the header. Raises E-SOURCE-FORMAT or E-COLUMN when the header cannot be used."""
    records = _records(stream)
    first = next(records, None)
    if first is None:
        return
    header = _header(first[2], name)
    blank: Record | None = None
    for line, offset, data, error in records:
        if blank is not None:
            yield blank
            blank = None
        raw = data.removesuffix(b"\n").removesuffix(b"\r")
        if not raw and error is None:
            blank = Record(line, offset, raw, Malformed(Reason.MALFORMED_CSV, "a blank line"))
            continue
        try:
            if error is not None:
                raise error
            yield Record(line, offset, raw, dict(zip(header, _fields(raw, len(header)), strict=True)))
        except Malformed as problem:
            yield Record(line, offset, raw, problem)


def _records(stream: BufferedReader) -> Iterator[tuple[int, int, bytes, Malformed | None]]:
    """(line, offset, bytes, error): as many lines as it takes to close every quote."""
    line, offset = 1, 0
    while data := stream.readline(MAX_ROW_BYTES + 1):
        pieces, size, quotes = [data], len(data), data.count(b'"')
        error: Malformed | None = None
        while quotes % 2 and size <= MAX_ROW_BYTES and (data := stream.readline(MAX_ROW_BYTES + 1 - size)):
            pieces.append(data)
            size += len(data)
            quotes += data.count(b'"')
        whole = b"".join(pieces)
        if size > MAX_ROW_BYTES and not whole.endswith(b"\n"):
            error, size = skip_line(stream, whole)
            whole, lines = b"", whole.count(b"\n") + 1
        else:
            lines = whole.count(b"\n")
            if quotes % 2:
                error = Malformed(Reason.MALFORMED_CSV, f"a quote is opened and not closed in {max(lines, 1)} lines")
        yield line, offset, whole, error
        line += lines
        offset += size


def _fields(raw: bytes, expected: int) -> list[str]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(Reason.INVALID_UTF8, f"byte {error.start + 1} is no UTF-8 (0x{raw[error.start]:02x})") from error
    values = _quoted(text) if '"' in text or "\r" in text else text.split(",")
    if len(values) != expected:
        raise Malformed(Reason.WRONG_FIELD_COUNT, f"{len(values)} fields, the header names {expected}")
    return values


def _quoted(text: str) -> list[str]:
    values: list[str] = []
    at = 0
    while True:
        found = _FIELD.match(text, at)
        if found is None:
            raise Malformed(Reason.MALFORMED_CSV, f"a quote or line break out of place in field {len(values) + 1}")
        quoted, plain, separator = found.groups()
        values.append(plain if quoted is None else quoted.replace('""', '"'))
        if not separator:
            return values
        at = found.end()


def _header(data: bytes, name: str) -> list[str]:
    if data.startswith(BOM):
        hint = "Save it as UTF-8 without one, or leave it out: tail -c +4 FILE > NEW."
        raise DistillError(Code.FORMAT, f"{name}: starts with a byte order mark", hint)
    raw = data.removesuffix(b"\n").removesuffix(b"\r")
    try:
        names = _fields(raw, raw.count(b",") + 1) if b'"' not in raw else _quoted(raw.decode("utf-8"))
    except (Malformed, UnicodeDecodeError) as error:
        what = error.message if isinstance(error, Malformed) else "no UTF-8"
        raise DistillError(Code.FORMAT, f"{name}: the header line cannot be read: {what}", "It names the columns.") from error
    if len(names) == 1 and b'"' not in raw and (other := next((sign for sign in ";\t|" if sign in names[0]), None)):
        what = f"{name}: the header names one column, {one_line(names[0])[:80]!r}, with {other!r} in the place of commas"
        raise DistillError(Code.FORMAT, what, "Save it with commas. If that is its name, put it in quotes.")
    for number, column in enumerate(names, start=1):
        if not column.strip():
            raise DistillError(Code.COLUMN, f"{name}: column {number} of the header has no name", "Name it in the file.")
        if column in names[: number - 1]:
            raise DistillError(Code.COLUMN, f"{name}: the header names {column[:80]!r} twice", "Rename one in the file.")
    return names
