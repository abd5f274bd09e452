"""`ingest`: files to a batch. Rows in = rows kept + rows quarantined, and every quarantined one with its place and bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, get_args

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.ingest import chats, record_schema
from pytest_distill.batch.ingest.compression import Input, open_input
from pytest_distill.batch.ingest.formats import format_of, records
from pytest_distill.batch.ingest.kinds import INGESTED_KINDS, RowCheck, check_mapping, infer
from pytest_distill.batch.ingest.records import Malformed, Record
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.manifest import REQUIRED_COLUMNS, Authorization, CostClass, How, Manifest
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace

BY = "ingest"
Cost = Literal["low", "med", "high"]
_SAMPLE_ROWS = 1000
_SAMPLE_MOST = 20_000
_SAMPLE_BYTES = 8 << 20


def ingest(
    files: Sequence[Path],
    workspace: Workspace,
    batch_id: str,
    *,
    kind: str | None = None,
    mapping: Mapping[str, str] | None = None,
    chat: str | None = None,
    schema: Path | None = None,
    what: str | None = None,
    why: str | None = None,
    planned: int | None = None,
    cost_class: Cost = "low",
    justification: str | None = None,
    authorized_by: str | None = None,
    command: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Batch:
    """Reads `files` in order into the new batch `batch_id`.

    `kind` None: told from the columns. `mapping`: new name -> name in the files. `chat`: the column (under its new name) with a
    list of turns, of which an instruction and a response are made; rows that are more than that are quarantined. `progress` is
    told how many bytes of the files were read since the last call. A row without an id gets `<file>:<line>`.

    Raises E-BATCH-EXISTS, E-SOURCE-NOTFOUND (no file, or no row kept), E-SOURCE-FORMAT, E-COLUMN, E-KIND, E-USAGE or E-LEDGER;
    then nothing was written.
    """
    folder = workspace.batch_folder(batch_id)
    if folder.exists():
        raise DistillError(
            Code.BATCH_EXISTS, f"there is a batch {batch_id} already", "Batches are never edited; take another id."
        )
    mapping = dict(mapping or {})
    check_mapping(mapping)
    cost = _cost(cost_class, justification, authorized_by)
    if kind is not None and kind not in INGESTED_KINDS:
        raise DistillError(Code.KIND, f"{kind!r} is no kind of rows", f"Kinds are {', '.join(INGESTED_KINDS)}.")
    if chat is not None and kind not in (None, chats.KIND):
        raise DistillError(Code.USAGE, f"chats make rows of kind {chats.KIND}, not {kind}", "Leave one of the two options out.")
    names = _source_names(files)
    validate, schema_sha256 = record_schema.load(schema) if schema is not None else (None, None)
    ledger.verify(workspace.ledger)

    with _Reading(files, progress) as reading:
        first = reading.sample()
        if kind is None:
            kind = _told_kind(first, mapping) if chat is None else chats.KIND
        check = RowCheck(kind, mapping, chat)
        parameters = {"schema_sha256": schema_sha256, "chat": _text(chat) if chat else None}
        facts: dict[str, Any] = {
            "id": batch_id,
            "kind": kind,
            "origin": "ingested",
            "what": _text(what or f"rows of {', '.join(names)}"),
            "why": _text(why or "not stated"),
            "how": How(pipeline=BY, parameters={name: value for name, value in parameters.items() if value}),
            "mapping": mapping,
            **cost,
        }
        with BatchWriter(folder, planned=planned, command=command, **facts) as writer:
            told: list[str] = []
            for name, opened in zip(names, reading.files(), strict=True):
                writer.begin_source(name)
                _take(opened.records, writer, check, validate, name, told)
                writer.end_source(sha256=opened.source.sha256, size=opened.source.consumed)
            if not writer.rows:
                raise _nothing_kept(writer, told, kind)
            if check.unseen:
                missing = sorted(check.unseen)[0]
                raise DistillError(
                    Code.COLUMN, f"no row has the column {missing!r} that is mapped", "Check --map new_name=name_in_file."
                )
            batch = writer.finish()
    _record(workspace, batch)
    return batch


def ingest_ad_hoc(path: Path, workspace: Workspace, *, kind: str | None = None) -> Batch:
    """A batch of one file that is judged without ceremony; its id holds the file's digest, so the same bytes are read once.

    Raises as `ingest`.
    """
    with open_input(path):
        digest = storage.sha256_file(path)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name)[:60].strip(".-_") or "rows"
    batch_id = "-".join(filter(None, ("adhoc", stem, kind, digest[:12])))
    folder = workspace.batch_folder(batch_id)
    if folder.exists():
        return open_batch(folder)
    return ingest([path], workspace, batch_id, kind=kind, why="judged ad hoc")


class _Opened:
    def __init__(self, source: Input, found: Iterator[Record]) -> None:
        self.source = source
        self.records: Iterable[Record] = found


class _Reading:
    """The files one after the other, each opened when its turn comes; the first one's beginning is looked at beforehand."""

    def __init__(self, files: Sequence[Path], progress: Callable[[int], None] | None) -> None:
        self._files = files
        self._progress = progress
        self._open = self._all()
        self._first = next(self._open)

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def sample(self) -> list[Record]:
        """The beginning of the first file, with up to _SAMPLE_ROWS good rows; `files` gives them again."""
        size = good = 0
        rows: list[Record] = []
        for record in islice(self._first.records, _SAMPLE_MOST):
            rows.append(record)
            size += len(record.raw)
            good += isinstance(record.value, dict)
            if size > _SAMPLE_BYTES or good == _SAMPLE_ROWS:
                break
        self._first.records = chain(rows, self._first.records)
        return rows

    def files(self) -> Iterator[_Opened]:
        yield self._first
        yield from self._open

    def _all(self) -> Generator[_Opened]:
        for path in self._files:
            with open_input(path, self._progress) as (source, stream):
                yield _Opened(source, records(path, source, stream))


def _told_kind(first: Sequence[Record], mapping: Mapping[str, str]) -> str:
    rows = [record.value for record in first if isinstance(record.value, dict)]
    if rows:
        return infer(rows, mapping)
    if len(first) < _SAMPLE_MOST and sum(len(record.raw) for record in first) <= _SAMPLE_BYTES:
        return INGESTED_KINDS[0]  # that was the whole file; with no good row in it the kind does not matter
    message = f"the kind cannot be told: the first {len(first):,} rows are malformed"
    raise DistillError(Code.KIND, message, "Look at the file, or say the kind: --kind KIND.")


def _take(
    found: Iterable[Record],
    writer: BatchWriter,
    check: RowCheck,
    validate: Callable[[dict[str, Any]], None] | None,
    name: str,
    told: list[str],
) -> None:
    """One file's rows into the writer. `told` collects the first few rejections, for a refusal."""
    add = writer.add
    for record in found:
        value = record.value
        try:
            if type(value) is not dict:
                assert isinstance(value, Malformed)
                raise value
            row = check(value)
            if validate is not None:
                validate(row)
            if row.get("id") is None:
                row["id"] = f"{name}:{record.line}"
            add(row, line=record.line, offset=record.offset, size=len(record.raw) or _text_size(row))
        except Malformed as error:
            original = record.raw.removesuffix(b"\n") if record.raw else _as_text(value)
            row_id = value.get("id") if isinstance(value, dict) else None
            writer.reject(
                by=BY,
                reason=error.reason.value,
                line=record.line,
                offset=record.offset,
                message=error.message,
                original=original,
                sha256=error.sha256,
                row_id=row_id if isinstance(row_id, str) else None,
            )
            if len(told) < 3:
                told.append(f"{name}, line {record.line}: {error.message}")


def _as_text(value: dict[str, Any] | Malformed) -> bytes:
    """A Parquet row has no bytes of its own: its values as JSON stand for them."""
    return storage.canonical_json(value) if isinstance(value, dict) else b""


def _text(given: str) -> str:
    """File names and arguments may hold bytes that are no UTF-8; in a manifest they are shown escaped."""
    return given.encode("utf-8", "backslashreplace").decode()


def _text_size(row: dict[str, Any]) -> int:
    return sum(len(value) for value in row.values() if type(value) is str)


def _source_names(files: Sequence[Path]) -> list[str]:
    """Base names; the second file of one name is `name#2`. Raises E-USAGE for a file given twice, and for no file."""
    if not files:
        raise DistillError(Code.USAGE, "no file to ingest", "Name one or more files.")
    names: list[str] = []
    seen: set[tuple[int, int]] = set()
    for path in files:
        format_of(path)
        with open_input(path) as (source, _):
            place = source.place
        if place in seen:
            raise DistillError(Code.USAGE, f"{path} is given twice", "Name every file once.")
        seen.add(place)
        name = _text(path.name)
        same = sum(1 for other in files[: len(names)] if other.name == path.name)
        names.append(f"{name}#{same + 1}" if same else name)
    return names


def _cost(declared: Cost, justification: str | None, authorized_by: str | None) -> dict[str, Any]:
    if declared not in get_args(Cost):
        raise DistillError(Code.USAGE, f"{declared!r} is no cost class", f"Cost classes are {', '.join(get_args(Cost))}.")
    if declared != "low" and not (justification or "").strip():
        raise DistillError(Code.USAGE, f"cost class {declared} without a justification", "Say why: --justification TEXT.")
    if declared == "high" and not (authorized_by or "").strip():
        raise DistillError(Code.USAGE, "cost class high without an authorization", "Say who authorized it: --authorized-by WHO.")
    date = clock.now().date().isoformat()
    return {
        "cost_class": CostClass(declared=declared, used="low"),
        "justification": _text(justification) if justification else None,
        "authorization": Authorization(by=_text(authorized_by), date=date) if authorized_by else None,
    }


def _nothing_kept(writer: BatchWriter, told: Sequence[str], kind: str) -> DistillError:
    if not writer.rejected:
        return DistillError(Code.SOURCE, "there is no row in what was read", "Nothing was written.")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in writer.reasons.most_common())
    first = "; ".join(told)
    hints = {
        Reason.MISSING_FIELD: f"Rename columns, such as --map {REQUIRED_COLUMNS[kind][-1]}=YOURS.",
        Reason.NOT_AN_OBJECT: "A row is a JSON object; name the file by what it is, .json for an array and .jsonl for lines.",
    }
    hint = " ".join(["Nothing was written.", *(text for reason, text in hints.items() if reason.value in writer.reasons)])
    return DistillError(Code.SOURCE, f"none of {writer.rejected:,} rows could be kept: {reasons}. First: {first}", hint)


def _record(workspace: Workspace, batch: Batch) -> None:
    manifest: Manifest = batch.manifest
    ledger.append(
        workspace.ledger,
        "ingested",
        batch=batch.id,
        what=manifest.what,
        why=manifest.why,
        where=batch.folder.relative_to(workspace.root).as_posix(),
        how=manifest.how.pipeline,
        sha256=batch.sha256,
        sources=tuple(f"{source.sha256}  {source.name}" for source in manifest.sources),
        read=manifest.counts.read,
        kept=manifest.counts.kept,
        quarantined=manifest.counts.quarantined,
        cost_class=manifest.cost_class.declared,
    )
