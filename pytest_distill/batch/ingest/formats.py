"""Which reader reads a file: the name says, the content has to agree."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_distill.batch.ingest import csv_rows, json_array, jsonl, parquet
from pytest_distill.batch.ingest.compression import Input, compression_of, open_input
from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed, Record
from pytest_distill.batch.ingest.strict_json import parse, parse_object
from pytest_distill.errors import Code, DistillError

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def format_of(path: Path) -> str:
    """The format that the name tells. Raises E-SOURCE-FORMAT for a name that tells none."""
    _, name = compression_of(path)
    found = FORMATS.get(Path(name).suffix.lower())
    if found is None and path.is_dir():
        raise DistillError(
            Code.FORMAT,
            f"{path} is a folder",
            'Name the files in it. Of `datasets.save_to_disk`: load_from_disk(FOLDER).to_parquet("rows.parquet"), and that file.',
        )
    if found is None:
        known = ", ".join(FORMATS)
        raise DistillError(
            Code.FORMAT, f"{path.name}: the name tells no format", f"Known are {known}, each also with .gz or .zst."
        )
    return found


def records(path: Path, source: Input, stream: io.BufferedReader) -> Iterator[Record]:
    """Every row of an opened file, malformed ones included, in order."""
    form = format_of(path)
    head = stream.peek(4)[:4]
    is_parquet = head == parquet.MAGIC
    if is_parquet != (form == "parquet") or head.startswith(_UTF16):
        what = "Parquet" if is_parquet else "UTF-16 text" if head.startswith(_UTF16) else f"no {form}"
        raise DistillError(Code.FORMAT, f"{path.name} holds {what}", "Name it by its content, and save text as UTF-8.")
    if form == "parquet":
        return parquet.read(source, stream, path.name)
    if form == "csv":
        return csv_rows.read(stream, path.name)
    if form == "jsonl":
        return jsonl.read(stream)
    return _json(stream, path.name)


def _json(stream: io.BufferedReader, name: str) -> Iterator[Record]:
    """A `.json` file: an array of objects; else one object; else, as some tools write it, one object a line."""
    peeked = stream.peek(1)
    if not peeked.lstrip().startswith(b"{"):
        return json_array.read(stream, name)
    first_line = peeked.partition(b"\n")[0]
    if b"\n" in peeked and _is_value(first_line):
        return jsonl.read(stream)
    whole = stream.read(MAX_ROW_BYTES + 1)
    if len(whole) <= MAX_ROW_BYTES and (b"\n" not in whole.strip() or _is_value(whole)):
        return iter([_only(whole)])
    if _is_value(whole.partition(b"\n")[0]):
        raise DistillError(
            Code.FORMAT, f"{name}: its first line is a JSON object", "One object a line is called .jsonl: rename it."
        )
    hint = "A .json file holds one array of objects; .jsonl one object a line."
    raise DistillError(Code.FORMAT, f"{name}: neither an array, nor one object, nor one object a line", hint)


def _is_value(data: bytes) -> bool:
    try:
        parse(data)
    except Malformed:
        return False
    return True


def _only(data: bytes) -> Record:
    body = data.lstrip()
    lead = len(data) - len(body)
    try:
        return Record(1 + data.count(b"\n", 0, lead), lead, body, parse_object(body))
    except Malformed as error:
        return Record(1 + data.count(b"\n", 0, lead), lead, body, error)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Every row of a file that has to be whole, such as a benchmark. Raises on the first malformed row."""
    with open_input(path) as (source, stream):
        for record in records(path, source, stream):
            if isinstance(record.value, Malformed):
                what = f"{path.name}, line {record.line}: {record.value.reason.value} ({record.value.message})"
                raise DistillError(Code.FORMAT, what, "Mend that row.")
            yield record.value
