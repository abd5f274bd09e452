"""From fixtures to columns: the plan out of fixture closures, the one scan, and what each gate gets to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_distill.contracts.manifest import SOURCE_COLUMN
from pytest_distill.contracts.run import MeasureRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.gating.evidence import TrackedManifest, tracked
from pytest_distill.gating.parents import Parent, ancestors, parents
from pytest_distill.measuring.code import is_standard
from pytest_distill.measuring.measure import ATTRIBUTE, Measure
from pytest_distill.measuring.plan import Node, Planner, in_order
from pytest_distill.measuring.scan import Scan
from pytest_distill.release.agreement import measured
from pytest_distill.release.inspection import begin, sampling_plan
from pytest_distill.stages.origin import Origin, origin_of

if TYPE_CHECKING:
    import datetime as dt

    import polars as pl

    from pytest_distill.contracts.inspection import Inspection
    from pytest_distill.contracts.manifest import Manifest
    from pytest_distill.contracts.verifier import Agreement
    from pytest_distill.gating.evidence import Evidence
    from pytest_distill.gating.keeper import Keeper
    from pytest_distill.policy.sampling_plan import SamplingPlan


@dataclass(eq=False)
class Columns:
    """The columns of one run."""

    keeper: Keeper
    scan: Scan
    planner: Planner
    standard: dict[str, Measure]
    planned: dict[str, Node] = field(default_factory=dict)
    _nodes: dict[tuple[int, str], Node] = field(default_factory=dict)
    _raw: dict[str, pl.Series] = field(default_factory=dict)

    def plan(self, items: Iterable[pytest.Item]) -> None:
        """Reads each gate's fixture closure. A measure that cannot be planned fails its gates when they ask for it."""
        for item in items:
            for definitions in item._fixtureinfo.name2fixturedefs.values():  # type: ignore[attr-defined]
                measure = getattr(definitions[-1].func, ATTRIBUTE, None)
                if isinstance(measure, Measure):
                    try:
                        node = self.node(measure, item)
                    except DistillError:
                        continue  # raised again, with its reason, inside the gate that needs it
                    self.planned[node.key] = node

    def node(self, measure: Measure, item: pytest.Item) -> Node:
        scope = "" if is_standard(measure) else item.parent.nodeid if item.parent else ""
        key = (id(measure.function), scope)
        if key not in self._nodes:
            self._nodes[key] = self.planner.node(measure, lambda asking, name: self._resolve(asking, name, item))
        return self._nodes[key]

    def _resolve(self, asking: Measure, name: str, item: pytest.Item) -> Measure | None:
        """What a parameter of `asking` means. Standard measures see standard measures only, whatever a workspace declares."""
        if is_standard(asking):
            return self.standard.get(name)
        definitions = item.session._fixturemanager.getfixturedefs(name, item)
        measure = getattr(definitions[-1].func, ATTRIBUTE, None) if definitions else None
        if not isinstance(measure, Measure):
            return None
        self._one_meaning(measure)
        return measure

    def _one_meaning(self, measure: Measure) -> None:
        if not is_standard(measure) and measure.name in self.scan.batch.column_names:
            raise DistillError(
                Code.MEASURE_NAME, f"{measure.name} is a measure and a column of {self.scan.batch.id}", "Rename the measure."
            )

    def _some_rows(self) -> None:
        if not self.scan.batch.rows:
            raise DistillError(Code.EVIDENCE, f"{self.scan.batch.id} has no rows: there is nothing to judge")

    def measured(self, measure: Measure, request: pytest.FixtureRequest) -> pl.Series:
        """A measure's column as the asking gate may see it. The first request starts the scan of all that is planned."""
        item = request.node
        self.keeper.standard_only(item, measure)
        self._one_meaning(measure)
        self._some_rows()
        node = self.node(measure, item)
        self.scan.run(self.planned.values())
        if node.key not in self.planned:
            # Gates have run since the audit that vouched for what is kept: a late column is for this run only.
            self.scan.cache = None
            self.scan.run([node])
        self.planned[node.key] = node
        return self._hand(self.scan.column(node), measure.name, item)

    def raw(self, name: str, request: pytest.FixtureRequest) -> pl.Series:
        return self._hand(self.column(name), name, request.node)

    def column(self, name: str) -> pl.Series:
        """A raw column over all rows, read once."""
        self._some_rows()
        if name not in self._raw:
            self._raw[name] = self.scan.batch.column(name)
        return self._raw[name]

    def _hand(self, series: pl.Series, name: str, item: pytest.Item) -> pl.Series:
        evidence = self.keeper.evidence_or_none(item)
        series = series.clone()  # shares the memory; what a gate writes into its column stays its own
        if evidence is None:
            return series
        return tracked(evidence.population.select(series, everything=evidence.sees_all), name, evidence.used)

    @cached_property
    def candidates(self) -> pl.DataFrame:
        return self.scan.batch.candidates()

    def records(self) -> tuple[MeasureRecord, ...]:
        """What became of every planned measure and its inputs, by name."""
        nodes = in_order(list(self.planned.values()))
        outcomes = [self.scan.outcomes[n.key].record() for n in nodes if n.key in self.scan.outcomes]
        failed = {r.name for r in outcomes if r.status == "failed"}
        seen = {r.name: r for r in outcomes if r.status == "failed"}
        for node in nodes:
            if node.name not in failed:
                seen[node.name] = MeasureRecord(name=node.name, version=node.measure.version, status="ok")
        return tuple(seen[name] for name in sorted(seen))


@dataclass(frozen=True)
class JudgedBatch:
    """The batch as a gate sees it: facts of the manifest, and columns of the population the gate declares."""

    _evidence: Evidence
    _columns: Columns

    def _use(self) -> None:
        self._evidence.used.add("batch")

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def kind(self) -> str:
        return self.manifest.kind

    @property
    def rows(self) -> int:
        """Rows of the population this gate declares: all of the batch, or those that remain."""
        self._use()
        return self._evidence.rows

    @property
    def all_rows(self) -> int:
        self._use()
        return len(self._evidence.population.all)

    @property
    def column_names(self) -> tuple[str, ...]:
        self._use()
        return self._columns.scan.batch.column_names

    @property
    def manifest(self) -> Manifest:
        return cast("Manifest", TrackedManifest(self._columns.scan.batch.manifest, self._evidence.used))

    @property
    def made_at(self) -> dt.datetime | None:
        """When it was made, as created.json says; None where that is gone or says nothing that is a time."""
        self._use()
        return self._columns.scan.batch.made_at

    def places(self, rows: pl.Series) -> pl.Series:
        """Where rows came from, as `file:line`, for a Series of positions in the batch; null for null."""
        return self._evidence.population.places.gather(rows)

    def gold_rows(self) -> pl.DataFrame | None:
        """The rows of the frozen gold set (instruction, response, case), checked byte for byte; None where there is none."""
        import polars as pl

        from pytest_distill.policy import gold

        self._use()
        workspace = self._columns.keeper.workspace
        frozen = gold.frozen(workspace)
        names = ("instruction", "response", "case")
        return pl.DataFrame([{name: row[name] for name in names} for row in gold.rows(workspace, frozen)]) if frozen else None

    def sources(self) -> pl.Series:
        """The name of the file that each row of the population came from."""
        self._use()
        import polars as pl

        population = self._evidence.population
        names = self._columns.scan.batch.manifest.sources
        found = self._columns.scan.batch.column(SOURCE_COLUMN).replace_strict(
            dict(enumerate(source.name for source in names)), return_dtype=pl.String
        )
        return population.select(found, everything=self._evidence.sees_all)

    def candidates(self) -> pl.DataFrame:
        """Every candidate of a generated batch, kept or not; nested values are JSON text. Empty where there are none."""
        self._use()
        return self._columns.candidates.clone()

    def attachment(self, name: str) -> bytes | None:
        """The bytes of a file attached to the batch, None where it has none of that name. Raises E-BATCH-CORRUPT."""
        self._use()
        return self._columns.scan.batch.attachment(name)

    def parents(self) -> tuple[Parent, ...]:
        """The batches that the manifest names as parents, looked up in the workspace, and whether their seals hold."""
        self._use()
        return parents(self._columns.keeper.workspace, self.manifest.parents)

    def ancestors(self) -> tuple[Parent, ...]:
        """The parents, their parents, and so on; the nearest first."""
        self._use()
        return ancestors(self._columns.keeper.workspace, self.manifest.parents)

    def origin(self, *first: str) -> Origin | None:
        """The receipts of the stages behind these bytes, back to those named `first`; None where none says who wrote them."""
        self._use()
        batch = self._columns.scan.batch
        return origin_of(self._columns.keeper.workspace, batch.id, batch.sha256, first=frozenset(first))

    def inspection(self) -> Inspection:
        """The record of this batch's inspection, empty where nobody has looked. Raises E-LEDGER for one that was edited."""
        self._use()
        return begin(self._columns.keeper.workspace, self._columns.scan.batch)

    def sampling_plan(self) -> SamplingPlan:
        """How many rows have to be looked at, and how many defects are accepted among them."""
        self._use()
        return sampling_plan(self._columns.keeper.workspace, self._columns.scan.batch)

    def agreement(self, verifier_id: str) -> Agreement | None:
        """How far a verifier agrees with people; None where nobody has measured it. Raises E-LEDGER for an edited record."""
        self._use()
        return measured(self._columns.keeper.workspace, verifier_id)

    def column(self, name: str) -> Any:
        """One raw column of the population. Raises E-COLUMN when the batch has no such column."""
        batch = self._columns.scan.batch
        if name not in batch.column_names:
            raise DistillError(Code.COLUMN, f"{batch.id} has no column {name!r}", f"It has {', '.join(batch.column_names)}.")
        series = self._columns.column(name).clone()
        return tracked(self._evidence.population.select(series, everything=self._evidence.sees_all), name, self._evidence.used)
