"""Where evidence and scores lie in a workspace, and how they are read.

streams/<source>.jsonl                    what agents logged: the input
evidence/YYYY/MM/DD/<source>.jsonl        EvidenceRecord rows, by the day they were materialised; only ever added to
evidence/skips/<source>.jsonl             rows that became no evidence, with reasons
scored-runs/YYYY/MM/DD/<source>.jsonl     one ScoredRun for each evidence row, in the same order
scored-runs/model-ledger.jsonl            ModelLedgerEntry rows
.distill/evidence/                        what was read and written, so that what has not changed is not done again
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self, TypeVar

from pydantic import ValidationError

from pytest_distill import storage
from pytest_distill.contracts.base import Contract, first_problem
from pytest_distill.contracts.evidence import EvidenceRecord, Written
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace

_DAY = re.compile(r"\d{4}/\d\d/\d\d/[A-Za-z0-9][A-Za-z0-9_-]*\.jsonl")
_Row = TypeVar("_Row", bound=Contract)


class Partition(NamedTuple):
    """One file of evidence or of scores."""

    path: Path
    day: str
    source: str


def streams_folder(workspace: Workspace) -> Path:
    return workspace.root / "streams"


def evidence_folder(workspace: Workspace) -> Path:
    return workspace.root / "evidence"


def scored_folder(workspace: Workspace) -> Path:
    return workspace.root / "scored-runs"


def state_folder(workspace: Workspace) -> Path:
    return workspace.state / "evidence"


def partitions(folder: Path) -> list[Partition]:
    """Every file of rows below `folder`, by day, then by source."""
    found = []
    for path in folder.glob("[0-9]*/[0-9]*/[0-9]*/*.jsonl"):
        name = path.relative_to(folder).as_posix()
        if _DAY.fullmatch(name):
            found.append(Partition(path, name[:10], path.stem))
    return sorted(found, key=lambda partition: (partition.day, partition.source))


def partition_path(folder: Path, recorded_at: str, source: str) -> Path:
    """Where rows materialised at `recorded_at` (ISO 8601) go."""
    return folder / recorded_at[:4] / recorded_at[5:7] / recorded_at[8:10] / f"{source}.jsonl"


def rows(path: Path, model: type[_Row]) -> Iterator[_Row]:
    """The rows of one file of ours. Raises E-MANIFEST with the line where one is not what we write."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield model.model_validate_json(line)
            except ValidationError as error:
                raise DistillError(
                    Code.MANIFEST, f"{path.name}:{number}: {first_problem(error)}", "It was not written by this release."
                ) from error


def records(path: Path) -> Iterator[EvidenceRecord]:
    return rows(path, EvidenceRecord)


def line(model: Contract) -> bytes:
    """One row of JSONL: fields in the model's order, what is unset left out, one newline."""
    return model.__pydantic_serializer__.to_json(model, by_alias=True, exclude_none=True) + b"\n"


def digest_of(path: Path, size: int) -> str:
    """Hex SHA-256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(storage.CHUNK, size))):
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest()


def holds(path: Path, written: Written) -> bool:
    """Whether a file still begins with what we wrote into it."""
    try:
        return path.stat().st_size >= written.bytes and digest_of(path, written.bytes) == written.sha256
    except FileNotFoundError:
        return False


class Appending:
    """Rows added to a file that appears, or changes, only when the block ends without an error, and only if there is a row."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path, self.rows = path, 0
        self._fresh = fresh
        self._stack = contextlib.ExitStack()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, row: bytes) -> None:
        if self._file is None:
            self._file = self._stack.enter_context(storage.atomic_file(self.path))
            if self.path.is_file() and not self._fresh:
                with self.path.open("rb") as old:
                    self._file.writelines(iter(lambda: old.read(storage.CHUNK), b""))
        self._file.write(row)
        self.rows += 1
