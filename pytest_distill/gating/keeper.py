"""The gatekeeper: watches every gate of one run through its own eyes, and judges at the end.

It trusts no report: it reads the raw outcome of each call, pins the code of each gate when it is collected, and counts
what is missing as "no". Outcomes that other plugins or conftests rewrite do not reach it.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_distill import clock
from pytest_distill.batch.batch import Batch
from pytest_distill.errors import Code, DistillError, one_line
from pytest_distill.gating import audit, judge
from pytest_distill.gating.collector import Collector
from pytest_distill.gating.columns import Columns, JudgedBatch
from pytest_distill.gating.evidence import Evidence, GateFailedError
from pytest_distill.gating.fixtures import CORE, column_fixtures
from pytest_distill.gating.judge import Observation
from pytest_distill.gating.population import Population
from pytest_distill.gating.progress import scan_progress
from pytest_distill.gating.terminal import reasons
from pytest_distill.measuring import integrity
from pytest_distill.measuring.measure import Measure
from pytest_distill.policy.bulk import is_generated_bulk
from pytest_distill.policy.workspace import Workspace
from pytest_distill.suite.declared import Declared, effective_limits, not_applicable, severity

if TYPE_CHECKING:
    import polars as pl


@dataclass(eq=False)
class Gate:
    """One collected gate item: what it declares, what was seen of it, and the code it had when it was collected."""

    item: pytest.Function
    seen: Observation
    code: Any


@dataclass(eq=False)
class Keeper:
    """One run's watch. The plugin object registered under the name "distill-keeper"."""

    config: pytest.Config
    workspace: Workspace
    batch: Batch
    declared: dict[str, Declared]
    collector: Collector
    columns: Columns = field(init=False)
    population: Population = field(init=False)
    gates: dict[pytest.Item, Gate] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    protected: dict[str, Any] = field(default_factory=dict)
    ran: bool = False

    def __post_init__(self) -> None:
        self.population = Population(self.batch)

    def find(self, text: str) -> None:
        """Taints the run, once per finding."""
        if (line := one_line(text)) not in self.findings:
            self.findings.append(line)

    # -- fixtures ask here ------------------------------------------------------------------------------------------

    def evidence_or_none(self, item: pytest.Item) -> Evidence | None:
        gate = self.gates.get(item)
        return gate.seen.evidence if gate else None

    def evidence(self, item: pytest.Item) -> Evidence:
        evidence = self.evidence_or_none(item)
        if evidence is None:
            raise DistillError(Code.GATE, f"{item.name} is no gate", 'Mark it: @gate("your.id").')
        return evidence

    def judged(self, item: pytest.Item) -> JudgedBatch:
        return JudgedBatch(self.evidence(item), self.columns)

    def gold(self) -> pl.DataFrame:
        import polars as pl

        from pytest_distill.batch.ingest import read_records

        files = sorted((self.workspace.root / "gold").glob("*.jsonl"))
        if not files:
            raise DistillError(Code.WORKSPACE, "the workspace has no gold set", "Put reference rows into gold/*.jsonl.")
        return pl.DataFrame([row for file in files for row in read_records(file)], infer_schema_length=None)

    def standard_only(self, item: pytest.Item, measure: Measure) -> None:
        """A standard gate decides on standard measures: one of a workspace under the same name taints the run."""
        gate = self.gates.get(item)
        if gate and gate.seen.gate.origin == "standard" and self.columns.standard.get(measure.name) is not measure:
            gate.seen.findings.append(f"the standard measure {measure.name} was replaced")
            self.find(f"the standard measure {measure.name} was replaced")

    # -- collection -------------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Raw columns become fixtures where their name is free; then every protected name is written down."""
        manager = session._fixturemanager
        taken = frozenset(name for name in self.batch.column_names if manager.getfixturedefs(name, session))
        module = column_fixtures(self.batch.column_names, taken)
        self.config.pluginmanager.register(module, "distill-columns-of-the-batch")
        for definition in (*CORE, *(v for v in vars(module).values() if hasattr(v, "_get_wrapped_function"))):
            self.protected[definition.name] = definition._get_wrapped_function()
        for name, measure in self.columns.standard.items():
            self.protected[name] = measure

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Notes every gate the moment it exists: what drops it later cannot make it unknown."""
        marks = list(item.iter_markers("gate"))
        place = f"{audit.shown(self.config, str(item.path))}::{item.name}"
        if not marks:
            if self.collector.holds(item.path):
                self.find(f"{place} is in a gates folder and is no gate: mark it with @gate")
            return
        gate_id = marks[0].args[0] if marks[0].args else None
        declared = self.declared.get(gate_id) if isinstance(gate_id, str) else None
        if declared is None or not isinstance(item, pytest.Function) or not declares(declared, item):
            self.find(f"{place} carries the gate id {gate_id!r}, which its source does not declare")
            return
        full_id = f"{declared.id}[{item.callspec.id}]" if hasattr(item, "callspec") else declared.id
        if any(g.seen.id == full_id for g in self.gates.values()):
            self.find(f"the gate {full_id} was collected twice")
            return
        evidence = Evidence(declared, effective_limits(declared, self.workspace.policy), self.population)
        seen = Observation(declared, full_id, evidence, source=audit.shown(self.config, str(declared.file)))
        self.gates[item] = Gate(item, seen, getattr(item.obj, "__code__", None))

    def why_not(self, gate: Declared) -> str | None:
        """Why the gate is not required for this batch; None when it is."""
        manifest = self.batch.manifest
        columns = tuple(c.name for c in manifest.columns)
        facts = {"kind": manifest.kind, "origin": manifest.origin, "pipeline": manifest.how.pipeline}
        return not_applicable(
            gate,
            **facts,
            bulk=is_generated_bulk(manifest, self.batch.rows, self.workspace.policy),
            columns=columns,
            policy=self.workspace.policy,
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        """Outermost, so after everyone else: row gates, then batch gates, then what is no gate."""
        yield
        for item in [i for i in items if i in self.gates and self.why_not(self.gates[i].seen.gate)]:
            items.remove(item)
        order = {"row": 0, "batch": 1}
        items.sort(key=lambda i: order[self.gates[i].seen.gate.kind] if i in self.gates else 2)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        gates = [i for i in session.items if i in self.gates]
        self.columns.plan(gates)
        for item in gates:
            self._audit_closure(item)
        self._audit()
        if self.findings:  # columns computed by code that is not what it should be are kept for nobody
            self.columns.scan.cache = None
        if not hasattr(self.config, "workerinput"):  # with xdist only the worker that gets the gates scans, when they ask
            self._scan()
        result = yield
        self._audit()
        for text in audit.canary(session):
            self.find(text)
        return result

    def _scan(self) -> None:
        with scan_progress(self.config, self.batch.rows) as progress:
            try:
                self.columns.scan.run(self.columns.planned.values(), progress)
            except DistillError as error:  # the batch cannot be read: every gate that needs it will say so too
                if error.code not in (Code.ENGINE, Code.WORKER):  # nobody interfered; and no gate gets a column
                    self.find(str(error))

    def _audit(self) -> None:
        looks = (audit.interpreter(self.config), audit.foreign_hooks(self.config), integrity.interference())
        for text in (*chain(*looks), *audit.replaced_code(self.config)):
            self.find(text)

    def _audit_closure(self, item: pytest.Item) -> None:
        for name, definitions in item._fixtureinfo.name2fixturedefs.items():  # type: ignore[attr-defined]
            self._audit_fixture(item, name, definitions[-1].func)
        if "subtests" in item._fixtureinfo.name2fixturedefs:  # type: ignore[attr-defined]
            self.gates[item].seen.findings.append("it uses subtests, whose failures do not fail the gate")

    def _audit_fixture(self, item: pytest.Item, name: str, function: Any) -> None:
        from pytest_distill.measuring.measure import ATTRIBUTE

        allowed = self.protected.get(name)
        if allowed is None or function is allowed or getattr(function, ATTRIBUTE, None) is allowed:
            return
        self.gates[item].seen.findings.append(f"the fixture {name} was replaced")
        self.find(f"the protected fixture {name} was replaced for {self.gates[item].seen.id}")

    # -- running ----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, object, object]:
        """Closures do not show what `getfixturevalue` asks for; this sees every fixture that is really set up."""
        item = getattr(request, "_pyfuncitem", None)  # not request.node: that is the session for a session's fixture
        if item in self.gates:
            self._audit_fixture(item, fixturedef.argname, fixturedef.func)
        return (yield)

    def _audit_call(self, gate: Gate) -> None:
        """Right before the call: the code is what was collected, and every protected argument is what its fixture gave."""
        item = gate.item
        if getattr(item.obj, "__code__", None) is not gate.code or inspect.unwrap(item.obj) is not item.obj:
            gate.seen.findings.append("its code was replaced after it was collected")
            self.find(f"the code of {gate.seen.id} was replaced after it was collected")
        for name, value in item.funcargs.items():
            definitions = item._fixtureinfo.name2fixturedefs.get(name, ())
            given = definitions[-1].cached_result if definitions else None
            if name in self.protected and (given is None or given[0] is not value):
                gate.seen.findings.append(f"its argument {name} is not what the fixture gave")
                self.find(f"the argument {name} of {gate.seen.id} was replaced")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        gate = self.gates.get(pyfuncitem)
        if gate is None:
            return (yield)
        self.ran = True
        self._audit_call(gate)
        evidence = self.evidence(pyfuncitem)
        gate.seen.calls += 1
        if gate.seen.gate.kind == "row" and any(g.seen.calls and g.seen.gate.kind == "batch" for g in self.gates.values()):
            self.find(f"the row gate {gate.seen.id} ran after a batch gate, which so judged rows that were rejected later")
        try:
            with warnings.catch_warnings():
                # A gate that returns a value decides nothing; pytest only warns.
                warnings.simplefilter("error", pytest.PytestReturnNotNoneWarning)
                result = yield
        finally:
            if evidence.mask is not None and severity(gate.seen.gate, self.workspace.policy) == "block":
                self.population.reject(gate.seen.id, evidence.mask)
        if failures := evidence.failures():
            raise GateFailedError("\n".join(failures))
        if absent := judge.missing(gate.seen):
            raise DistillError(Code.EVIDENCE, absent)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        gate = self.gates.get(item)
        if gate is not None:
            gate.seen.phases.append(call.when)
            if call.excinfo is not None:
                error = call.excinfo.value
                # A GateFailedError says what the figures say already.
                gate.seen.raised[call.when] = "" if isinstance(error, GateFailedError) else self._raised(gate.item, error)
            if any(item.iter_markers("xfail")):
                gate.seen.findings.append("it is marked xfail: a gate that is expected to fail cannot say yes")
        report = yield
        if call.excinfo is None:
            return report
        if gate is None:  # a traceback through this file would tell its writer nothing
            if isinstance(call.excinfo.value, DistillError):
                report.longrepr = str(call.excinfo.value)
            return report
        if isinstance(call.excinfo.value, TOLD):
            said = judge.record(gate.seen, why_not=None, waiver=None, policy=self.workspace.policy)
            report.longrepr = "\n".join(reasons(said))
        if report.failed:
            report.distill_gate = gate.seen.id  # the terminal need not tell again what pytest shows
            if lenient := self.lenient(gate):
                report.outcome, report.wasxfail = "skipped", lenient
        return report

    def _raised(self, item: pytest.Function, error: BaseException) -> str:
        """One line for what a gate raised; for a name that is nothing, the names it is like."""
        if not isinstance(error, pytest.FixtureLookupError) or error.msg:
            return what_was_raised(error)
        own = [name for name, value in vars(item.module).items() if hasattr(value, "_get_wrapped_function")]
        near = difflib.get_close_matches(str(error.argname), [*own, *self.protected], n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else f"Columns: {', '.join(self.batch.column_names)}."
        return one_line(f"it asks for {error.argname!r}, which is no column, measure or fixture. {hint}")

    def lenient(self, gate: Gate) -> str | None:
        """Why a no of this gate does not block, and so does not turn pytest red either; None when it does."""
        if severity(gate.seen.gate, self.workspace.policy) == "warn":
            return "a warning"
        live, _ = judge.waivers(self.workspace.policy, clock.now().date())
        waiver = live.get(gate.seen.gate.id)
        return f"waived by {waiver.who}" if waiver else None


def declares(declared: Declared, item: pytest.Function) -> bool:
    """True when the item is the very function that the declaration was read from, and runs its code."""
    code = getattr(item.obj, "__code__", None)
    if code is None or declared.file.resolve() != item.path.resolve() or Path(code.co_filename).resolve() != item.path.resolve():
        return False
    return bool(item.originalname == code.co_name == declared.function.split(".")[-1] and code.co_firstlineno <= declared.line)


# What is told in one line of ours. Anything else is the gate's own, and has pytest's traceback.
TOLD = (GateFailedError, DistillError, pytest.PytestReturnNotNoneWarning, pytest.FixtureLookupError)


def what_was_raised(error: BaseException) -> str:
    """One line for what a gate raised. A skip is named as what it is here: a gate that did not judge."""
    if isinstance(error, pytest.skip.Exception):
        return f"it was skipped ({one_line(str(error))}): whether a gate applies is decided by applies=, never by a skip"
    if isinstance(error, pytest.xfail.Exception):
        return f"it called xfail ({one_line(str(error))}): a gate that is expected to fail cannot say yes"
    if isinstance(error, pytest.PytestReturnNotNoneWarning):
        return "it returned a value, which decides nothing: call quarantine(mask) or require(name, value, at_most=bound)"
    if isinstance(error, DistillError):
        return str(error)
    return one_line(f"{type(error).__name__}: {error}")[:500]
