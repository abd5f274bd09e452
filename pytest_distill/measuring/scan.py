"""The one scan: computes the planned columns shard by shard, and then those that need all rows.

Threads do it, because the work is in polars, numba, tokenizers and RE2, which let go of the interpreter lock; or the workers of
a cluster. A task is (shard, nodes) -> columns with no shared state, and what it gives is checked here whoever gave it. A measure
that fails takes down what needs it and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.manifest import Shard
from pytest_distill.contracts.run import MeasureRecord
from pytest_distill.engine.engine import Job
from pytest_distill.engine.local import Threads
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.cache import Cache
from pytest_distill.measuring.compute import Computed, Computing, checked, error_text, needs
from pytest_distill.measuring.plan import Node, in_order
from pytest_distill.policy.model import Policy

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.measuring.elsewhere import Elsewhere

Progress = Callable[[int, int], None]
Work = dict[int, list[Node]]  # shard number -> what is to be computed of it, inputs first


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
    elsewhere: Elsewhere | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    scans: int = 0
    _failed: DistillError | None = None

    @property
    def shards(self) -> tuple[Shard, ...]:
        return self.batch.manifest.shards

    @property
    def _computing(self) -> Computing:
        return Computing(self.batch, self.policy)

    def rows_sha256(self) -> str:
        """Digest of all rows in order: what a batch measure's values depend on besides its key."""
        return storage.sha256_bytes("\n".join(s.sha256 for s in self.shards).encode())

    def run(self, wanted: Iterable[Node], progress: Progress | None = None) -> None:
        """Makes every wanted node available: from the cache, or by one pass over the shards that miss it.

        Raises E-BATCH-CORRUPT, and what a cluster was refused for; asked again, it is refused again and nothing runs twice.
        """
        wanted = list(wanted)
        nodes = [n for n in in_order(wanted) if not self._complete(n)]
        missing = self._load_cached(nodes, {n.key for n in wanted if not self._complete(n)})
        if not missing:
            return
        if self._failed is not None:
            raise self._failed
        self.scans += 1
        shard_nodes = [n for n in nodes if n.measure.scope == "shard"]
        per_shard = {number: [n for n in shard_nodes if number in missing.get(n.key, ())] for number in range(len(self.shards))}
        try:
            self._shards({number: todo for number, todo in per_shard.items() if todo}, progress)
        except DistillError as error:
            self._failed = error
            raise
        for node in nodes:
            if node.measure.scope == "batch" and node.key in missing:
                self._batch_task(node)

    def _shards(self, work: Work, progress: Progress | None) -> None:
        """Computes shard measures where they are computed: all in threads, or most of them elsewhere."""
        passes = [(self._here, work)] if self.elsewhere is None else self.elsewhere.passes(self, work, self._here)
        total, done = sum(len(part) for _, part in passes), 0
        for compute, part in passes:
            for _ in compute(part):
                done += 1
                if progress is not None:
                    progress(done, total)

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

    def _here(self, work: Work) -> Iterator[int]:
        """In threads of this process. Gives the numbers of the shards that are done."""
        tasks = ((number, (number, nodes)) for number, nodes in work.items())
        for number, _ in Threads(max(1, self.workers)).map(Job(lambda: self._shard_task), tasks):
            yield number

    def _shard_task(self, task: tuple[int, list[Node]]) -> None:
        """Computes nodes (inputs first) for one shard. Runs in a thread; writes only its own shard's slots."""
        number, nodes = task
        for node, computed in self._computing.shard(self.shards[number], nodes, self.parts(number, nodes)):
            self.accept(node, number, computed)

    def parts(self, number: int, nodes: Iterable[Node]) -> dict[str, pl.Series]:
        """The columns of one shard that are there already among those that `nodes` need, by key."""
        every = {source.key for node in nodes for source in node.nodes()}
        there = {key: self.outcomes[key].parts.get(number) for key in every if key in self.outcomes}
        return {key: part for key, part in there.items() if part is not None}

    def accept(self, node: Node, number: int, computed: Computed) -> None:
        """Takes what became of a node in one shard, checked once more: a worker may be another process."""
        outcome, shard = self.outcomes[node.key], self.shards[number]
        outcome.seconds += computed.seconds
        if computed.series is None:
            outcome.errors[number] = computed.error or "it gave nothing"
            return
        try:
            series = checked(computed.series, node, shard.rows)
        except DistillError as error:
            outcome.errors[number] = error_text(error)
            return
        outcome.parts[number] = series
        if self.cache is not None:
            self.cache.store(shard.sha256, node.key, series)

    def _batch_task(self, node: Node) -> None:
        outcome, computing = self.outcomes[node.key], self._computing
        try:
            columns = {name: self.batch.column(name) for name in computing.columns_of(node)}
        except DistillError as error:
            outcome.errors[0] = error_text(error)
            return
        computed = computing.one(node, self.batch.rows, self._whole, columns)
        outcome.seconds += computed.seconds
        if computed.series is None:
            outcome.errors[0] = computed.error or ""
            return
        outcome.parts[0] = outcome.whole = computed.series
        if self.cache is not None:
            self.cache.store(self.rows_sha256(), node.key, computed.series)

    def _whole(self, node: Node) -> pl.Series:
        outcome = self.outcomes[node.key]
        if outcome.errors:
            raise needs(node, next(iter(outcome.errors.values())))
        return self.whole(outcome)

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


def _split(series: pl.Series, rows: list[int]) -> list[pl.Series]:
    """The whole column cut back into shards without copying, so that parts and whole share their memory."""
    cuts, start = [], 0
    for count in rows:
        cuts.append(series.slice(start, count))
        start += count
    return cuts
