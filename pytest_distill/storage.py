"""The one door for durable writes: nothing else in the project opens a file for writing.

Every write is temp + fsync + rename + fsync of the folder, so a reader sees the old bytes or the new, never a mixture.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from pytest_distill.errors import Code, DistillError

CHUNK = 1 << 20


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """Our own JSON bytes: UTF-8, keys sorted, two-space indent, one final newline. NaN and Infinity are refused."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def fsync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` only when the block ends without an error. Replaces what was there.

    `durable=False` leaves out the fsync: for what can be computed again and is checked when it is read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise commit_error(path, error) from error
    temp = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temp.chmod(0o644)
        temp.replace(path)
        if durable:
            fsync_folder(path.parent)
    except OSError as error:
        raise commit_error(path, error) from error
    finally:
        temp.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, canonical_json(value))


def move(source: Path, target: Path) -> None:
    """Gives a file that stands already its name, durably, in place of what has it."""
    try:
        source.replace(target)
        fsync_folder(target.parent)
    except OSError as error:
        raise commit_error(target, error) from error


def create_private(path: Path, data: bytes) -> None:
    """A new file that only its owner can read. Loses the race kindly: who comes second leaves the first one's file alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path` whole or not at all; yields the staging folder beside it.

    Raises E-MANIFEST-COMMIT when `path` already exists or the file system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise commit_error(path, error) from error
    try:
        yield staging
        for file in sorted(staging.rglob("*")):
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
        for folder in sorted((f for f in staging.rglob("*") if f.is_dir()), reverse=True):
            fsync_folder(folder)
        fsync_folder(staging)
        staging.chmod(0o755)
        if path.exists():
            raise FileExistsError(f"{path} already exists")
        staging.rename(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise commit_error(path, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Removes what writers of `path` left beside it when they were killed. Only for whoever holds the lock that they held."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def remove_folder(path: Path) -> None:
    """Removes a folder with all it holds, durably; one that is gone already is no error."""
    if path.is_dir():
        shutil.rmtree(path)
        fsync_folder(path.parent)


@contextlib.contextmanager
def scratch_file() -> Iterator[IO[bytes]]:
    """A nameless file for bytes that have to be read again in any order; gone when the block ends."""
    with tempfile.TemporaryFile() as file:
        yield file


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what another program has to read from disk. Gone, with all it holds, when the block ends."""
    with tempfile.TemporaryDirectory(prefix="distill-") as folder:
        yield Path(folder)


def link_into(scratch: Path, paths: Iterable[Path]) -> None:
    """Symbolic links to files and folders that another program is to find in a scratch folder, under their own names."""
    for path in paths:
        (scratch / path.name).symlink_to(path.resolve(), target_is_directory=path.is_dir())


class ScratchFolder:
    """A temporary folder that lives as long as this object: for results that somebody holds on to."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="distill-"))
        self._end = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def write_scratch(path: Path, data: bytes) -> None:
    """A file in a scratch folder: not synced, because nothing in there outlives its block."""
    with path.open("wb") as file:
        file.write(data)


def append_line(path: Path, line: bytes) -> None:
    """Appends one line durably, whole or not at all. `line` carries no newline of its own; the caller holds `locked(path)`."""
    if b"\n" in line:
        raise ValueError("a line cannot hold a newline")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        before = os.fstat(fd).st_size
        try:
            rest = memoryview(line + b"\n")
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, before)
            raise
        finally:
            os.close(fd)
        fsync_folder(path.parent)
    except OSError as error:
        raise commit_error(path, error) from error


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time, by an advisory lock on `<path>.lock`; the system drops it when a process dies.

    The others wait, or are refused with E-BUSY.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise commit_error(path, error) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DistillError(Code.BUSY, f"another process is at work on {path.name}", "Wait for it, or end it.") from error
        yield
    finally:
        os.close(fd)


def commit_error(path: Path, error: OSError) -> DistillError:
    return DistillError(
        Code.MANIFEST_COMMIT,
        f"could not write {path}: {error.strerror or error}",
        "Check disk space and permissions; nothing was left half-written.",
    )
