"""A folder's digest: SHA256SUMS in coreutils format over every file, and the SHA-256 of that list.

`sha256sum -c SHA256SUMS` checks the bytes; `check` also refuses files that are not on the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n\\]+)")


def files_below(folder: Path) -> list[str]:
    """Relative names of all files below `folder`, sorted. Symbolic links are refused: they could point anywhere."""
    names = []
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise DistillError(Code.BATCH_CORRUPT, f"{path} is a symbolic link", "Batches and exports hold plain files only.")
        if path.is_file():
            names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def write_sums(folder: Path, *, unhashed: Iterable[str] = ()) -> str:
    """Writes SHA256SUMS over every file but `unhashed`; returns the folder's digest."""
    skip = {SUMS, *unhashed}
    lines = [f"{storage.sha256_file(folder / name)}  {name}\n" for name in files_below(folder) if name not in skip]
    data = "".join(lines).encode()
    storage.write_bytes(folder / SUMS, data)
    return storage.sha256_bytes(data)


def read_sums(folder: Path) -> dict[str, str]:
    """Name -> hex digest, as SHA256SUMS says. Raises E-BATCH-CORRUPT when it is missing or malformed."""
    path = folder / SUMS
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DistillError(
            Code.BATCH_CORRUPT, f"{path} cannot be read", "Nothing vouches for these bytes; make the batch again."
        ) from error
    sums: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        name = match.group(2) if match else ""
        if not match or name in sums or name.startswith("/") or ".." in name.split("/"):
            raise DistillError(Code.BATCH_CORRUPT, f"{path} has a malformed line {line!r}", "Make the batch again.")
        sums[name] = match.group(1)
    return sums


def check(folder: Path, *, unhashed: Iterable[str] = ()) -> str:
    """Recomputes every sum and compares the file list; returns the folder's digest.

    Raises E-BATCH-CORRUPT naming the first file that is changed, missing, or not on the list.
    """
    sums = read_sums(folder)
    extra = {SUMS, *unhashed}
    present = [name for name in files_below(folder) if name not in extra]
    for name in sorted({*sums, *present}):
        if name not in sums:
            raise DistillError(
                Code.BATCH_CORRUPT, f"{folder.name}: {name} is not in {SUMS}", "A batch is never edited; make a new one."
            )
        if name not in present:
            raise DistillError(Code.BATCH_CORRUPT, f"{folder.name}: {name} is missing", "Restore it or make the batch again.")
        if storage.sha256_file(folder / name) != sums[name]:
            raise DistillError(
                Code.BATCH_CORRUPT, f"{folder.name}: {name} was changed", "A batch is never edited; make a new one."
            )
    return storage.sha256_file(folder / SUMS)
