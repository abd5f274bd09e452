"""The ledger: the workspace's append-only audit trail, one JSON object a line, each chained to the line before.

A line's `prev` is the SHA-256 of the previous line, so an edit or a deletion in the middle breaks the chain. A deleted or torn
end does not, so the newest line's digest is kept in a second file beside it (`ledger.jsonl.head`). Whoever can rewrite both
files can forge a whole new history: compare `verify`'s digest with one kept elsewhere (a CI log, a signed seal) to notice that.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from pytest_distill import clock, storage
from pytest_distill.contracts.attestation import Position
from pytest_distill.contracts.ledger import Fact, LedgerEntry
from pytest_distill.errors import Code, DistillError

GENESIS = hashlib.sha256(b"").hexdigest()


class Head(NamedTuple):
    """The newest line: how many there are, and its SHA-256."""

    seq: int
    sha256: str


def append(path: Path, event: str, *, batch: str | None = None, **facts: Fact) -> LedgerEntry:
    """Adds one line, durably; writers wait for each other. Raises E-LEDGER when the newest line is not what the head says."""
    with storage.locked(path):
        return _append(path, event, batch, facts)


def append_once(path: Path, event: str, *, batch: str, **facts: Fact) -> LedgerEntry:
    """`append`, unless a line says just this already: for a run that was killed and does not know whether it came to it.

    The head is brought up to the newest line where the killed writer did not come to that. Raises E-LEDGER.
    """
    with storage.locked(path):
        storage.remove_leftovers(_head_path(path))
        found, newest = _chain(path, path.read_bytes() if path.exists() else b"", _head_on_disk(path))
        same = [entry for entry in found if (entry.event, entry.batch, entry.facts) == (event, batch, facts)]
        if not same:
            return _append(path, event, batch, facts)
        if _head_on_disk(path) != newest:
            _write_head(path, newest)
        return same[-1]


def _append(path: Path, event: str, batch: str | None, facts: dict[str, Fact]) -> LedgerEntry:
    head = _head_on_disk(path)
    line = _last_line(path)
    found = _newest(path, line)
    _agree(path, head, found, line)
    if line and head != found:  # a writer died before its head: another one that dies there must not leave it two lines behind
        _write_head(path, found)
    entry = LedgerEntry(seq=found.seq + 1, at=clock.timestamp(), event=event, batch=batch, facts=facts, prev=found.sha256)
    written = entry.to_line()
    storage.append_line(path, written)
    _write_head(path, Head(entry.seq, storage.sha256_bytes(written)))
    return entry


def position(entry: LedgerEntry) -> Position:
    """Where an entry stands: what a seal carries of the line before its own, so that a cut tail shows."""
    return Position(seq=entry.seq, sha256=storage.sha256_bytes(entry.to_line()))


def entries(path: Path) -> list[LedgerEntry]:
    """Every entry, oldest first, the whole chain checked. Raises E-LEDGER naming the first line that is wrong."""
    return _read(path)[0]


def verify(path: Path) -> Head:
    """Checks the whole chain; returns how many lines it has and the digest that vouches for all of them."""
    return _read(path)[1]


def _read(path: Path) -> tuple[list[LedgerEntry], Head]:
    if not path.parent.is_dir():
        return [], Head(0, GENESIS)
    # Where nothing can be written nobody else writes either, and a lock file could not be made.
    with storage.locked(path) if os.access(path.parent, os.W_OK) else nullcontext():
        head = _head_on_disk(path)
        data = path.read_bytes() if path.exists() else b""
    return _chain(path, data, head)


def _chain(path: Path, data: bytes, head: Head | None) -> tuple[list[LedgerEntry], Head]:
    if data and not data.endswith(b"\n"):
        raise _torn(path)
    found: list[LedgerEntry] = []
    newest = Head(0, GENESIS)
    last = b""
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        entry = _parse(path, number, line)
        if entry.seq != number or entry.prev != newest.sha256:
            raise _broken(path, f"line {number} does not follow the line before it: something was edited, removed or put in")
        found.append(entry)
        newest = Head(number, storage.sha256_bytes(line))
        last = line
    _agree(path, head, newest, last)
    return found, newest


def _agree(path: Path, head: Head | None, found: Head, line: bytes) -> None:
    """The head names the newest line, or the one before it (a writer died between its two writes)."""
    if head is None and found.seq <= 1:
        return
    if head is None:
        raise _broken(path, f"it has {found.seq} lines, and {_head_path(path).name} beside it is missing")
    if head == found:
        return
    if head.seq == found.seq - 1 and _parse(path, found.seq, line).prev == head.sha256:
        return
    raise _broken(path, f"it should end with line {head.seq} ({head.sha256[:12]}…) and ends with line {found.seq}")


def _newest(path: Path, line: bytes) -> Head:
    return Head(_parse(path, None, line).seq, storage.sha256_bytes(line)) if line else Head(0, GENESIS)


def _last_line(path: Path) -> bytes:
    """The last line without its newline, read from the end; empty when there is none. A torn end is refused."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        tail = b""
        while end and tail.count(b"\n") < 2:
            start = max(0, end - 65_536)
            file.seek(start)
            tail = file.read(end - start) + tail
            end = start
    if not tail:
        return b""
    if not tail.endswith(b"\n"):
        raise _torn(path)
    return tail[:-1].rpartition(b"\n")[2]


def _parse(path: Path, number: int | None, line: bytes) -> LedgerEntry:
    place = f"line {number}" if number is not None else "the last line"
    try:
        entry = LedgerEntry.from_bytes(line, name=place)
    except DistillError as error:
        raise _broken(path, error.message) from error
    if entry.to_line() != line:
        raise _broken(path, f"{place} is not in the form it was written in")
    return entry


def _head_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _head_on_disk(path: Path) -> Head | None:
    file = _head_path(path)
    if not file.exists():
        return None
    seq, _, sha256 = file.read_bytes().decode("ascii", "replace").strip().partition(" ")
    if not seq.isascii() or not seq.isdigit() or len(sha256) != 64:
        raise _broken(path, f"{file.name} is malformed")
    return Head(int(seq), sha256)


def _write_head(path: Path, head: Head) -> None:
    storage.write_bytes(_head_path(path), f"{head.seq} {head.sha256}\n".encode())


def _torn(path: Path) -> DistillError:
    return _broken(path, "its last line is cut off (a writer died, or the disk was full)")


def _broken(path: Path, what: str) -> DistillError:
    hint = "Nothing is added to a broken ledger: put it aside as it is, find out who touched it, restore it from a copy."
    return DistillError(Code.LEDGER, f"{path}: {what}", hint)
