"""Digests of the files a stage reads and writes, each file read once in a run.

A JSON file may hold times that were injected when it was written. Determinism is judged without them: their values are blanked
in the bytes as they stand. Nothing is parsed and written again, so a float that changes its spelling still changes the digest.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pytest_distill.batch.digest import SUMS, files_below
from pytest_distill.contracts.receipts import OUTSIDE, FileDigest
from pytest_distill.errors import Code, DistillError

TIMELESS = "timeless.json"  # attached to a batch whose rows hold injected times: the digest of the rows without them
INJECTED = ("recorded_at", "created_at", "scored_at")
# The quotes of a key inside a text are escaped in JSON, so a text that quotes such a key is not taken for one. The pattern
# begins with the literal that all the keys end in, which is what makes the search fast.
_KEYS = "|".join(f'(?<="{name}":)' for name in INJECTED).encode()
_TIME = re.compile(rb'd_at":(?:' + _KEYS + rb') {0,8}"\d{4}-\d\d-\d\dT[0-9:.]{5,20}(?:Z|[+-]\d\d:\d\d)"')
_BLANK = b'd_at":""'
_BLOCK = 1 << 20
_TEXT = (".jsonl", ".json")
_UNLISTED = (".lock", ".tmp")

Stat = tuple[int, int, int, int, int]


def stat_of(path: Path) -> Stat:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Digests:
    """Digests within one workspace. A file that has not changed since it was hashed is not read again."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._known: dict[tuple[str, Stat], FileDigest] = {}

    def name(self, path: Path) -> str:
        """The path relative to the workspace in POSIX form; `outside:` and the name alone when it lies elsewhere."""
        absolute = Path(os.path.abspath(path))  # resolves `..` and follows no link
        for found in (absolute, absolute.parent.resolve() / absolute.name):
            if found.is_relative_to(self.root) and found != self.root:
                return _printable(found.relative_to(self.root).as_posix())
        return outside(absolute.name)

    def file(self, path: Path) -> FileDigest:
        """Raises E-SOURCE-NOTFOUND."""
        name = self.name(path)
        try:
            before = stat_of(path)
            if (known := self._known.get((name, before))) is None:
                known = _digest(path, name)
                self._known[name, before] = known
        except OSError as error:
            raise DistillError(Code.SOURCE, f"{path} cannot be read: {error.strerror}", "Check the path.") from error
        return known

    def files(self, path: Path) -> list[FileDigest]:
        """A file, or every file below a folder. For a batch it is SHA256SUMS alone: that list vouches for all the others.

        Rows with injected times make that list another one each time. A batch of such rows brings the digest without them along.
        """
        if not path.is_dir():
            return [self.file(path)]
        if (path / SUMS).is_file():
            sums = self.file(path / SUMS)
            beside = path / TIMELESS
            return [sums.model_copy(update={"timeless_sha256": self.file(beside).sha256}) if beside.is_file() else sums]
        return [self.file(path / name) for name in listed(path)]


def listed(folder: Path) -> list[str]:
    """The files below a folder that count: no locks, nothing half-written."""
    return [name for name in files_below(folder) if not name.endswith(_UNLISTED)]


def outside(name: str) -> str:
    """How a file is called that lies outside of the workspace."""
    return _printable(OUTSIDE + name.replace("/", "%2F"))


def _printable(name: str) -> str:
    """A file name may hold bytes that are no UTF-8, or a backslash; both are shown escaped."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\\", "%5C")


def _digest(path: Path, name: str) -> FileDigest:
    text, lines = path.suffix in _TEXT, path.suffix == ".jsonl"
    whole, timeless = hashlib.sha256(), hashlib.sha256()
    rows = blanked = 0
    last = b""
    for block in _blocks(path, whole_lines=text):
        whole.update(block)
        if text:
            changed, count = _TIME.subn(_BLANK, block)
            timeless.update(changed)
            blanked += count
        if lines:
            rows += block.count(b"\n")
            last = block[-1:]
    rows += lines and last not in (b"", b"\n")
    return FileDigest(
        path=name,
        sha256=whole.hexdigest(),
        timeless_sha256=timeless.hexdigest() if blanked else None,
        rows=rows if lines else None,
    )


def _blocks(path: Path, *, whole_lines: bool) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if whole_lines and not block.endswith(b"\n"):
                block += file.readline()
            yield block
