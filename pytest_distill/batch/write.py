"""Writing a batch: rows in, a folder out, whole or not at all. Ingest and every pipeline write through here.

Memory is bounded by one shard: rows are buffered until SHARD_ROWS or SHARD_BYTES, typed, and written; shards whose columns
turn out differently from the batch's as a whole are rewritten at the end, one at a time. The bytes are a function of the rows
and the facts alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_distill import clock, storage
from pytest_distill.batch import columns, digest
from pytest_distill.batch.batch import CREATED, MANIFEST, QUARANTINE, UNHASHED, Batch, open_batch
from pytest_distill.contracts.manifest import (
    FILE_NAME,
    LINE_COLUMN,
    OFFSET_COLUMN,
    REQUIRED_COLUMNS,
    SOURCE_COLUMN,
    Attachment,
    Column,
    Counts,
    Created,
    Manifest,
    Shard,
    Source,
)
from pytest_distill.contracts.quarantine import QUARANTINE_SCHEMA
from pytest_distill.errors import Code, DistillError, one_line

RESERVED = "distill_"
SHARD_ROWS = 8192
SHARD_BYTES = 32 << 20
MAX_ORIGINAL = 1 << 20
_POSITIONS = ((SOURCE_COLUMN, pa.int32()), (LINE_COLUMN, pa.int64()), (OFFSET_COLUMN, pa.int64()))
_SHARD_NAME = re.compile(r"(?:rows|candidates)-\d+\.parquet")
_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": False,
    "write_statistics": False,
    "write_page_checksum": True,
    "store_schema": False,
}


class _Chunk(NamedTuple):
    rows: int
    traits: dict[str, columns.Trait]


# What an attachment holds: bytes, or what makes them of the files of the batch that stand already.
Content = bytes | Callable[[tuple[Shard | Attachment, ...]], bytes]


class _Abandoned(Exception):  # noqa: N818 - unwinds the staging folder, never seen outside
    pass


class BatchWriter:
    """Writes one batch.

        with BatchWriter(folder, id=…, kind=…, origin="generated", what=…, why=…, how=How(…), planned=100) as writer:
            source = writer.begin_source("prompts.jsonl")
            writer.add({"id": …, "instruction": …, "response": …}, line=1, offset=0)
            writer.reject(by="…", reason="…", line=2, offset=80, message="…", original=b"…")
            writer.end_source(sha256=…, size=…)
            writer.add_candidate({…})                 # generated batches: every candidate, kept or not
            writer.attach("session_manifest.json", …)  # files of the pipeline's own, listed and hashed with the rest
            batch = writer.finish()

    `facts` are the manifest's fields besides what is counted here. Leaving the block without `finish()`, for whatever reason,
    leaves nothing. Raises E-BATCH-EXISTS when the folder is taken.
    """

    def __init__(self, folder: Path, *, planned: int | None = None, command: Sequence[str] = (), **facts: Any) -> None:
        self.folder = folder
        self.rows = self.rejected = 0
        self.reasons: Counter[str] = Counter()
        self._planned = planned
        self._command = tuple(command)
        self._facts = facts
        self._stack = ExitStack()
        self._sources: list[Source] = []
        self._source = ""
        self._at_source = (0, 0)
        self._table = _Table("rows", _POSITIONS)
        self._candidates = _Table("candidates", ())
        self._attached: dict[str, Content] = {}
        self._quarantine = _Quarantine()

    def __enter__(self) -> Self:
        self._refuse_taken()
        self._staging = self._stack.enter_context(storage.atomic_folder(self.folder))
        self._table.folder = self._candidates.folder = self._staging
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._quarantine.abandon()
        unfinished = _Abandoned() if error is None else error
        self._stack.__exit__(type(unfinished), unfinished, trace)

    def begin_source(self, name: str) -> int:
        """The rows that follow come from this file. Returns its index in the manifest."""
        self._source = name
        self._at_source = (self.rows, self.rejected)
        return len(self._sources)

    def end_source(self, *, sha256: str, size: int) -> Source:
        kept, rejected = self.rows - self._at_source[0], self.rejected - self._at_source[1]
        source = Source(
            name=self._source, sha256=sha256, bytes=size, rows_read=kept + rejected, rows_kept=kept, rows_quarantined=rejected
        )  # fmt: skip
        self._sources.append(source)
        return source

    def add(self, row: dict[str, Any], *, line: int, offset: int | None, size: int = 0) -> None:
        """Keeps a row (not copied: leave it alone afterwards). `size` is about how many bytes it holds in memory."""
        self._table.add(row, (len(self._sources), line, offset), size)
        self.rows += 1

    def add_shard(self, table: pa.Table, carried: Sequence[Column], made: Sequence[dict[str, Any]]) -> None:
        """Keeps rows of another batch as one shard: columns and positions go over as they are, those of `made` stand beside them.

        `table` holds the data columns `carried`, as their own manifest describes them, and the positions. The batch's sources are
        given once, to `carry_sources`.
        """
        self._table.add_table(table, carried, made)
        self.rows += table.num_rows

    def carry_sources(self, sources: Sequence[Source]) -> None:
        """The sources of a batch whose rows came through `add_shard`, counted by whoever read them."""
        self._sources.extend(sources)

    def add_candidate(self, candidate: dict[str, Any], *, size: int = 0) -> None:
        """Stores a candidate, kept or not, in shards of their own: what a gate needs to take the figures of a run again."""
        self._candidates.add(candidate, (), size)

    def attach(self, name: str, content: Content) -> None:
        """A file of the pipeline's own. A function gets the files that stand before it, shards first, and gives the bytes."""
        taken = name in self._attached or name in (MANIFEST, CREATED, QUARANTINE, digest.SUMS)
        if taken or _SHARD_NAME.fullmatch(name) or not FILE_NAME.fullmatch(name):
            raise DistillError(
                Code.USAGE, f"{name!r} cannot be attached: the batch has a file of that name, or it is none", "Take another name."
            )
        self._attached[name] = content

    def reject(
        self,
        *,
        by: str,
        reason: str,
        line: int,
        offset: int | None,
        message: str,
        original: bytes = b"",
        sha256: str | None = None,
        row_id: str | None = None,
        source: str | None = None,
    ) -> None:
        """Quarantines a row that never enters the batch. `sha256` stands for bytes that were too many to pass on.

        `source` is the file it came from, where that is not the source that was begun.
        """
        self.rejected += 1
        self.reasons[reason] += 1
        if self._quarantine.file is None:
            self._quarantine.open(self._stack, self._staging / QUARANTINE)
        self._quarantine.add(
            {
                "by": by,
                "reason": reason,
                "row": None,
                "id": row_id,
                "source": self._source if source is None else source,
                "line": line,
                "offset": offset,
                "message": one_line(message)[:500],
                "original": original if sha256 is None and len(original) <= MAX_ORIGINAL else None,
                "original_sha256": sha256 or storage.sha256_bytes(original),
            }
        )

    def finish(self, **facts: Any) -> Batch:
        """Writes manifest and sums, makes the folder appear, and opens it (which checks every byte). `facts` are fields of the
        manifest that are known only now."""
        self._facts |= facts
        rejected = self._quarantine.close()
        unified, shards = self._table.settle()
        self._check(unified)
        candidate_columns, candidates = self._candidates.settle()
        attachments: tuple[Attachment, ...] = ()
        for name, content in self._attached.items():
            data = content if isinstance(content, bytes) else content((*shards, *candidates, *attachments))
            storage.write_bytes(self._staging / name, data)
            attachments += (Attachment(path=name, sha256=storage.sha256_bytes(data)),)
        manifest = Manifest(
            **self._facts,
            counts=Counts(planned=self._planned, read=self.rows + self.rejected, kept=self.rows, quarantined=self.rejected),
            columns=unified,
            sources=tuple(self._sources),
            shards=shards,
            quarantine=_shard(self._staging / QUARANTINE, rejected) if rejected else None,
            candidates=candidates,
            candidate_columns=candidate_columns,
            attachments=attachments,
        )
        manifest.write(self._staging / MANIFEST)
        Created(created_at=clock.timestamp(), where=str(self.folder), command=self._command).write(self._staging / CREATED)
        digest.write_sums(self._staging, unhashed=UNHASHED)
        self._refuse_taken()
        self._stack.close()
        return open_batch(self.folder)

    def _check(self, unified: tuple[Column, ...]) -> None:
        """The kind's own columns are text in every row: whoever calls `add` has seen to it."""
        found = {column.name: column for column in unified}
        for name in REQUIRED_COLUMNS.get(str(self._facts.get("kind")), ()):
            column = found.get(name)
            if self.rows and (column is None or column.type != "string" or column.nulls != "never"):
                raise DistillError(Code.KIND, f"{name!r} is not text in every row", "A row without it belongs into quarantine.")

    def _refuse_taken(self) -> None:
        if self.folder.exists():
            raise DistillError(
                Code.BATCH_EXISTS, f"there is a batch {self.folder.name} already", "Batches are never edited; take another id."
            )


def shard_name(number: int, prefix: str = "rows") -> str:
    return f"{prefix}-{number:05d}.parquet"


def _shard(path: Path, rows: int) -> Shard:
    return Shard(path=path.name, rows=rows, sha256=storage.sha256_file(path))


class _Table:
    """Shards of one kind: rows are typed and written as they come, and settled on the batch's columns at the end.

    `extra` are columns whose values come beside the row, with their types.
    """

    def __init__(self, prefix: str, extra: tuple[tuple[str, pa.DataType], ...]) -> None:
        self.folder = Path()
        self._prefix, self._extra = prefix, extra
        self._buffer: list[dict[str, Any]] = []
        self._beside: list[tuple[Any, ...]] = []
        self._size = 0
        self._chunks: list[_Chunk] = []

    def add(self, row: dict[str, Any], beside: tuple[Any, ...], size: int) -> None:
        self._buffer.append(row)
        self._beside.append(beside)
        self._size += size
        if len(self._buffer) == SHARD_ROWS or self._size >= SHARD_BYTES:
            self._flush()

    def add_table(self, table: pa.Table, carried: Sequence[Column], made: Sequence[dict[str, Any]]) -> None:
        self._flush()
        traits, arrays = columns.encode(made)
        self._refuse_reserved(traits)
        beside = [name for name, _ in self._extra]
        kept = {column.name: columns.carried(column) for column in carried}
        if twice := next((name for name in traits if name in kept), None):
            raise DistillError(Code.COLUMN, f"there is a column {twice!r} already", "Rows are never edited; take another name.")
        values = {name: table.column(name).combine_chunks() for name in (*kept, *beside)}
        self._write(
            len(self._chunks), {**{name: values[name] for name in kept}, **arrays, **{name: values[name] for name in beside}}
        )
        self._chunks.append(_Chunk(table.num_rows, {**kept, **traits}))

    def settle(self) -> tuple[tuple[Column, ...], tuple[Shard, ...]]:
        """The columns of all shards, and the shards, those rewritten that are not yet of these columns."""
        self._flush()
        unified = columns.unify(chunk.traits for chunk in self._chunks)
        return unified, tuple(self._settle(number, chunk, unified) for number, chunk in enumerate(self._chunks))

    def _flush(self) -> None:
        if not self._buffer:
            return
        traits, arrays = columns.encode(self._buffer)
        self._refuse_reserved(traits)
        for index, (name, arrow) in enumerate(self._extra):
            arrays[name] = pa.array([beside[index] for beside in self._beside], arrow)
        self._write(len(self._chunks), arrays)
        self._chunks.append(_Chunk(len(self._buffer), traits))
        self._buffer, self._beside, self._size = [], [], 0

    @staticmethod
    def _refuse_reserved(names: Iterable[str]) -> None:
        if reserved := next((name for name in names if name.startswith(RESERVED)), None):
            raise DistillError(
                Code.COLUMN, f"the column name {reserved!r} is reserved", f"Names that begin with {RESERVED} are ours."
            )

    def _write(self, number: int, arrays: dict[str, pa.Array]) -> None:
        fields = [pa.field(name, array.type, nullable=True) for name, array in arrays.items()]
        table = pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields))
        with storage.atomic_file(self.folder / shard_name(number, self._prefix)) as file:
            pq.write_table(table, file, **_OPTIONS)

    def _settle(self, number: int, chunk: _Chunk, unified: tuple[Column, ...]) -> Shard:
        """Rewrites a shard whose columns are not yet the batch's."""
        path = self.folder / shard_name(number, self._prefix)
        same = list(chunk.traits) == [column.name for column in unified] and all(
            (chunk.traits[column.name].type or "string") == column.type for column in unified
        )
        if not same:
            with pq.ParquetFile(path) as file:
                table = file.read()
            arrays = {
                column.name: columns.convert(
                    table.column(column.name).combine_chunks() if column.name in chunk.traits else None,
                    chunk.traits.get(column.name),
                    column,
                    chunk.rows,
                )
                for column in unified
            }
            for name, _ in self._extra:
                arrays[name] = table.column(name).combine_chunks()
            self._write(number, arrays)
        return _shard(path, chunk.rows)


class _Quarantine:
    """quarantine.parquet, written as entries come."""

    def __init__(self) -> None:
        self.file: ExitStack | None = None
        self._writer: pq.ParquetWriter | None = None
        self._entries: list[dict[str, Any]] = []
        self._size = self._count = 0

    def open(self, stack: ExitStack, path: Path) -> None:
        self.file = stack.enter_context(ExitStack())
        handle: IO[bytes] = self.file.enter_context(storage.atomic_file(path))
        self._writer = pq.ParquetWriter(handle, QUARANTINE_SCHEMA, **_OPTIONS)

    def add(self, entry: dict[str, Any]) -> None:
        self._entries.append(entry)
        self._size += len(entry["original"] or b"")
        self._count += 1
        if len(self._entries) == SHARD_ROWS or self._size >= SHARD_BYTES:
            self._flush()

    def close(self) -> int:
        if self._writer is not None and self.file is not None:
            self._flush()
            self._writer.close()
            self.file.close()
        return self._count

    def abandon(self) -> None:
        if self._writer is not None and self._writer.is_open:
            with suppress(OSError, ValueError):  # the file is thrown away: only the handle matters
                self._writer.close()

    def _flush(self) -> None:
        assert self._writer is not None
        if self._entries:
            self._writer.write_table(pa.Table.from_pylist(self._entries, QUARANTINE_SCHEMA))
        self._entries, self._size = [], 0
