"""Measures of shards in workers that are other processes, perhaps of other machines: what is sent, and what is done there.

A worker is sent no function. It is told where a measure stands, imports it, and computes only if what it has found has the key
that was planned: the same code, versions, configuration, kind and inputs. Rows come from the batch's own files, whose digests
are those of the manifest. Whatever differs is refused, and no column comes of it.
"""

from __future__ import annotations

import importlib.util
import io
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring import integrity
from pytest_distill.measuring.code import Sources, is_standard, loose_modules, standard_digest
from pytest_distill.measuring.compute import Computing, error_text
from pytest_distill.measuring.measure import ATTRIBUTE, Measure
from pytest_distill.measuring.plan import Node, Planner, in_order
from pytest_distill.measuring.standard import standard_measures, standard_modules
from pytest_distill.policy.model import Policy, pinned_files

if TYPE_CHECKING:
    import types

    import polars as pl


class NodeOrder(NamedTuple):
    """One planned measure: where it stands, and what each of its parameters is (the key of another, or a column's name)."""

    key: str
    name: str
    module: str
    file: str | None  # None: a standard measure
    inputs: tuple[tuple[str, str | None, str | None], ...]


class ShardOrder(NamedTuple):
    """Which nodes of `nodes` (inputs first) are to be computed for one shard; `given` are columns that are there, by key."""

    number: int
    nodes: tuple[NodeOrder, ...]
    wanted: frozenset[str]
    given: bytes


class ShardColumns(NamedTuple):
    """Columns by key, as Arrow IPC; what went wrong with the others; and seconds."""

    columns: bytes
    errors: dict[str, str]
    seconds: dict[str, float]


class Setting(NamedTuple):
    """What all shards of a batch have in common. `sources` is None for standard measures, which run in processes of their own."""

    batch: Batch
    policy: Policy
    sources: Sources | None
    path: tuple[str, ...]  # where the planning process looks for modules


def findable(measure: Measure) -> bool:
    """True when another process finds this very measure by its module and name."""
    module = sys.modules.get(measure.module)
    there = getattr(module, measure.name, None)
    file = getattr(module, "__file__", None)
    return getattr(there, ATTRIBUTE, None) is measure and file is not None and str(Path(file).resolve()) == _file(measure)


def _file(measure: Measure) -> str:
    return str(Path(measure.function.__code__.co_filename).resolve())


def order(number: int, nodes: Sequence[Node], given: Mapping[str, pl.Series]) -> ShardOrder:
    """What a worker is sent to compute `nodes` for one shard."""
    every = in_order(list(nodes))
    return ShardOrder(number, tuple(map(_node_order, every)), frozenset(node.key for node in nodes), packed(given))


def _node_order(node: Node) -> NodeOrder:
    inputs = tuple((name, source.key, None) if isinstance(source, Node) else (name, None, source) for name, source in node.inputs)
    file = None if is_standard(node.measure) else _file(node.measure)
    return NodeOrder(node.key, node.name, node.measure.module, file, inputs)


def packed(columns: Mapping[str, pl.Series]) -> bytes:
    import polars as pl

    buffer = io.BytesIO()
    pl.DataFrame([series.alias(key) for key, series in columns.items()]).write_ipc(buffer)
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, pl.Series]:
    import polars as pl

    return {series.name: series for series in pl.read_ipc(io.BytesIO(data))}


class Measurer:
    """What a worker needs to measure shards of one batch. Made once in each."""

    def __init__(self, setting: Setting) -> None:
        """Raises E-RUN-TAINTED where libraries are not the installed ones, E-ENGINE where files are not those of the plan."""
        self._where = f"the worker on {platform.node()}"
        self._setting = setting
        self._computing = Computing(setting.batch, setting.policy)
        self._standard = standard_measures(standard_modules())
        self._modules: dict[str, types.ModuleType] = {}
        if setting.sources is not None:
            self._same_files(setting.sources.files)
            sys.path.extend(path for path in setting.path if path not in sys.path)
        self._same_files([(str(file.resolved), file.sha256) for file in pinned_files(setting.policy)])
        if found := integrity.findings():
            raise DistillError(Code.TAINT, f"in {self._where}, {found[0]}")

    def __call__(self, told: ShardOrder) -> ShardColumns:
        batch = self._setting.batch
        shard = batch.manifest.shards[told.number]
        self._same_files([(str(batch.shard_path(shard)), shard.sha256)])
        nodes = [node for node in self._nodes(told) if node.key in told.wanted]
        columns, errors, seconds = {}, {}, {}
        for node, computed in self._computing.shard(shard, nodes, unpacked(told.given)):
            seconds[node.key] = computed.seconds
            if computed.series is not None:
                columns[node.key] = computed.series
            else:
                errors[node.key] = computed.error or ""
        return ShardColumns(packed(columns), errors, seconds)

    def _same_files(self, files: Sequence[tuple[str, str]]) -> None:
        for name, sha256 in files:
            try:
                found = storage.sha256_file(Path(name))
            except OSError as error:
                hint = "Every machine of the cluster needs the workspace at the same place."
                raise DistillError(Code.ENGINE, f"{self._where} cannot read {name}: {error.strerror}", hint) from error
            if found != sha256:
                raise DistillError(Code.ENGINE, f"{self._where} has another {name} than was planned with", "Run it again.")

    def _nodes(self, told: ShardOrder) -> list[Node]:
        """The nodes as this process plans them. Raises E-ENGINE for one that is not what was planned."""
        batch, sources = self._setting.batch, self._setting.sources

        def code(measure: Measure) -> str:
            return standard_digest() if is_standard(measure) or sources is None else sources.sha256

        planner = Planner(frozenset(batch.column_names), batch.kind, self._setting.policy, code, batch.manifest.columns)
        nodes: dict[str, Node] = {}
        for each in told.nodes:
            meant = {name: nodes[key] for name, key, _ in each.inputs if key is not None}
            node = planner.bound(self._measure(each), [(name, meant.get(name, column)) for name, _, column in each.inputs])
            if node.key != each.key or node.measure.inputs != tuple(name for name, *_ in each.inputs):
                raise DistillError(Code.ENGINE, f"{self._where} has another {each.name} than was planned with", "Run it again.")
            nodes[node.key] = node
        if sources is not None and (strange := {str(path) for _, path in loose_modules()} - {name for name, _ in sources.files}):
            raise DistillError(Code.ENGINE, f"{self._where} imported {min(strange)}, which nobody planned with")
        return list(nodes.values())

    def _measure(self, each: NodeOrder) -> Measure:
        if each.file is None:
            found: Measure | None = self._standard.get(each.name)
        elif self._setting.sources is None or each.file not in dict(self._setting.sources.files):
            found = None  # only files whose bytes were compared are imported
        else:
            found = getattr(getattr(self._module(each.module, each.file), each.name, None), ATTRIBUTE, None)
        if not isinstance(found, Measure):
            raise DistillError(Code.ENGINE, f"{self._where} finds no measure {each.name} in {each.file or 'the suite'}")
        return found

    def _module(self, name: str, file: str) -> types.ModuleType:
        if file not in self._modules:
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except Exception as error:  # whatever a user's file may raise when it is imported away from its own process
                what = f"{self._where} cannot import {name}: {error_text(error)}"
                raise DistillError(Code.ENGINE, what, "Judge with --distill-engine=local.") from error
            self._modules[file] = module
        return self._modules[file]
