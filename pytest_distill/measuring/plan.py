"""The plan: which columns have to be computed, from what, in which order, and the key of each.

A node's key digests everything its values depend on: the function's code and all code it can reach, its version, its
configuration, the keys of its inputs, and the libraries. Equal keys over equal shards mean equal columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_distill import storage
from pytest_distill.contracts.manifest import Column
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.measure import Measure
from pytest_distill.policy.model import Policy

Resolve = Callable[[Measure, str], Measure | None]
CodeDigest = Callable[[Measure], str]


@dataclass(frozen=True)
class Node:
    """One planned measure. `inputs` maps each parameter to a node, to a column's name, or to None (optional and absent)."""

    measure: Measure
    inputs: tuple[tuple[str, Node | str | None], ...]
    key: str

    @property
    def name(self) -> str:
        return self.measure.name

    def nodes(self) -> list[Node]:
        return [source for _, source in self.inputs if isinstance(source, Node)]

    def columns(self) -> list[str]:
        return [source for _, source in self.inputs if isinstance(source, str)]


@dataclass
class Planner:
    """Turns measures into nodes for one batch. `columns` are the batch's, `code` digests the code a measure reaches."""

    columns: frozenset[str]
    kind: str
    policy: Policy
    code: CodeDigest
    declared: tuple[Column, ...] = ()  # the same columns with their types, for measures of whole rows

    def node(self, measure: Measure, resolve: Resolve, _path: tuple[str, ...] = ()) -> Node:
        """Plans one measure. `resolve(measure, name)` gives the measure that `name` means to it, or None when it names a column.

        Raises E-MEASURE for circles, for inputs that nobody provides, and for a shard measure that needs a batch measure.
        """
        if measure.name in _path:
            raise DistillError(Code.MEASURE, f"measures need each other in a circle: {' -> '.join((*_path, measure.name))}")
        inputs: list[tuple[str, Node | str | None]] = []
        for name in measure.inputs:
            found = resolve(measure, name)
            if found is not None:
                node = self.node(found, resolve, (*_path, measure.name))
                if node.measure.scope == "batch" and measure.scope == "shard":
                    raise DistillError(
                        Code.MEASURE, f"{measure.name} needs {name}, which needs all rows", 'Give it scope="batch".'
                    )
                inputs.append((name, node))
            elif name in self.columns:
                inputs.append((name, name))
            elif name in measure.optional:
                inputs.append((name, None))
            else:
                near = difflib.get_close_matches(name, sorted(self.columns), n=3)
                raise DistillError(
                    Code.MEASURE,
                    f"{measure.name} needs {name!r}, which is neither a column of this batch nor a measure",
                    f"Did you mean {', '.join(near)}?" if near else f"Columns: {', '.join(sorted(self.columns))}.",
                )
        return self.bound(measure, inputs)

    def bound(self, measure: Measure, inputs: Sequence[tuple[str, Node | str | None]]) -> Node:
        """The node of a measure whose parameters are these."""
        return Node(measure, tuple(inputs), self._key(measure, inputs))

    def _key(self, measure: Measure, inputs: Sequence[tuple[str, Node | str | None]]) -> str:
        sources = [[name, s.key if isinstance(s, Node) else s] for name, s in inputs]
        parts = {
            "name": measure.name,
            "version": measure.version,
            "scope": measure.scope,
            "code": self.code(measure),
            "config": self.policy.table_digest(measure.config) if measure.config else None,
            "kind": self.kind if measure.wants_kind else None,
            "record": [column.model_dump() for column in self.declared] if measure.wants_record else None,
            "inputs": sources,
        }
        return storage.sha256_bytes(storage.canonical_json(parts))


def in_order(nodes: list[Node]) -> list[Node]:
    """`nodes` and all they need, each once, inputs first."""
    ordered: dict[str, Node] = {}

    def visit(node: Node) -> None:
        if node.key not in ordered:
            for source in node.nodes():
                visit(source)
            ordered[node.key] = node

    for node in nodes:
        visit(node)
    return list(ordered.values())
