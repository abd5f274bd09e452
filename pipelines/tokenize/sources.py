"""Where documents come from: raw files, read strictly and in order, or the rows of a sealed batch that its gates let pass."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_distill import storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.ingest.compression import compression_of, open_input
from pytest_distill.batch.ingest.formats import FORMATS, format_of, records
from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed, Record
from pytest_distill.contracts.manifest import BATCH_ID
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.contracts.tokens import TokenSource
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace

TEXT_SUFFIX = ".txt"
BOM = b"\xef\xbb\xbf"


class Document(NamedTuple):
    """One record's text. `done` counts the records of its source up to and with it; `line` and `offset` say where it stands."""

    text: str
    source: int
    done: int
    row_id: str
    line: int
    offset: int | None


class Sources(ABC):
    """What is to be tokenised: iterated again it gives the same documents. `identity` are the digests of what is read."""

    identity: tuple[TokenSource, ...]
    batch: Batch | None = None
    size: int

    @abstractmethod
    def documents(self, progress: Callable[[int], None] | None = None) -> Iterator[Document]:
        """Every record in order. `progress` is told how many bytes of `size` were read since the last call."""


@dataclass
class Files(Sources):
    """JSONL, JSON, CSV and Parquet, of which `field` is the text, and .txt with one document a line; each also .gz or .zst."""

    paths: Sequence[Path]
    field: str

    def __post_init__(self) -> None:
        """Reads every file once for its digest. Raises E-SOURCE-NOTFOUND, E-SOURCE-FORMAT, E-USAGE for a file given twice."""
        if not self.paths:
            raise DistillError(Code.SOURCE, "no file to tokenize", "Name files, or the id of a sealed batch.")
        places: set[tuple[int, int]] = set()
        found = []
        for path in self.paths:
            if not is_text(path):
                format_of(path)
            with open_input(path) as (source, _):
                if source.place in places:
                    raise DistillError(Code.USAGE, f"{path} is given twice", "Name every file once.")
                places.add(source.place)
            name = path.name.encode("utf-8", "backslashreplace").decode()
            found.append(TokenSource(name=name, sha256=storage.sha256_file(path), bytes=path.stat().st_size))
        self.identity = tuple(found)
        self.size = sum(source.bytes for source in found)

    def documents(self, progress: Callable[[int], None] | None = None) -> Iterator[Document]:
        """Raises E-SOURCE-FORMAT for the first record without a text; E-SOURCE-NOTFOUND for a file that changed meanwhile."""
        for number, (path, identity) in enumerate(zip(self.paths, self.identity, strict=True)):
            with open_input(path, progress) as (source, stream):
                found = text_lines(stream) if is_text(path) else records(path, source, stream)
                for done, record in enumerate(found, start=1):
                    yield self._document(record, number, done, identity.name)
                if source.sha256 != identity.sha256:
                    raise DistillError(Code.SOURCE, f"{path} changed while it was read", "Start again when nothing writes to it.")

    def _document(self, record: Record, source: int, done: int, name: str) -> Document:
        value = record.value
        if isinstance(value, Malformed):
            raise _unreadable(name, record.line, f"{value.reason.value} ({value.message})")
        text = value.get(self.field, Malformed)
        if type(text) is not str:
            has = ", ".join(repr(key[:40]) for key in list(value)[:12])
            what = f"has no {self.field!r} (it has {has})" if text is Malformed else f"{self.field!r} is no text"
            raise _unreadable(name, record.line, what)
        given = value.get("id")
        row_id = given if type(given) is str else str(given) if type(given) is int else f"{name}:{record.line}"
        return Document(text, source, done, row_id, record.line, record.offset)


class BatchRows(Sources):
    """The rows of a batch that its sealed run let pass, in order; `field` is the column of the text."""

    def __init__(self, workspace: Workspace, batch_id: str, field: str) -> None:
        """Raises E-BATCH-NOTFOUND, E-UNSEALED and whatever else a seal that does not hold raises, E-COLUMN."""
        from pytest_distill.release.export import rejected_rows
        from pytest_distill.release.runs import sealed_run

        self.batch: Batch = open_batch(workspace.batch_folder(batch_id))
        self.field = field
        self._rejected = rejected_rows(sealed_run(workspace, self.batch))
        columns = {column.name: column for column in self.batch.manifest.columns}
        if field not in columns or columns[field].type != "string" or columns[field].nulls != "never":
            texts = ", ".join(name for name, column in columns.items() if column.type == "string")
            raise DistillError(
                Code.COLUMN, f"{batch_id} has no column {field!r} of texts", f"Its columns of text: {texts}. --text-field NAME"
            )
        self.size = sum(self.batch.shard_path(shard).stat().st_size for shard in self.batch.manifest.shards)
        self.identity = (TokenSource(name=batch_id, sha256=self.batch.sha256, bytes=self.size),)

    def documents(self, progress: Callable[[int], None] | None = None) -> Iterator[Document]:
        rejected = frozenset(self._rejected.tolist())
        has_id = "id" in self.batch.column_names
        position = done = 0
        for shard in self.batch.manifest.shards:
            frame = self.batch.read_shard(shard, [self.field, *(["id"] if has_id else [])])
            ids: list[Any] = frame["id"].to_list() if has_id else [None] * frame.height
            for text, row_id in zip(frame[self.field].to_list(), ids, strict=True):
                if position not in rejected:
                    done += 1
                    name = f"{self.batch.id}:{position + 1}" if row_id is None else str(row_id)
                    yield Document(text, 0, done, name, position + 1, None)
                position += 1
            if progress is not None:
                progress(self.batch.shard_path(shard).stat().st_size)


def sources(names: Sequence[str], workspace: Callable[[], Workspace], field: str) -> Sources:
    """Files; or the sealed batch, where the one name is that of no file and has no suffix of one. Raises what the two raise."""
    paths = [Path(name) for name in names]
    if len(paths) == 1 and not paths[0].exists() and BATCH_ID.fullmatch(names[0]) and not _known_suffix(paths[0]):
        return BatchRows(workspace(), names[0], field)
    return Files(paths, field)


def _known_suffix(path: Path) -> bool:
    return is_text(path) or Path(compression_of(path)[1]).suffix.lower() in FORMATS


def is_text(path: Path) -> bool:
    return compression_of(path)[1].lower().endswith(TEXT_SUFFIX)


def text_lines(stream: io.BufferedReader) -> Iterator[Record]:
    """Plain text: every line is a document, without its line end. Only a newline ends one (and a carriage return before it)."""
    line = offset = 0
    while data := stream.readline(MAX_ROW_BYTES + 1):
        line += 1
        value: dict[str, Any] | Malformed
        if len(data) > MAX_ROW_BYTES:
            value = Malformed(Reason.TOO_LONG, f"a line of more than {MAX_ROW_BYTES:,} bytes")
        elif line == 1 and data.startswith(BOM):
            value = Malformed(Reason.BYTE_ORDER_MARK, "the file begins with a byte order mark")
        else:
            try:
                value = {"text": data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")}
            except UnicodeDecodeError as error:
                value = Malformed(Reason.INVALID_UTF8, f"no UTF-8 at byte {error.start}")
        yield Record(line, offset, data, value)
        offset += len(data)


def _unreadable(name: str, line: int, what: str) -> DistillError:
    hint = "Mend that row, or `distill ingest` first: it quarantines such rows, with their reasons."
    return DistillError(Code.FORMAT, f"{name}, line {line}: {what}", hint)
