"""The one scan: computes the planned columns shard by shard, in threads, and then those that need all rows.

Threads, because the work is in polars, numba, tokenizers and RE2, which let go of the interpreter lock. A task is
(shard, nodes) -> columns with no shared state. A measure that fails takes down what needs it and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.contracts.manifest import Shard
from pytest_distill.contracts.run import MeasureRecord
from pytest_distill.errors import Code, DistillError, one_line
from pytest_distill.measuring.cache import Cache
from pytest_distill.measuring.plan import Node, in_order
from pytest_distill.policy.model import Policy

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[int, int], None]


@dataclass
class Outcome:
    """What became of one node."""

    node: Node
    computed: bool = False
    errors: dict[int, str] = field(default_factory=dict)  # shard number -> what went wrong there
    seconds: float = 0.0
    parts: dict[int, pl.Series] = field(default_factory=dict)  # shard number -> column; batch measures use 0
    whole: pl.Series | None = None

    @property
    def status(self) -> Literal["computed", "cached", "failed"]:
        return "failed" if self.errors else "computed" if self.computed else "cached"

    @property
    def error(self) -> str | None:
        """The error of the first shard that failed, whichever thread came first."""
        return self.errors[min(self.errors)] if self.errors else None

    def record(self) -> MeasureRecord:
        status: Literal["ok", "failed"] = "failed" if self.errors else "ok"
        return MeasureRecord(name=self.node.name, version=self.node.measure.version, status=status, error=self.error)


@dataclass
class Scan:
    """The columns of one batch: asked for by node, computed at most once for given bytes."""

    batch: Batch
    policy: Policy
    cache: Cache | None
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    scans: int = 0

    @property
    def shards(self) -> tuple[Shard, ...]:
        return self.batch.manifest.shards

    def rows_sha256(self) -> str:
        """Digest of all rows in order: what a batch measure's values depend on besides its key."""
        return storage.sha256_bytes("\n".join(s.sha256 for s in self.shards).encode())

    def run(self, wanted: Iterable[Node], progress: Progress | None = None) -> None:
        """Makes every wanted node available: from the cache, or by one pass over the shards that miss it."""
        nodes = [n for n in in_order(list(wanted)) if not self._complete(n)]
        missing = self._load_cached(nodes, {n.key for n in wanted if not self._complete(n)})
        if not missing:
            return
        self.scans += 1
        shard_nodes = [n for n in nodes if n.measure.scope == "shard"]
        per_shard = {number: [n for n in shard_nodes if number in missing.get(n.key, ())] for number in range(len(self.shards))}
        tasks = {number: todo for number, todo in per_shard.items() if todo}
        done = 0
        with ThreadPoolExecutor(max_workers=max(1, self.workers)) as pool:
            futures = [pool.submit(self._shard_task, number, todo) for number, todo in tasks.items()]
            for future in as_completed(futures):
                future.result()
                done += 1
                if progress is not None:
                    progress(done, len(tasks))
        for node in nodes:
            if node.measure.scope == "batch" and node.key in missing:
                self._batch_task(node)

    def _complete(self, node: Node) -> bool:
        """True when the node needs no further work: it failed, or its column is there for every shard."""
        outcome = self.outcomes.get(node.key)
        if outcome is None:
            return False
        return bool(outcome.errors) or len(outcome.parts) == (1 if node.measure.scope == "batch" else len(self.shards))

    def _load_cached(self, nodes: list[Node], wanted: set[str]) -> dict[str, set[int]]:
        """Fills outcomes from the cache. Returns, for every node that has to be computed, the shards that miss it.

        Walks from the results back to the inputs, so that an input which only served columns that are cached is not touched.
        """
        missing: dict[str, set[int]] = {}
        needed: dict[str, set[int]] = {key: set(range(len(self.shards))) for key in wanted}
        for node in reversed(nodes):
            numbers = needed.get(node.key, set())
            if not numbers:
                continue
            outcome = self.outcomes.setdefault(node.key, Outcome(node))
            batch_scope = node.measure.scope == "batch"
            for number in {0} - set(outcome.parts) if batch_scope else sorted(numbers - set(outcome.parts)):
                rows = self.batch.rows if batch_scope else self.shards[number].rows
                sha256 = self.rows_sha256() if batch_scope else self.shards[number].sha256
                series = self.cache.load(sha256, node.key, rows) if self.cache else None
                if series is None:
                    missing.setdefault(node.key, set()).add(number)
                else:
                    outcome.parts[number] = series.rename(node.name)
            if node.key in missing:
                outcome.computed = True
                inputs = set(range(len(self.shards))) if batch_scope else missing[node.key]
                for source in node.nodes():
                    needed.setdefault(source.key, set()).update(inputs)
        return missing

    def _shard_task(self, number: int, nodes: list[Node]) -> None:
        """Computes `nodes` (inputs first) for one shard. Runs in a thread; writes only its own shard's slots."""
        shard = self.shards[number]
        names = sorted({name for node in nodes for name in self._columns(node)})
        frame = self.batch.read_shard(shard, names)
        columns = {name: frame.get_column(name) for name in names}
        for node in nodes:
            outcome = self.outcomes[node.key]
            started = time.perf_counter()
            try:
                series = self._call(node, shard.rows, lambda source: self._part(source, number), columns)
            except Exception as error:  # a user's function may raise anything; the gates that need it fail with this text
                outcome.errors[number] = error_text(error)
                continue
            finally:
                outcome.seconds += time.perf_counter() - started
            outcome.parts[number] = series
            if self.cache is not None:
                self.cache.store(shard.sha256, node.key, series)

    def _batch_task(self, node: Node) -> None:
        outcome = self.outcomes[node.key]
        started = time.perf_counter()
        try:
            columns = {name: self.batch.column(name) for name in self._columns(node)}
            series = self._call(node, self.batch.rows, self._whole, columns)
        except Exception as error:  # as above
            outcome.errors[0] = error_text(error)
            return
        finally:
            outcome.seconds += time.perf_counter() - started
        outcome.parts[0] = outcome.whole = series
        if self.cache is not None:
            self.cache.store(self.rows_sha256(), node.key, series)

    def _part(self, node: Node, number: int) -> pl.Series:
        part = self.outcomes[node.key].parts.get(number)
        if part is None:
            raise DistillError(Code.MEASURE, f"it needs {node.name}, which failed")
        return part

    def _whole(self, node: Node) -> pl.Series:
        outcome = self.outcomes[node.key]
        if outcome.errors:
            raise DistillError(Code.MEASURE, f"it needs {node.name}, which failed")
        return self.whole(outcome)

    def _call(self, node: Node, rows: int, series: Callable[[Node], pl.Series], columns: dict[str, pl.Series]) -> pl.Series:
        import polars as pl

        arguments: dict[str, Any] = {}
        for name, source in node.inputs:
            column = series(source) if isinstance(source, Node) else columns[source] if source else None
            # A clone shares the memory; what a measure writes into its argument reaches nobody else.
            arguments[name] = column.clone() if column is not None else None
        if node.measure.wants_kind:
            arguments["kind"] = self.batch.kind
        if node.measure.wants_record:
            arguments["record"] = self._records(columns)
        if node.measure.config:
            arguments["config"] = self.policy.table(node.measure.config)
        result = node.measure.function(**arguments)
        if not isinstance(result, pl.Series):
            raise DistillError(Code.MEASURE, f"it returned {type(result).__name__}, not a polars Series")
        if len(result) != rows:
            raise DistillError(Code.MEASURE, f"it returned {len(result)} values for {rows} rows")
        if result.dtype == pl.Object:
            raise DistillError(Code.MEASURE, "it returned Python objects, not values that a column can hold")
        # A column is called like its measure, whatever the function called it and wherever it was read from.
        return result.rename(node.name)

    def _columns(self, node: Node) -> list[str]:
        return [*self.batch.column_names] if node.measure.wants_record else node.columns()

    def _records(self, columns: dict[str, pl.Series]) -> pl.Series:
        """Each row as one JSON text, from all its columns."""
        import polars as pl

        frame = pl.DataFrame([columns[name].alias(name) for name in self.batch.column_names])
        lines = (line[:-1].decode() for line in json_lines(frame, self.batch.manifest.columns))
        return pl.Series("record", lines, dtype=pl.String)

    def whole(self, outcome: Outcome) -> pl.Series:
        """A node's column over all rows, in batch order."""
        import polars as pl

        if outcome.whole is None and outcome.node.measure.scope == "batch":
            outcome.whole = outcome.parts[0]
        if outcome.whole is None:
            parts = [outcome.parts[number] for number in range(len(self.shards))]
            if len(types := {str(part.dtype) for part in parts}) > 1:
                raise DistillError(
                    Code.MEASURE,
                    f"measure {outcome.node.name} is {' here and '.join(sorted(types))} there, shard by shard",
                    "Name the type: pl.Series(values, dtype=pl.Int64).",
                )
            outcome.whole = pl.concat(parts, rechunk=True)
            outcome.parts.clear()
            outcome.parts.update(enumerate(_split(outcome.whole, [s.rows for s in self.shards])))
        return outcome.whole

    def column(self, node: Node) -> pl.Series:
        """The planned column over all rows. Raises E-MEASURE with the measure's own error when it failed."""
        outcome = self.outcomes[node.key]
        if outcome.errors:
            raise DistillError(Code.MEASURE, f"measure {node.name} failed: {outcome.error}")
        return self.whole(outcome)


def error_text(error: Exception) -> str:
    text = error.message if isinstance(error, DistillError) else f"{type(error).__name__}: {error}"
    return one_line(text)[:500]


def _split(series: pl.Series, rows: list[int]) -> list[pl.Series]:
    """The whole column cut back into shards without copying, so that parts and whole share their memory."""
    cuts, start = [], 0
    for count in rows:
        cuts.append(series.slice(start, count))
        start += count
    return cuts
