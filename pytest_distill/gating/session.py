"""One gate run from start to verdict: resolves the batch, registers the plugin objects, writes what was found.

An INCOMPLETE record is written before anything runs and replaced only at the end, so that a run that dies says "no" too.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.digest import files_below
from pytest_distill.contracts.manifest import BATCH_ID, Manifest
from pytest_distill.contracts.run import NOT_COLLECTED, GateRecord, Rows, RunRecord, RunTimes
from pytest_distill.engine.chosen import chosen
from pytest_distill.engine.local import Threads
from pytest_distill.errors import Code, DistillError, refused_by_system
from pytest_distill.gating import fixtures, judge
from pytest_distill.gating.collector import Collector
from pytest_distill.gating.columns import Columns
from pytest_distill.gating.keeper import Keeper
from pytest_distill.gating.modes import PASSED, looks_only
from pytest_distill.gating.quarantine import write_quarantine
from pytest_distill.gating.terminal import Terminal
from pytest_distill.measuring.cache import Cache
from pytest_distill.measuring.code import CodeDigests
from pytest_distill.measuring.elsewhere import Elsewhere
from pytest_distill.measuring.plan import Planner
from pytest_distill.measuring.scan import Scan
from pytest_distill.measuring.standard import standard_measures, standard_modules
from pytest_distill.policy import changes
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release import escalation, incidents
from pytest_distill.release.seal import SEAL, refusals, write_seal
from pytest_distill.release.verdict import EVIDENCE, VERDICT, write_verdict
from pytest_distill.suite import declared as declarations
from pytest_distill.suite import digest
from pytest_distill.suite.declared import Declared

TIMES = "run.json"
REPORTED_ROWS = 100_000  # up to here the page takes a quarter of a second, so every run has one


@dataclass(frozen=True)
class Binding:
    """What a verdict is bound to besides the batch. Taken at the start and again at the end: they have to agree."""

    batch: str
    policy: str
    gates: str
    plugins: str

    @property
    def run_id(self) -> str:
        """The same bytes under the same policy, gates and plugins are the same judgement."""
        return storage.sha256_bytes(f"{self.batch}\n{self.policy}\n{self.gates}\n{self.plugins}".encode())[:16]


def stamps(folder: Path) -> dict[str, tuple[int, ...]]:
    """Inode, size and times of every file: what a file that was exchanged and put back does not have any more."""
    facts = {name: (folder / name).stat() for name in files_below(folder)}
    return {name: (f.st_ino, f.st_size, f.st_mtime_ns, f.st_ctime_ns) for name, f in facts.items()}


def audit_facts(manifest: Manifest, record: RunRecord) -> dict[str, str | tuple[str, ...]]:
    """What the bulk contract wants of every batch in the audit trail: what, why, how, gates passed."""
    models = "".join(f" {model.name}@{model.revision}" for model in manifest.how.models)
    passed = tuple(gate.id for gate in record.gates if gate.status == "passed")
    return {"what": manifest.what, "why": manifest.why, "how": f"{manifest.how.pipeline}{models}", "gates_passed": passed}


def bind(workspace: Workspace, batch: Batch) -> Binding:
    return Binding(batch.sha256, workspace.policy.sha256, digest.gates_digest(workspace), digest.plugins_digest())


def start(config: pytest.Config) -> None:
    """Called by the plugin when there is a batch to judge. A refusal is our one line on stderr and exit code 4."""
    try:
        _start(config)
    except (DistillError, OSError) as caught:
        error = refused_by_system(caught) if isinstance(caught, OSError) else caught
        print(error.line(), file=sys.stderr)  # noqa: T201 - pytest would put a second "ERROR:" before it
        raise pytest.UsageError() from error


def _start(config: pytest.Config) -> None:
    option = config.option
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    controller = worker is None and config.getoption("dist", "no") != "no"
    folder = Path(option.distill_workspace) if option.distill_workspace else None
    workspace = workspaces.load(folder, start=config.invocation_params.dir, allow_implicit=True)
    changes.check(workspace)
    if worker is not None:
        batch = open_batch(Path(worker["distill_batch"]))
    else:
        batch = resolve(workspace, option.distill_batch, option.distill_kind, config.invocation_params.dir)
    gates = declarations.declared_gates(workspace)
    declarations.check_policy(gates, workspace.policy)
    collector = Collector(declarations.suite_folder(), workspace.gates, workspace.batches)
    explicit = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = collector.arguments(list(config.args), explicit=explicit)
    register(config, collector, "distill-collector")

    keeper = Keeper(config, workspace, batch, gates, collector)
    modules = standard_modules()
    cache = None if option.distill_no_cache else Cache(workspace.cache)
    code, wanted = CodeDigests(workspace), option.distill_workers
    engine = chosen(option.distill_engine, option.distill_ray_address, wanted, lambda: Threads(wanted))
    config.add_cleanup(engine.close)
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        engine.watch()
    elsewhere = None if option.distill_engine == "local" else Elsewhere(engine, code)
    scan = Scan(batch, workspace.policy, cache, workers=engine.workers, elsewhere=elsewhere)
    planner = Planner(frozenset(batch.column_names), batch.kind, workspace.policy, code, batch.manifest.columns)
    keeper.columns = Columns(keeper, scan, planner, standard_measures(modules))
    config.stash[fixtures.KEEPER] = keeper
    register(config, fixtures, "distill-fixtures")
    for module in modules:
        register(config, module, module.__name__)

    looking_only = looks_only(config)
    if not looking_only:
        run = Run(config, workspace, batch, gates, keeper, bind(workspace, batch), controller=controller)
        if worker is not None:
            run.folder = Path(worker["distill_run"])
        else:
            run.begin()
        register(config, run, "distill-run")
        register(config, Terminal(run, config), "distill-terminal")
    if controller:
        from pytest_distill.gating.xdist import OneWorker

        register(config, OneWorker(batch, run.folder if not looking_only else None), "distill-xdist")
    register(config, keeper, "distill-keeper")


def register(config: pytest.Config, plugin: object, name: str) -> None:
    """Registers one of our plugin objects. Raises E-RUN-TAINTED for a blocked name, which pytest passes over in silence."""
    if config.pluginmanager.register(plugin, name) is None:
        raise DistillError(Code.TAINT, f"the plugin {name} is blocked", f"Without it nothing is judged: leave out -p no:{name}.")


def resolve(workspace: Workspace, name: str, kind: str | None, here: Path) -> Batch:
    """The batch of that id, or the one made on the spot from a data file of that name."""
    file = (here / name).resolve()
    known = BATCH_ID.fullmatch(name) is not None and workspace.batch_folder(name).is_dir()
    if not known and not file.is_file() and (Path(name).name != name or Path(name).suffix):
        raise DistillError(
            Code.SOURCE,
            f"{name} is neither a file here nor a batch of {workspace.root.name}",
            "`distill list` shows the batches.",
        )
    if not known and not file.is_file() and workspace.implicit:
        raise DistillError(
            Code.BATCH_NOTFOUND,
            f"no batch {name}: there is no distill.toml in this folder or above, so it is no workspace",
            "Go into the workspace, name it with --distill-workspace, or name a file.",
        )
    if known or not file.is_file():
        return open_batch(workspace.batch_folder(name))
    from pytest_distill.batch.ingest import ingest_ad_hoc

    return ingest_ad_hoc(file, workspace, kind=kind)


@dataclass(eq=False)
class Run:
    """The plugin object that frames the session: INCOMPLETE at its start, the verdict at its end."""

    config: pytest.Config
    workspace: Workspace
    batch: Batch
    gates: dict[str, Declared]
    keeper: Keeper
    binding: Binding
    controller: bool = False
    folder: Path = Path()
    record: RunRecord | None = None
    exported: Path | None = None
    reported: Path | None = None
    unreported: DistillError | None = None
    error: DistillError | None = None
    _stamps: dict[str, tuple[int, ...]] = field(init=False)
    _started: float = field(default_factory=time.perf_counter)
    _started_at: str = field(default_factory=clock.timestamp)

    def __post_init__(self) -> None:
        self._stamps = stamps(self.batch.folder)

    def begin(self) -> None:
        self.folder = self.workspace.new_run_folder(self.batch.id)
        required = judge.required_ids(self.gates, (), self.workspace.policy)
        record = self._record("INCOMPLETE", required, (), ("the run did not reach its end",), None, 0)
        record.write(self.folder / EVIDENCE)
        write_verdict(self.folder, record)

    def _record(
        self,
        verdict: str,
        required: tuple[str, ...],
        gates: tuple[GateRecord, ...],
        findings: tuple[str, ...],
        quarantine: str | None,
        quarantined: int,
    ) -> RunRecord:
        rows = self.batch.rows
        return RunRecord.model_validate(
            {
                "run_id": self.binding.run_id,
                "batch_id": self.batch.id,
                "batch_sha256": self.binding.batch,
                "kind": self.batch.kind,
                "verdict": verdict,
                "findings": findings,
                "policy_sha256": self.binding.policy,
                "gates_sha256": self.binding.gates,
                "plugins": digest.plugins(),
                "plugins_sha256": self.binding.plugins,
                "required": required,
                "gates": gates,
                "rows": Rows(batch=rows, quarantined=quarantined, remaining=rows - quarantined),
                "quarantine_sha256": quarantine,
                "measures": self.keeper.columns.records(),
            }
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Outermost: judges before anyone else hears that the session is over, and sets the exit code after they did."""
        try:
            if not self.controller:
                if self.keeper.ran or not hasattr(self.config, "workerinput"):
                    self.finish()
            else:
                self.read()
        except (DistillError, OSError) as caught:  # such as a full disk: the run did not reach its end
            self.error = refused_by_system(caught) if isinstance(caught, OSError) else caught
            if hasattr(self.config, "workerinput"):  # a worker has no terminal of its own
                print(self.error.line(), file=sys.stderr)  # noqa: T201
        if not hasattr(self.config, "workerinput"):
            self.report()
        result = yield
        passed = self.record is not None and self.record.verdict == "PASSED" and self.error is None
        if passed:
            self.config.stash[PASSED] = True
        if not passed and not hasattr(self.config, "workerinput") and int(session.exitstatus) in (0, 5):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def finish(self) -> None:
        """Judges and writes: quarantine, evidence, verdict, and the seal when the verdict is PASSED."""
        self._still_the_same()
        keeper, policy = self.keeper, self.workspace.policy
        live, expired = judge.waivers(policy, clock.now().date())
        seen = {g.seen.id: g.seen for g in keeper.gates.values()}
        required = judge.required_ids(self.gates, seen, policy)
        records = []
        for gate_id in required:
            declared = self.gates.get(gate_id.split("[", 1)[0])
            if declared is None:
                records.append(judge.absent(gate_id, "the policy requires it and nobody declares it"))
                continue
            observed = seen.get(gate_id) or judge.Observation(declared, gate_id, findings=[NOT_COLLECTED])
            observed.source_sha256 = storage.sha256_file(declared.file)
            records.append(judge.record(observed, why_not=keeper.why_not(declared), waiver=live.get(declared.id), policy=policy))
        for text in expired:
            keeper.find(text)
        verdict = judge.verdict(records, keeper.findings)
        quarantined = self.batch.rows - keeper.population.remaining_count
        sha256 = write_quarantine(self.folder, keeper) if quarantined else None
        record = self._record(verdict, required, tuple(records), tuple(keeper.findings), sha256, quarantined)
        if verdict == "PASSED" and (reasons := refusals(record)):  # such as: no row remains
            verdict = "FAILED"
            record = record.model_copy(update={"verdict": verdict, "findings": (*record.findings, *reasons)})
        record.write(self.folder / EVIDENCE)
        self._times().write(self.folder / TIMES)
        write_verdict(self.folder, record)
        chain, facts = self.workspace.ledger, {"run": self.folder.name, "verdict": verdict}
        said = storage.sha256_file(self.folder / VERDICT)
        entry = ledger.append(chain, "verdict", batch=self.batch.id, **facts, sha256=said)
        if verdict == "PASSED":
            write_seal(self.folder, record, ledger=ledger.position(entry))
            sealed = {**facts, **audit_facts(self.batch.manifest, record), "where": self._where()}
            ledger.append(chain, "seal", batch=self.batch.id, **sealed, sha256=storage.sha256_file(self.folder / SEAL))
        incidents.judged(self.workspace, self.batch.id, {g.id: g.why for g in record.gates if g.status == "failed"})
        escalation.judged(self.workspace, self.batch.manifest, [g.id for g in record.gates if g.status == "failed"])
        if record.findings:
            what = f"run {self.folder.name}: {'; '.join(record.findings)}"
            incidents.open_incident(self.workspace, "tainted-run", what, blocking=False, batch=self.batch.id)
        self.record = record
        if not hasattr(self.config, "workerinput"):
            self.export()

    def _where(self) -> str:
        """Where the batch lies: below the workspace, or as its folder's name."""
        folder, root = self.batch.folder.resolve(), self.workspace.root.resolve()
        return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.name

    def _still_the_same(self) -> None:
        """Batch, policy, gates and plugins have to be what they were when the run began."""
        try:
            again = bind(
                workspaces.load(self.workspace.root) if not self.workspace.implicit else self.workspace,
                open_batch(self.batch.folder),
            )
        except DistillError as error:
            self.keeper.find(f"at the end of the run: {error}")
            return
        for name in ("batch", "policy", "gates", "plugins"):
            if getattr(again, name) != getattr(self.binding, name):
                self.keeper.find(f"the {name} changed while the gates ran")
        if stamps(self.batch.folder) != self._stamps:  # the same bytes again, perhaps, and perhaps not those that were read
            self.keeper.find("files of the batch were written to or replaced while the gates ran")
        plugins = self.config.pluginmanager
        for name, plugin in (
            ("distill-keeper", self.keeper),
            ("distill-collector", self.keeper.collector),
            ("distill-fixtures", fixtures),
        ):
            if plugins.get_plugin(name) is not plugin:
                self.keeper.find(f"the plugin {name} was taken out while the gates ran")

    def _times(self) -> RunTimes:
        scan = self.keeper.columns.scan
        outcomes = scan.outcomes.values()
        return RunTimes(
            started_at=self._started_at,
            finished_at=clock.timestamp(),
            seconds=round(time.perf_counter() - self._started, 3),
            scans=scan.scans,
            engine=self.config.option.distill_engine,
            measured_here=tuple(sorted(scan.elsewhere.here)) if scan.elsewhere else (),
            measure_seconds={o.node.name: round(o.seconds, 4) for o in outcomes if o.status == "computed"},
            command=tuple(str(a) for a in self.config.invocation_params.args),
        )

    def read(self) -> None:
        """The controller of a distributed run judges nothing: it reads what the worker that ran the gates has written."""
        self.record = RunRecord.load(self.folder / EVIDENCE)
        if (self.record.run_id, self.record.batch_id) != (self.binding.run_id, self.batch.id):
            self.error = DistillError(Code.TAINT, f"the worker judged {self.record.batch_id} and not what it was told to judge")
            (self.folder / SEAL).unlink(missing_ok=True)
            self.record = self._record("FAILED", self.record.required, (), (self.error.message,), None, 0)
            self.record.write(self.folder / EVIDENCE)
            write_verdict(self.folder, self.record)
        self.export()

    def export(self) -> None:
        """`--distill-export=DIR`: the same export, with the same refusals, as `distill export`."""
        out = self.config.option.distill_export
        if not out or self.record is None or self.record.verdict != "PASSED" or self.error is not None:
            return
        from pytest_distill.release.export import export

        try:
            target = self.config.invocation_params.dir / out
            self.exported = export(self.workspace, self.batch.id, target, self.config.option.distill_format, None)
        except DistillError as error:
            self.error = error

    def report(self) -> None:
        """`report.html` beside the evidence of a small batch, or `--distill-report=FILE`. Changes nothing about the verdict."""
        out = self.config.option.distill_report
        if self.record is None or not (out or self.batch.rows <= REPORTED_ROWS):
            return
        from pytest_distill.measuring.columns import Columns as Stored
        from pytest_distill.report import judged, page

        planned = self.keeper.columns
        columns = None if self.controller else Stored(planned.scan, planned.planner, planned.standard)
        try:
            run = judged.load(self.workspace, self.batch.id, int(self.folder.name))
            self.reported = page.write(run, self.config.invocation_params.dir / out if out else None, columns)
        except DistillError as error:
            if out:  # somebody waits for that file
                self.error = error
            self.unreported = error
