"""A JSON array of objects, element by element: the file is never in memory as a whole.

A bad element is a bad row. A bad frame (no closing bracket, text after it, an element without end) refuses the file, because
nothing after it could be placed with certainty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedReader

from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed, Record
from pytest_distill.batch.ingest.strict_json import parse_object
from pytest_distill.errors import Code, DistillError

_SPACE = b" \t\n\r"
# Everything up to the next bracket, whole strings included; between elements also up to the next comma. No step is taken back.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_INSIDE = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+", re.DOTALL)
_BETWEEN = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+", re.DOTALL)
_CHUNK = 1 << 20


def read(stream: BufferedReader, name: str) -> Iterator[Record]:
    """Every element as a record. Raises E-SOURCE-FORMAT when the file as a whole is no array."""
    reader = _Reader(stream, name)
    reader.open()
    while reader.element():
        data = reader.taken
        body = data.strip(_SPACE)
        lead = len(data) - len(data.lstrip(_SPACE)) if body else 0
        line, offset = reader.line + data.count(b"\n", 0, lead), reader.offset + lead
        try:
            yield Record(line, offset, body, parse_object(body))
        except Malformed as error:
            yield Record(line, offset, body, error)
    reader.close()


class _Reader:
    """`taken` is the newest element with the white space around it; `offset` and `line` say where it starts."""

    def __init__(self, stream: BufferedReader, name: str) -> None:
        self.stream = stream
        self.name = name
        self.taken = b""
        self.offset = self.line = 0
        self._buffer = b""
        self._start = 0  # where the element that is being read begins in the buffer
        self._next = (0, 1)
        self._ended = False
        self._count = 0

    def open(self) -> None:
        while (piece := self.stream.read(1)) and piece in _SPACE:
            self._advance(piece)
        if piece != b"[":
            raise self._refused(f"starts with {piece!r} where '[' should stand")
        self._advance(piece)

    def element(self) -> bool:
        """Takes the next element; False when the array has ended before one."""
        if self._ended:
            return False
        at, depth = self._start, 0
        while True:
            found = (_INSIDE if depth else _BETWEEN).match(self._buffer, at)
            assert found is not None, "both patterns match the empty string"
            at = found.end()
            mark = self._buffer[at : at + 1]
            if not mark or mark == b'"':  # the end of the buffer, or a string whose end is not read yet
                at -= self._more()
                continue
            at += 1
            if mark in b"[{":
                depth += 1
            elif depth:
                depth -= 1
            elif mark == b"}":
                raise self._refused(f"a stray '}}' in {self._place()}")
            else:
                return self._take(at, last=mark == b"]")

    def close(self) -> None:
        rest = self._buffer[self._start :]
        while not rest.strip(_SPACE):
            rest = self.stream.read(_CHUNK)
            if not rest:
                return
        raise self._refused("has text after the closing bracket")

    def _take(self, end: int, *, last: bool) -> bool:
        self.taken = self._buffer[self._start : end - 1]
        self.offset, self.line = self._next
        self._advance(self._buffer[self._start : end])
        self._start = end
        self._ended = last
        self._count += 1
        return not (last and self._count == 1 and not self.taken.strip(_SPACE))

    def _more(self) -> int:
        """Reads on; returns by how much positions in the buffer moved."""
        moved = self._start
        if len(self._buffer) - moved > MAX_ROW_BYTES:
            raise self._refused(f"{self._place()} is longer than {MAX_ROW_BYTES:,} bytes, or a string in it never ends")
        piece = self.stream.read(_CHUNK)
        if not piece:
            raise self._refused(f"ends inside the array, in {self._place()}")
        self._buffer = self._buffer[moved:] + piece
        self._start = 0
        return moved

    def _advance(self, passed: bytes) -> None:
        offset, line = self._next
        self._next = (offset + len(passed), line + passed.count(b"\n"))

    def _place(self) -> str:
        return f"element {self._count + 1} (after line {self._next[1]}, byte {self._next[0]})"

    def _refused(self, what: str) -> DistillError:
        return DistillError(
            Code.FORMAT, f"{self.name}: {what}", "A .json file holds one array of objects; .jsonl one object a line."
        )
