"""Where documents come from: files of rows, text files, Hugging Face datasets on disk, batches. Each is read in order."""

from __future__ import annotations

import glob
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.ingest.compression import compression_of, open_input
from pytest_distill.batch.ingest.formats import FORMATS, records
from pytest_distill.batch.ingest.jsonl import skip_line
from pytest_distill.batch.ingest.parquet import converter
from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed, Record
from pytest_distill.batch.ingest.strict_json import parse_object
from pytest_distill.batch.rows import json_lines
from pytest_distill.contracts.manifest import BATCH_ID
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.preprocess.config import Config
from pytest_distill.policy.workspace import Workspace

TEXT = ".txt"
ARROW = ".arrow"
_STATE, _SPLITS = "state.json", "dataset_dict.json"  # of a dataset, and of several splits, as `save_to_disk` writes them


class Reading(NamedTuple):
    """A source while it is read. `sha256` and `size` are of the bytes read so far."""

    records: Iterator[Record]
    sha256: Callable[[], str]
    size: Callable[[], int]


class Source(NamedTuple):
    """`name` is what manifests call it, `folder` where it lies, `size` its bytes on disk; `parent` a batch's digest."""

    name: str
    folder: str
    size: int
    open: Callable[[Callable[[int], None] | None], AbstractContextManager[Reading]]
    parent: str | None = None


def resolve(arguments: Sequence[str], workspace: Workspace, config: Config) -> list[Source]:
    """The sources that the arguments name: paths, shell patterns, dataset folders, batch ids. In order, each once.

    Raises E-SOURCE-NOTFOUND where nothing answers to an argument, E-SOURCE-FORMAT for a file of no known format, E-USAGE.
    """
    found: list[Source] = []
    for argument in arguments:
        if glob.has_magic(argument) and not Path(argument).exists():
            paths = sorted(glob.glob(argument, recursive=True))
            if not paths:
                raise DistillError(Code.SOURCE, f"no file matches {argument!r}", "Check the pattern.")
            found += [source for path in paths if Path(path).is_file() for source in _of_path(Path(path), config)]
        elif Path(argument).exists():
            found += _of_path(Path(argument), config)
        elif BATCH_ID.fullmatch(argument) and workspace.batch_folder(argument).is_dir():
            found.append(_of_batch(open_batch(workspace.batch_folder(argument))))
        else:
            hint = "Name files, a shell pattern, a dataset folder or the id of a batch."
            raise DistillError(Code.SOURCE, f"{argument!r} is no file here and no batch of this workspace", hint)
    if not found:
        raise DistillError(Code.SOURCE, "there is no source to read", "Name files, a dataset folder or the id of a batch.")
    return _named(found)


def _named(sources: list[Source]) -> list[Source]:
    """Refuses a file given twice; the second source of one name is `name#2`."""
    counts: dict[str, int] = {}
    places: set[tuple[str, str]] = set()
    named = []
    for source in sources:
        if (source.folder, source.name) in places:
            raise DistillError(Code.USAGE, f"{source.name} is given twice", "Name every source once.")
        places.add((source.folder, source.name))
        counts[source.name] = count = counts.get(source.name, 0) + 1
        named.append(source._replace(name=f"{source.name}#{count}") if count > 1 else source)
    return named


def _of_path(path: Path, config: Config) -> list[Source]:
    if path.is_dir():
        return _of_dataset(path, config)
    _, name = compression_of(path)
    suffix = Path(name).suffix.lower()
    if suffix not in (*FORMATS, TEXT, ARROW):
        known = ", ".join((*FORMATS, TEXT))
        raise DistillError(Code.FORMAT, f"{path.name}: the name tells no format", f"Known are {known}, each also .gz or .zst.")

    @contextmanager
    def opened(progress: Callable[[int], None] | None) -> Iterator[Reading]:
        with open_input(path, progress) as (source, stream):
            if suffix == TEXT:
                found = _lines(stream) if config.text_files == "line" else _document(stream)
            else:
                found = _arrow(stream, path.name) if suffix == ARROW else records(path, source, stream)
            yield Reading(found, lambda: source.sha256, lambda: source.consumed)

    return [Source(_printable(path.name), str(path.parent.resolve()), path.stat().st_size, opened)]


def _of_dataset(path: Path, config: Config) -> list[Source]:
    """The files of a dataset that `Dataset.save_to_disk` wrote, or of one split of a `DatasetDict`."""
    if (path / _SPLITS).is_file():
        splits = _listed(path / _SPLITS, "splits")
        split = config.split or (splits[0] if len(splits) == 1 else None)
        if split is None or split not in splits:
            said = f"has no split {split!r}" if split else "has several splits"
            raise DistillError(Code.SOURCE, f"{path} {said}", f"Say which: --split {'|'.join(splits)}.")
        return _of_dataset(path / split, config)
    if not (path / _STATE).is_file():
        hint = "Name the files in it with a shell pattern."
        raise DistillError(Code.SOURCE, f"{path} is a folder, and no dataset that `save_to_disk` wrote", hint)
    names = [file["filename"] for file in _listed(path / _STATE, "_data_files")]
    sources = []
    for name in names:
        if Path(name).name != name or not (path / name).is_file():
            raise DistillError(Code.SOURCE, f"{path}: the dataset lists {name!r}, which is not there", "Save it again.")
        (source,) = _of_path(path / name, config)
        sources.append(source._replace(name=f"{_printable(path.name)}/{source.name}"))
    return sources


def _listed(path: Path, key: str) -> Any:
    try:
        return parse_object(path.read_bytes())[key]
    except (Malformed, KeyError) as error:
        raise DistillError(Code.FORMAT, f"{path} does not say {key!r}", "Save the dataset again.") from error


def _of_batch(batch: Batch) -> Source:
    """The rows of a batch, checked when it was opened. A row's line is its position in the batch."""

    @contextmanager
    def opened(progress: Callable[[int], None] | None) -> Iterator[Reading]:
        yield Reading(_batch_rows(batch, progress), lambda: batch.sha256, lambda: size)

    size = sum(batch.shard_path(shard).stat().st_size for shard in batch.manifest.shards)
    return Source(batch.id, str(batch.folder), size, opened, parent=batch.sha256)


def _batch_rows(batch: Batch, progress: Callable[[int], None] | None) -> Iterator[Record]:
    row = 0
    for shard in batch.manifest.shards:
        frame = batch.read_shard(shard, batch.column_names)
        for line in json_lines(frame, batch.manifest.columns):
            row += 1
            yield Record(row, None, line, parse_object(line))
        if progress is not None:
            progress(batch.shard_path(shard).stat().st_size)


def _document(stream: io.BufferedReader) -> Iterator[Record]:
    """A text file as one document."""
    data = stream.read(MAX_ROW_BYTES + 1)
    if len(data) > MAX_ROW_BYTES:
        error, _ = skip_all(stream, data)
        yield Record(1, 0, b"", error)
    else:
        yield _text(1, 0, data)


def skip_all(stream: io.BufferedReader, begun: bytes) -> tuple[Malformed, int]:
    """A document that is too long to keep: its digest stands for it."""
    import hashlib

    digest, size = hashlib.sha256(begun), len(begun)
    while piece := stream.read(1 << 20):
        digest.update(piece)
        size += len(piece)
    message = f"a document of {size:,} bytes; at most {MAX_ROW_BYTES:,} are read"
    return Malformed(Reason.TOO_LONG, message, sha256=digest.hexdigest()), size


def _lines(stream: io.BufferedReader) -> Iterator[Record]:
    """A text file with a document a line. Blank lines are no documents."""
    line = offset = 0
    while data := stream.readline(MAX_ROW_BYTES + 1):
        line += 1
        if len(data) > MAX_ROW_BYTES and not data.endswith(b"\n"):
            error, size = skip_line(stream, data)
            yield Record(line, offset, b"", error)
            offset += size
            continue
        if not data.isspace():
            yield _text(line, offset, data.removesuffix(b"\n").removesuffix(b"\r"))
        offset += len(data)


def _text(line: int, offset: int, data: bytes) -> Record:
    try:
        return Record(line, offset, data, {"text": data.decode("utf-8")})
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} is no UTF-8 (0x{data[error.start]:02x})"
        return Record(line, offset, data, Malformed(Reason.INVALID_UTF8, message))


def _arrow(stream: io.BufferedReader, name: str) -> Iterator[Record]:
    """The rows of an Arrow stream, as `datasets` stores them."""
    row = 0
    try:
        with pa.ipc.open_stream(stream) as opened:
            convert = [converter(field.name, field.type, name) for field in opened.schema]
            names = opened.schema.names
            for batch in opened:
                batch.validate(full=True)
                values = [function(column) for function, column in zip(convert, batch.columns, strict=True)]
                for items in zip(*values, strict=True):
                    row += 1
                    yield _checked(row, dict(zip(names, items, strict=True)))
    except (OSError, pa.ArrowException) as error:
        raise DistillError(Code.FORMAT, f"{name} does not read as Arrow: {error}", "Save the dataset again.") from error
    while stream.read(1 << 20):  # to the file's end, so that its digest is of all of it
        pass


def _checked(row: int, value: dict[str, Any]) -> Record:
    """orjson writes NaN as null, so what differs after a round trip holds a number that is no JSON."""
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        return Record(row, None, b"", Malformed(Reason.WRONG_TYPE, str(error)))
    if b"null" in text and orjson.loads(text) != value:
        return Record(row, None, text, Malformed(Reason.NON_FINITE_NUMBER, "NaN or Infinity is no JSON number"))
    return Record(row, None, text, value)


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
