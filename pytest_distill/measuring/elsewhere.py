"""The scan's other place: shards measured by the workers of a cluster, and what has to stay in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pytest_distill.engine.engine import Engine, Job
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring import remote
from pytest_distill.measuring.code import CodeDigests, is_standard
from pytest_distill.measuring.compute import Computed
from pytest_distill.measuring.plan import Node, in_order

if TYPE_CHECKING:
    from pytest_distill.measuring.scan import Scan, Work

Compute = Callable[["Work"], Iterator[int]]


@dataclass
class Elsewhere:
    """Sends shards to an engine's workers. `here` are the measures that no other process can find, and so were computed in this.

    Standard measures never share a process with code of the workspace, which could change what they compute.
    """

    engine: Engine
    code: CodeDigests
    here: set[str] = field(default_factory=set)

    def passes(self, scan: Scan, work: Work, threads: Compute) -> list[tuple[Compute, Work]]:
        """The work in parts that follow each other: standard measures, those of the workspace, those that stay here."""
        nodes = {node.key: node for part in work.values() for node in part}
        standard = {key for key, node in nodes.items() if is_standard(node.measure)}
        bound = {key for key, node in nodes.items() if not all(map(_can_leave, in_order([node])))}
        self.here |= {nodes[key].name for key in bound}
        parts: list[tuple[Compute, set[str]]] = [
            (partial(self._there, scan, own=False), standard),
            (partial(self._there, scan, own=True), set(nodes) - standard - bound),
            (threads, bound),
        ]
        split = [(compute, _of(work, keys)) for compute, keys in parts]
        return [(compute, part) for compute, part in split if part]

    def _there(self, scan: Scan, work: Work, *, own: bool) -> Iterator[int]:
        sources = self.code.sources() if own else None
        setting = remote.Setting(scan.batch, scan.policy, sources, tuple(sys.path) if own else ())
        job = Job(remote.Measurer, (setting,), group="workspace" if own else "")
        tasks = (((number, nodes), remote.order(number, nodes, scan.parts(number, nodes))) for number, nodes in work.items())
        for (number, nodes), found in self.engine.map(job, tasks):
            columns = remote.unpacked(found.columns)
            for node in nodes:
                if (node.key in columns) == (node.key in found.errors):
                    raise DistillError(Code.WORKER, f"a worker gave no answer about {node.name}", "Run it again.")
                error = found.errors.get(node.key)
                scan.accept(node, number, Computed(columns.get(node.key), error, found.seconds.get(node.key, 0.0)))
            yield number


def _of(work: Work, keys: set[str]) -> Work:
    """The part of the work that is about these nodes."""
    return {number: some for number, nodes in work.items() if (some := [node for node in nodes if node.key in keys])}


def _can_leave(node: Node) -> bool:
    return is_standard(node.measure) or remote.findable(node.measure)
