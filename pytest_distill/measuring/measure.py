"""`@measure`: a pure function from columns to a column, carried by a pytest fixture of the same name.

    @measure(version=1)
    def response_chars(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

Parameters name columns of the batch or other measures. A parameter with the default `None` is optional: it gets None where
the batch has no such column. Three names are given by the plugin: `kind` (the batch's kind), `config` (the policy
table named in `@measure(config="language")`) and `record` (each whole row as the JSON text it was, all columns included).

A measure is computed once per shard, or, with `scope="batch"`, once over all rows (for what needs all rows: duplicates).
It returns one value per row. Raise the version when the meaning of the column changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    import polars as pl

GIVEN = ("kind", "config", "record")
ATTRIBUTE = "__distill_measure__"


@dataclass(frozen=True)
class Measure:
    """What `@measure` declares. `inputs` are the names of columns or measures, `optional` those that may be absent."""

    name: str
    version: int
    scope: Literal["shard", "batch"]
    config: str | None
    inputs: tuple[str, ...]
    optional: frozenset[str]
    wants_kind: bool
    wants_record: bool
    function: Callable[..., pl.Series]

    @property
    def module(self) -> str:
        return self.function.__module__


def measure(
    *, version: int, scope: Literal["shard", "batch"] = "shard", config: str | None = None
) -> Callable[[Callable[..., pl.Series]], Any]:
    """Declares a measure. Returns the decorator; the decorated name is a pytest fixture that yields the column."""

    def decorate(function: Callable[..., pl.Series]) -> Any:
        import pytest

        declared = describe(function, version=version, scope=scope, config=config)

        def column(distill_columns: Any, request: pytest.FixtureRequest) -> Any:
            return distill_columns.measured(declared, request)

        column.__name__ = function.__name__
        column.__doc__ = function.__doc__
        column.__module__ = function.__module__
        setattr(column, ATTRIBUTE, declared)
        fixture = pytest.fixture(name=function.__name__)(column)
        setattr(fixture, ATTRIBUTE, declared)  # for direct use in tests: measured(fixture)
        return fixture

    return decorate


def describe(
    function: Callable[..., pl.Series], *, version: int, scope: Literal["shard", "batch"], config: str | None
) -> Measure:
    """Reads the declaration off the function's signature. Raises E-MEASURE when it cannot be a measure."""
    name = function.__name__
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise DistillError(Code.MEASURE, f"measure {name}: version must be a whole number from 1 on, not {version!r}")
    if scope not in ("shard", "batch"):
        raise DistillError(Code.MEASURE, f"measure {name}: scope is 'shard' or 'batch', not {scope!r}")
    parameters = list(inspect.signature(function).parameters.values())
    if ("config" in [p.name for p in parameters]) != (config is not None):
        raise DistillError(
            Code.MEASURE, f"measure {name}: a parameter config and config= go together", '@measure(config="language")'
        )
    columns = [p for p in parameters if p.name not in GIVEN]
    for parameter in columns:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DistillError(Code.MEASURE, f"measure {name}: {parameter} cannot name a column", "Use plain parameters.")
        if parameter.default not in (None, parameter.empty):
            raise DistillError(Code.MEASURE, f"measure {name}: {parameter.name} has a default that is not None")
    optional = frozenset(p.name for p in columns if p.default is None)
    given = [p.name for p in parameters if p.name in GIVEN]
    inputs = tuple(p.name for p in columns)
    return Measure(name, version, scope, config, inputs, optional, "kind" in given, "record" in given, function)


def declaration(fixture: Any) -> Measure:
    """The measure that a decorated name carries: `declaration(response_chars).function(series)` runs it directly."""
    found = getattr(fixture, ATTRIBUTE, None)
    if not isinstance(found, Measure):
        raise DistillError(Code.MEASURE, f"{fixture!r} is no measure", "Decorate it with @measure(version=1).")
    return found
