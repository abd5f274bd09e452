"""Rows as the JSON objects they were: the way back from columns, for exports and for measures that judge whole rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_distill.contracts.manifest import Column
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    import polars as pl

# Rows held as Python objects, or written as one row group, at a time.
SLICE = 8192
_ABSENT = object()


def json_lines(frame: pl.DataFrame, columns: tuple[Column, ...]) -> Iterator[bytes]:
    """Each row as one line of JSON, equal to the source: nulls as the manifest says, `json` values as they were."""
    import orjson

    names = [column.name for column in columns]
    gaps = any(column.nulls == "absent" for column in columns)
    for part in frame.iter_slices(SLICE):
        for values in zip(*(_json_values(part[column.name], column) for column in columns), strict=True):
            row = zip(names, values, strict=True)
            yield orjson.dumps(
                {n: v for n, v in row if v is not _ABSENT} if gaps else dict(row), option=orjson.OPT_APPEND_NEWLINE
            )


def _json_values(series: pl.Series, column: Column) -> list[Any]:
    import orjson

    if column.nulls == "never" and series.null_count():
        raise corrupt(f"the column {column.name!r} holds a null, the manifest says it never does")
    # JSON has no NaN and no Infinity; orjson would write null in their place.
    if column.type == "float64" and not series.is_finite().fill_null(value=True).all():
        raise corrupt(f"the column {column.name!r} holds a number that is not finite")
    null = _ABSENT if column.nulls == "absent" else None
    values: list[Any] = series.to_list()
    if column.type != "json":
        return [null if value is None else value for value in values] if series.null_count() else values
    found: list[Any] = []
    for text in values:
        if text is None:
            found.append(null)
            continue
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise corrupt(f"the column {column.name!r} holds a value that is no JSON") from error
        # The text itself goes out, so that no number changes; inside JSON a line break can only be white space.
        found.append(orjson.Fragment(text.replace("\n", " ").replace("\r", " ")))
    return found


def corrupt(message: str) -> DistillError:
    return DistillError(Code.BATCH_CORRUPT, message, "Make the batch again.")
