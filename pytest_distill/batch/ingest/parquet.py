"""Parquet rows as JSON values: text, numbers and booleans as they are; dates, times and decimals as text; nested ones as JSON.

Page checksums are verified, every batch is validated in full, and what the file says of itself (row count, columns without
nulls, dictionary pages) has to agree with what is read: anything else refuses the file. Binary columns are refused. Some
damage aborts the process that reads it, so a process of its own goes through the file first.
"""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from pytest_distill import storage
from pytest_distill.batch.ingest.compression import Input
from pytest_distill.batch.ingest.records import Malformed, Record
from pytest_distill.batch.parquet_probe import OPTIONS, batches, check_metadata, refused
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError

MAGIC = b"PAR1"
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
_EPOCH = dt.datetime(1970, 1, 1)


def read(source: Input, stream: io.BufferedReader, name: str) -> Iterator[Record]:
    """Every row as a record. Raises E-SOURCE-FORMAT for a damaged file, E-COLUMN for a type we cannot keep."""
    with storage.scratch_file() as copy:
        compressed = getattr(stream, "raw", None) is not source
        while piece := stream.read(1 << 20):
            if compressed:
                copy.write(piece)
        copy.flush()
        before = os.fstat(source.fileno())
        file = os.fdopen(os.dup(copy.fileno() if compressed else source.fileno()), "rb")
        try:
            _survives(file, name)
            file.seek(0)
            yield from _rows(file, name)
        except (OSError, pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
            raise refused(name, f"does not read as Parquet ({error})") from error
        finally:
            file.close()
        after = os.fstat(source.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise refused(name, "was changed while it was read")


def _survives(file: IO[bytes], name: str) -> None:
    """Has another process decode the whole file: an abort or a crash there is a damaged file here."""
    file.seek(0)
    code = "from pytest_distill.batch.parquet_probe import probe; probe()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    if done.returncode < 0:
        raise refused(name, f"crashes the Parquet reader (signal {-done.returncode})")
    if done.returncode:
        raise DistillError(
            Code.EXTRA, f"{name}: a process to read Parquet cannot be started", f"`{sys.executable}` has to import us."
        )


def _rows(file: IO[bytes], name: str) -> Iterator[Record]:
    with pq.ParquetFile(file, **OPTIONS) as opened:
        check_metadata(opened.metadata, name)
        schema = opened.schema_arrow
        try:
            convert = [converter(field.name, field.type, name) for field in schema]
        except DistillError:
            for batch in batches(opened):
                batch.validate(full=True)  # a damaged file is called that, whatever its columns are
            raise
        names = schema.names
        for number, column in enumerate(names, start=1):
            if not column.strip() or names.index(column) != number - 1:
                what = f"names {column[:80]!r} twice" if column.strip() else f"has a column without a name (number {number})"
                raise DistillError(Code.COLUMN, f"{name}: {what}", "Rename it in the file.")
        row = 0
        for batch in batches(opened):
            batch.validate(full=True)
            for field, column in zip(schema, batch.columns, strict=True):
                if column.null_count and not field.nullable:
                    raise refused(name, f"has nulls in {field.name!r}, which it says has none")
            values = [function(column) for function, column in zip(convert, batch.columns, strict=True)]
            for items in zip(*values, strict=True):
                row += 1
                yield _record(row, dict(zip(names, items, strict=True)))
        if row != opened.metadata.num_rows:
            raise refused(name, f"says it has {opened.metadata.num_rows} rows and gives {row}")


def _record(row: int, value: dict[str, Any]) -> Record:
    if any(type(item) is not str and not _finite(item) for item in value.values()):
        text = json.dumps(value, ensure_ascii=False)
        return Record(row, None, text.encode(), Malformed(Reason.NON_FINITE_NUMBER, "NaN or Infinity is no JSON number"))
    return Record(row, None, b"", value)


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list) else True


def converter(column: str, kind: pa.DataType, name: str) -> Callable[[pa.Array], list[Any]]:
    """A function from a column to JSON values. Raises E-COLUMN for a type that JSON has no value for."""
    if pt.is_dictionary(kind):
        inner = converter(column, kind.value_type, name)
        return lambda array: inner(array.dictionary_decode())
    if _is_plain(kind):
        return lambda array: array.to_pylist()
    if pt.is_timestamp(kind) or pt.is_date(kind) or pt.is_time(kind):
        return lambda array: [None if ticks is None else _time_text(kind, ticks) for ticks in _ticks(array)]
    if pt.is_decimal(kind):
        return lambda array: [None if value is None else format(value, "f") for value in array.to_pylist()]
    if pt.is_nested(kind) and (bad := _not_json(kind)) is None:
        return lambda array: [_json_value(value) for value in array.to_pylist(maps_as_pydicts="strict")]
    what = f"{kind}" if not pt.is_nested(kind) else f"{kind}, and {bad} has no JSON value"
    raise DistillError(Code.COLUMN, f"{name}: the column {column!r} is {what}", "Leave it out, or turn it into text.")


def _is_plain(kind: pa.DataType) -> bool:
    text = pt.is_string(kind) or pt.is_large_string(kind) or kind == pa.string_view()
    return bool(text or pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind) or pt.is_null(kind))


def _not_json(kind: pa.DataType) -> pa.DataType | None:
    """The first type inside a nested one that has no JSON value."""
    if pt.is_map(kind):
        return _not_json(kind.item_type) if pt.is_string(kind.key_type) else kind
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return _not_json(kind.value_type)
    if pt.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        if len({field.name for field in fields}) != len(fields):
            return kind
        return next((bad for field in fields if (bad := _not_json(field.type)) is not None), None)
    nanoseconds = (pt.is_timestamp(kind) or pt.is_time64(kind)) and kind.unit == "ns"
    known = _is_plain(kind) or pt.is_date(kind) or pt.is_time(kind) or pt.is_timestamp(kind) or pt.is_decimal(kind)
    return None if known and not nanoseconds else kind


def _ticks(array: pa.Array) -> list[int | None]:
    wide = pa.int32() if array.type in (pa.date32(), pa.time32("s"), pa.time32("ms")) else pa.int64()
    ticks: list[int | None] = array.view(wide).to_pylist()
    return ticks


def _time_text(kind: pa.DataType, ticks: int) -> str:
    """ISO 8601. A time stamp with a zone is an instant and written in UTC; one without is written without."""
    if pt.is_date(kind):
        days = ticks if pt.is_date32(kind) else ticks // (_DAY * 1000)
        return (_EPOCH + dt.timedelta(days=days)).date().isoformat()
    per_second = _PER_SECOND[kind.unit]
    seconds, fraction = divmod(ticks, per_second)
    moment = _EPOCH + dt.timedelta(seconds=seconds)
    whole = moment.isoformat() if pt.is_timestamp(kind) else moment.time().isoformat()
    digits = f".{fraction:0{len(str(per_second)) - 1}d}" if fraction else ""
    return f"{whole}{digits}{'Z' if pt.is_timestamp(kind) and kind.tz is not None else ''}"


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z" if value.tzinfo else value.isoformat()
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return format(value, "f") if isinstance(value, decimal.Decimal) else value
