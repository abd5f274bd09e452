"""Computing columns of one batch: what a thread does with a shard, and a worker in another process as well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_distill.batch.batch import Batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.contracts.manifest import Shard
from pytest_distill.errors import Code, DistillError, one_line
from pytest_distill.measuring.plan import Node
from pytest_distill.policy.model import Policy

if TYPE_CHECKING:
    import polars as pl


class Computed(NamedTuple):
    """A column, or why there is none; and how long it took."""

    series: pl.Series | None
    error: str | None
    seconds: float


@dataclass(frozen=True)
class Computing:
    """What the measures of one batch are given."""

    batch: Batch
    policy: Policy

    def shard(self, shard: Shard, nodes: Sequence[Node], given: Mapping[str, pl.Series]) -> Iterator[tuple[Node, Computed]]:
        """Computes `nodes` (inputs first) over one shard. `given` are columns that are there already, by key."""
        names = sorted({name for node in nodes for name in self.columns_of(node)})
        frame = self.batch.read_shard(shard, names)
        columns = {name: frame.get_column(name) for name in names}
        parts, failed = dict(given), dict[str, str | None]()

        def part(source: Node) -> pl.Series:
            if source.key not in parts:
                raise needs(source, failed.get(source.key))
            return parts[source.key]

        for node in nodes:
            computed = self.one(node, shard.rows, part, columns)
            if computed.series is not None:
                parts[node.key] = computed.series
            else:
                failed[node.key] = computed.error
            yield node, computed

    def one(self, node: Node, rows: int, input_of: Callable[[Node], pl.Series], columns: Mapping[str, pl.Series]) -> Computed:
        """Calls one measure. `input_of` gives the columns that other measures made, `columns` those of the batch."""
        started = time.perf_counter()
        try:
            series, error = self._call(node, rows, input_of, columns), None
        except Exception as raised:  # a user's function may raise anything; the gates that need it fail with this text
            series, error = None, error_text(raised)
        return Computed(series, error, time.perf_counter() - started)

    def _call(self, node: Node, rows: int, input_of: Callable[[Node], pl.Series], columns: Mapping[str, pl.Series]) -> pl.Series:
        arguments: dict[str, Any] = {}
        for name, source in node.inputs:
            column = input_of(source) if isinstance(source, Node) else columns[source] if source else None
            # A clone shares the memory; what a measure writes into its argument reaches nobody else.
            arguments[name] = column.clone() if column is not None else None
        if node.measure.wants_kind:
            arguments["kind"] = self.batch.kind
        if node.measure.wants_record:
            arguments["record"] = self._records(columns)
        if node.measure.config:
            arguments["config"] = self.policy.table(node.measure.config)
        return checked(node.measure.function(**arguments), node, rows)

    def columns_of(self, node: Node) -> list[str]:
        """The batch's columns that a node reads."""
        return [*self.batch.column_names] if node.measure.wants_record else node.columns()

    def _records(self, columns: Mapping[str, pl.Series]) -> pl.Series:
        """Each row as one JSON text, from all its columns."""
        import polars as pl

        frame = pl.DataFrame([columns[name].alias(name) for name in self.batch.column_names])
        lines = (line[:-1].decode() for line in json_lines(frame, self.batch.manifest.columns))
        return pl.Series("record", lines, dtype=pl.String)


def checked(result: Any, node: Node, rows: int) -> pl.Series:
    """What a measure gave, if it is a column of `rows` values. Raises E-MEASURE."""
    import polars as pl

    if not isinstance(result, pl.Series):
        raise DistillError(Code.MEASURE, f"it returned {type(result).__name__}, not a polars Series")
    if len(result) != rows:
        raise DistillError(Code.MEASURE, f"it returned {len(result)} values for {rows} rows")
    if result.dtype == pl.Object:
        raise DistillError(Code.MEASURE, "it returned Python objects, not values that a column can hold")
    # A column is called like its measure, whatever the function called it and wherever it was read from.
    return result.rename(node.name)


def needs(source: Node, why: str | None) -> DistillError:
    """What is said of a measure whose input `source` could not be computed; `why` is what was said of that one."""
    return DistillError(Code.MEASURE, f"it needs {source.name}, which failed" + (f": {why}" if why else ""))


def error_text(error: Exception) -> str:
    if isinstance(error, DistillError):  # the caller says E-MEASURE itself
        text = error.message if error.code is Code.MEASURE else str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return one_line(text)[:500]
