"""The standard measures of one batch, for those who look at it and do not judge: report, statistics, samples.

A column is taken from a scan that has just run, else from the cache; one that nobody has computed is computed and cached.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_distill.measuring.cache import Cache
from pytest_distill.measuring.code import CodeDigests
from pytest_distill.measuring.plan import Node, Planner
from pytest_distill.measuring.scan import Scan
from pytest_distill.measuring.standard import standard_measures, standard_modules

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.batch.batch import Batch
    from pytest_distill.measuring.measure import Measure
    from pytest_distill.policy.workspace import Workspace


class Columns:
    """The standard measures of one batch: of a scan that has just run, else through the cache, else computed and cached."""

    def __init__(self, scan: Scan, planner: Planner, measures: dict[str, Measure]) -> None:
        self.scan = scan
        self.planner = planner
        self.measures = measures

    @classmethod
    def of(cls, workspace: Workspace, batch: Batch) -> Columns:
        policy = workspace.policy
        names = frozenset(batch.column_names)
        planner = Planner(names, batch.kind, policy, CodeDigests(workspace), batch.manifest.columns)
        return cls(Scan(batch, policy, Cache(workspace.cache)), planner, standard_measures(standard_modules()))

    def node(self, name: str) -> Node:
        """The plan of a measure for this batch. Raises E-MEASURE where the batch has not what it needs."""
        return self.planner.node(self.measures[name], lambda _, other: self.measures.get(other))

    def known(self, node: Node) -> bool:
        """True where reading the column computes nothing."""
        there = self.scan.outcomes.get(node.key)
        keys = self._keys(node)
        if there is not None and len(there.parts) == len(keys):
            return True
        cache = self.scan.cache
        return cache is not None and all(cache.path(sha256, node.key).is_file() for sha256, _ in keys)

    def _keys(self, node: Node) -> list[tuple[str, int]]:
        """What the cache keeps the column under: digest and rows of each shard, or of the whole batch."""
        if node.measure.scope == "batch":
            return [(self.scan.rows_sha256(), self.scan.batch.rows)]
        return [(shard.sha256, shard.rows) for shard in self.scan.shards]

    def parts(self, name: str) -> Iterator[pl.Series]:
        """The column in pieces, in batch order. Raises E-MEASURE when it cannot be computed."""
        node, scan = self.node(name), self.scan
        if not self.known(node):
            return iter(self._computed(node))
        keys = self._keys(node)
        there = scan.outcomes.get(node.key)
        if there is not None and len(there.parts) == len(keys):
            return iter([there.parts[number] for number in range(len(keys))])
        assert scan.cache is not None
        return self._cached(node, keys, scan.cache)

    def _cached(self, node: Node, keys: list[tuple[str, int]], cache: Cache) -> Iterator[pl.Series]:
        for number, (sha256, rows) in enumerate(keys):
            part = cache.load(sha256, node.key, rows)
            yield part if part is not None else self._computed(node)[number]  # None: there, and does not authenticate

    def _computed(self, node: Node) -> list[pl.Series]:
        scan = Scan(self.scan.batch, self.scan.policy, self.scan.cache)  # one of its own, so that its columns are let go
        scan.run([node])
        scan.column(node)  # raises what went wrong
        parts = scan.outcomes[node.key].parts
        return [parts[number] for number in sorted(parts)]
