"""From rows (JSON objects) to typed Arrow columns, exactly: what exports write is equal to what was read.

A chunk of rows decides its own column types; `unify` decides the batch's. A column is typed (string, int64, float64, bool)
when every value in it is of that one type and a missing value means one thing; every other column is `json`: each value as
its JSON text, a null for an absent key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa

from pytest_distill.contracts.manifest import Column
from pytest_distill.errors import Code, DistillError

ColumnType = Literal["string", "int64", "float64", "bool", "json"]
ARROW: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "json": pa.string(),
}
_PYTHON: dict[type, ColumnType] = {str: "string", int: "int64", float: "float64", bool: "bool"}
_ABSENT = object()
_NULL = type(None)
_AS_JSON_HAS_IT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
MAX_COLUMNS = 1000


class Trait(NamedTuple):
    """What one chunk knows of a column. `type` is None when it saw nulls only."""

    type: ColumnType | None
    null: bool
    absent: bool


def json_text(value: Any) -> str:
    """One JSON value as compact text. Raises E-COLUMN for what JSON has no value for (NaN, bytes, a date)."""
    try:
        text = orjson.dumps(value, option=_AS_JSON_HAS_IT).decode()
        if "null" not in text:  # orjson writes NaN as null
            return text
    except TypeError:  # an integer beyond 64 bits, or no JSON at all
        pass
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DistillError(Code.COLUMN, f"a value is no JSON: {error}", "Turn it into text or numbers first.") from error


def encode(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Trait], dict[str, pa.Array]]:
    """The columns of a chunk, in order of first appearance."""
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    if len(names) > MAX_COLUMNS:
        raise too_many(len(names))
    traits: dict[str, Trait] = {}
    arrays: dict[str, pa.Array] = {}
    for name in names:
        try:
            values: list[Any] = [row[name] for row in rows]
        except KeyError:
            values = [row.get(name, _ABSENT) for row in rows]
        traits[name] = trait = _trait(name, values)
        arrays[name] = _array(values, trait)
    return traits, arrays


def unify(chunks: Iterable[dict[str, Trait]]) -> tuple[Column, ...]:
    """The batch's columns, in order of first appearance."""
    seen: dict[str, list[Trait]] = {}
    count = 0
    for chunk in chunks:
        count += 1
        for name, trait in chunk.items():
            seen.setdefault(name, []).append(trait)
    if len(seen) > MAX_COLUMNS:
        raise too_many(len(seen))
    return tuple(_column(name, traits, everywhere=len(traits) == count) for name, traits in seen.items())


def carried(column: Column) -> Trait:
    """The trait of a column that comes from another batch as it is: `unify` makes the same column of it again."""
    return Trait(column.type, column.nulls == "null", column.nulls == "absent")


def convert(array: pa.Array | None, trait: Trait | None, column: Column, rows: int) -> pa.Array:
    """A chunk's column as the batch's column; None where the chunk does not have it."""
    arrow = ARROW[column.type]
    if array is None or trait is None:
        return pa.nulls(rows, arrow)
    if column.type == "json" and trait.type != "json":
        return pa.array(
            ["null" if v is None and trait.null else None if v is None else json_text(v) for v in array.to_pylist()], arrow
        )
    return array if array.type == arrow else pa.nulls(rows, arrow)


def too_many(count: int) -> DistillError:
    hint = "Are keys used as data? Put that object under one key."
    return DistillError(Code.COLUMN, f"the rows have {count:,} different keys; at most {MAX_COLUMNS:,} columns are kept", hint)


def _trait(name: str, values: list[Any]) -> Trait:
    types = set(map(type, values))
    null, absent = _NULL in types, object in types
    kinds = types - {_NULL, object}
    if null and absent:
        return Trait("json", null, absent)
    if not kinds:
        return Trait(None, null, absent)
    kind = _PYTHON.get(next(iter(kinds)), "json") if len(kinds) == 1 else "json"
    if kind == "int64" and not all(v is None or v is _ABSENT or -(2**63) <= v < 2**63 for v in values):
        kind = "json"
    if kind == "float64" and not all(v is None or v is _ABSENT or math.isfinite(v) for v in values):
        raise DistillError(Code.COLUMN, f"the column {name!r} holds NaN or Infinity", "JSON has no value for it; use null.")
    return Trait(kind, null, absent)


def _array(values: list[Any], trait: Trait) -> pa.Array:
    if trait.type == "json":
        return pa.array([None if v is _ABSENT else json_text(v) for v in values], pa.string())
    if trait.absent:
        values = [None if v is _ABSENT else v for v in values]
    return pa.array(values, ARROW[trait.type or "string"])


def _column(name: str, traits: list[Trait], *, everywhere: bool) -> Column:
    null = any(trait.null for trait in traits)
    absent = not everywhere or any(trait.absent for trait in traits)
    types = {trait.type for trait in traits if trait.type is not None}
    kind: ColumnType = "json" if len(types) > 1 or (null and absent) else next(iter(types), "string")
    if kind == "json":
        return Column(name=name, type="json", nulls="absent" if absent else "never")
    return Column(name=name, type=kind, nulls="null" if null else "absent" if absent else "never")
