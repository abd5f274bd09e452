"""`distill evidence build`: source streams to evidence, row by row. Deterministic; every row is kept, known already, or skipped.

A row is known by its stream and its sig_hash, so the same row written again, in whatever spelling, adds nothing. A source that
has not changed is not read again; of one that has grown, only what is new. What stands is never edited: a partition is only
added to, and one that somebody changed is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pytest_distill import clock, storage
from pytest_distill.batch.canonical import NoCanonicalFormError, canonical
from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed
from pytest_distill.batch.ingest.strict_json import parse_object
from pytest_distill.contracts.evidence import Provenance, Skip, StreamState, Tally, Written
from pytest_distill.errors import Code, DistillError, one_line
from pytest_distill.pipelines.evidence import store
from pytest_distill.pipelines.evidence.transforms import Stream, UnusableRowError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.progress import Report

_TOLD_EVERY = 2000
_NOTHING = Tally(sha256=hashlib.sha256().hexdigest())


@dataclass(frozen=True)
class Built:
    """What became of one stream. rows = out + deduped + skipped, of the source as it stands; `stands` counts its evidence."""

    stream: str
    source: Path
    sha256: str
    rows: int
    out: int
    skipped: int
    stands: int

    @property
    def deduped(self) -> int:
        return self.rows - self.out - self.skipped


class Line(NamedTuple):
    """A line of a source: its number, where it begins, its bytes without the newline, how many it takes, whether it had one."""

    number: int
    offset: int
    data: bytes
    length: int
    whole: bool


def build(
    workspace: Workspace, streams: tuple[Stream, ...], folder: Path, *, rebuild: bool = False, report: Report | None = None
) -> list[Built]:
    """Materialises every stream whose file is there; `recorded_at` is the injected clock's.

    `rebuild` makes the evidence of streams whose transform has changed again, from their sources. Raises E-SOURCE-NOTFOUND when
    none of the files is there, E-STALE when a transform has changed, E-BATCH-CORRUPT when evidence was edited.
    """
    present = [stream for stream in streams if (folder / stream.file).is_file()]
    if not present:
        raise DistillError(
            Code.SOURCE, f"{folder} holds none of the streams {', '.join(s.name for s in streams)}", "Put <stream>.jsonl there."
        )
    sizes = [(folder / stream.file).stat().st_size for stream in present]
    built: list[Built] = []
    with storage.locked(store.state_folder(workspace) / "build"):
        for number, stream in enumerate(present):
            before = sum(sizes[:number])

            def tell(read: int, before: int = before, name: str = stream.name) -> None:
                if report is not None:
                    report(before + read, sum(sizes), name)

            built.append(_Materialising(workspace, stream, folder, tell).run(rebuild=rebuild))
    return built


def lines(path: Path, start: Tally, size: int) -> Iterator[Line]:
    """The lines of a source from the end of `start` up to byte `size`. Of one too long to keep, only the beginning is given."""
    with path.open("rb") as file:
        offset, number = start.bytes, start.lines
        file.seek(offset)
        while offset < size:
            data = piece = file.readline(min(size - offset, MAX_ROW_BYTES + 1))
            length = len(data)
            while piece and not piece.endswith(b"\n") and offset + length < size:
                piece = file.readline(min(size - offset - length, storage.CHUNK))
                length += len(piece)
            if not length:
                return
            number += 1
            yield Line(number, offset, data.removesuffix(b"\n"), length, piece.endswith(b"\n"))
            offset += length


def evidence_line(stream: Stream, line: Line, seen: set[bytes], recorded_at: str) -> bytes | None:
    """The evidence row of a source line; None when it is known already. Raises UnusableRowError."""
    if line.length > MAX_ROW_BYTES:
        raise UnusableRowError("malformed", f"{line.length:,} bytes in one line; at most {MAX_ROW_BYTES:,} are read")
    try:
        row = parse_object(line.data)
        digest = hashlib.sha256(canonical(row))
    except Malformed as error:
        raise UnusableRowError("malformed" if line.whole else "torn_line", error.message) from error
    except NoCanonicalFormError as error:
        raise UnusableRowError("no_canonical_form", str(error)) from error
    key = digest.digest()
    if key in seen:
        return None
    provenance = Provenance(
        source_file=stream.file,
        line_offset=line.offset,
        sig_hash=digest.hexdigest(),
        line_hash=storage.sha256_bytes(line.data),
        recorded_at=recorded_at,
    )
    written = store.line(stream.record(row, provenance))
    seen.add(key)
    return written


class _Materialising:
    """One stream's way into evidence."""

    def __init__(self, workspace: Workspace, stream: Stream, folder: Path, tell: Callable[[int], None]) -> None:
        self.stream, self.tell = stream, tell
        self.root = workspace.root
        self.source = folder / stream.file
        self.evidence = store.evidence_folder(workspace)
        self.skips = self.evidence / "skips" / f"{stream.name}.jsonl"
        self.state = store.state_folder(workspace) / f"{stream.name}.json"
        self.recorded_at = clock.timestamp()

    def run(self, *, rebuild: bool) -> Built:
        size = self.source.stat().st_size
        before = StreamState.load(self.state) if self.state.is_file() else None
        if before is not None and before.transform_sha256 != self.stream.sha256:
            if not rebuild:
                raise DistillError(
                    Code.STALE,
                    f"the transform of {self.stream.name} has changed since its evidence was made",
                    "--rebuild makes it again from the source.",
                )
            return self._again(before, size)
        if before is not None:
            self._refuse_edited(before)
            if self._unchanged(before, size):
                return self._built(before, out=0)
            if size < before.complete.bytes or store.digest_of(self.source, before.complete.bytes) != before.complete.sha256:
                before = None  # rotated or rewritten: all of it is read, what is known adds nothing
        return self._materialise(before.complete if before else _NOTHING, size, self._known())

    def _again(self, before: StreamState, size: int) -> Built:
        """Everything from the source, in place of what the old transform made of it."""
        if size < before.complete.bytes or store.digest_of(self.source, before.complete.bytes) != before.complete.sha256:
            raise DistillError(
                Code.STALE,
                f"the transform of {self.stream.name} has changed, and {self.source.name} no longer holds its old rows",
                "Bring the old rows back, or give the new transform a stream of its own name.",
            )
        old = self._partitions()
        self.state.unlink()
        for path in (*old, self.skips):
            path.unlink(missing_ok=True)
        return self._materialise(_NOTHING, size, set())

    def _materialise(self, start: Tally, size: int, seen: set[bytes]) -> Built:
        path = store.partition_path(self.evidence, self.recorded_at, self.stream.name)
        complete, rows, skipped = start, start.rows, list[Skip]()
        end = (start.bytes, start.lines, start.rows, start.skipped)
        with store.Appending(path) as file:
            for line in lines(self.source, start, size):
                if line.data.strip():
                    rows += 1
                    try:
                        written = evidence_line(self.stream, line, seen, self.recorded_at)
                    except UnusableRowError as error:
                        skipped.append(self._skip(line, error))
                    else:
                        if written is not None:
                            file.write(written)
                if line.whole:
                    end = (line.offset + line.length, line.number, rows, start.skipped + len(skipped))
                if line.number % _TOLD_EVERY == 0:
                    self.tell(line.offset)
        out = file.rows
        self._keep(skipped)
        if end[0] != start.bytes:
            complete = Tally(
                bytes=end[0], lines=end[1], rows=end[2], skipped=end[3], sha256=store.digest_of(self.source, end[0])
            )  # fmt: skip
        whole = Tally(
            bytes=size, lines=end[1], rows=rows, skipped=start.skipped + len(skipped),
            sha256=complete.sha256 if complete.bytes == size else store.digest_of(self.source, size),
        )  # fmt: skip
        state = StreamState(
            stream=self.stream.name,
            source_file=self.stream.file,
            transform_sha256=self.stream.sha256,
            complete=complete,
            whole=whole,
            outputs=tuple(self._written(each) for each in (*self._partitions(), *([self.skips] if self.skips.is_file() else []))),
        )
        state.write(self.state)
        return self._built(state, out=out)

    def _skip(self, line: Line, error: UnusableRowError) -> Skip:
        return Skip(
            source_file=self.stream.file,
            line=line.number,
            line_offset=line.offset,
            line_hash=storage.sha256_bytes(line.data),
            reason=error.reason,
            message=one_line(error.message)[:300],
            recorded_at=self.recorded_at,
        )

    def _keep(self, skipped: list[Skip]) -> None:
        """Adds skips that are not on record yet."""
        known = list(store.rows(self.skips, Skip)) if self.skips.is_file() else []
        keys = {(skip.line_offset, skip.line_hash) for skip in known}
        if new := [skip for skip in skipped if (skip.line_offset, skip.line_hash) not in keys]:
            with storage.atomic_file(self.skips) as file:
                file.writelines(store.line(skip) for skip in (*known, *new))

    def _partitions(self) -> list[Path]:
        return [p.path for p in store.partitions(self.evidence) if p.source == self.stream.name]

    def _known(self) -> set[bytes]:
        """The signatures of all evidence of this stream."""
        return {bytes.fromhex(row.provenance.sig_hash) for path in self._partitions() for row in store.records(path)}

    def _refuse_edited(self, state: StreamState) -> None:
        for written in state.outputs:
            if not store.holds(self.root / written.path, written):
                raise DistillError(
                    Code.BATCH_CORRUPT,
                    f"{written.path} is not what was written there",
                    f"Evidence is never edited. Remove it and {self.state.relative_to(self.root)} to make it again.",
                )

    def _unchanged(self, state: StreamState, size: int) -> bool:
        """Whether the source is as it was, and what was written stands with nothing added by a run that was cut off."""
        sizes = {written.path: written.bytes for written in state.outputs}
        standing = {path.relative_to(self.root).as_posix(): path.stat().st_size for path in self._partitions()}
        return (
            state.whole.bytes == size
            and all(sizes.get(name) == found for name, found in standing.items())
            and store.digest_of(self.source, size) == state.whole.sha256
        )

    def _written(self, path: Path) -> Written:
        size, rows = path.stat().st_size, 0
        with path.open("rb") as file:
            while piece := file.read(storage.CHUNK):
                rows += piece.count(b"\n")
        return Written(path=path.relative_to(self.root).as_posix(), bytes=size, rows=rows, sha256=store.digest_of(path, size))

    def _built(self, state: StreamState, *, out: int) -> Built:
        stands = sum(written.rows for written in state.outputs if "/skips/" not in written.path)
        return Built(
            stream=self.stream.name, source=self.source, sha256=state.whole.sha256, rows=state.whole.rows, out=out,
            skipped=state.whole.skipped, stands=stands,
        )  # fmt: skip
