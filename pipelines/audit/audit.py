"""The audit itself. Every check reads what lies on disk; nothing is taken from what a stage remembered.

Phase 6, the acceptance run, is of the installation and not of the workspace: whoever calls hands its outcome in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from pytest_distill.batch.batch import CREATED, MANIFEST, Batch, open_batch
from pytest_distill.contracts.audit import METRICS, PHASES, AuditCheck, AuditReport, Metrics
from pytest_distill.contracts.evidence import Skip
from pytest_distill.contracts.manifest import Created, Manifest
from pytest_distill.contracts.receipts import DriftReport
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.audit import baseline
from pytest_distill.pipelines.evidence import stages, store, transforms
from pytest_distill.pipelines.evidence.health import health
from pytest_distill.pipelines.exporters import source
from pytest_distill.pipelines.exporters.export import KEPT, KINDS, read_again
from pytest_distill.pipelines.replay.replay import logged
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages import freshness, summaries
from pytest_distill.stages.digests import Digests

SAMPLE = 30
Found = tuple[str, bool, str]  # name, ok, detail


def audit(workspace: Workspace, acceptance: tuple[bool, str]) -> AuditReport:
    """All phases. `acceptance`: whether the invariants of this installation hold, and in which words. Adds to no baseline."""
    metrics: Counter[str] = Counter(dict.fromkeys(METRICS, 0))
    families: tuple[Callable[[Workspace, Counter[str]], Iterator[Found]], ...] = (
        _sources, _formats, _evidence, _scores, _exports, _receipts, lambda *_: iter([("invariants", *acceptance)]), _replay,
    )  # fmt: skip
    checks = [check for phase, family in enumerate(families) for check in _family(phase, family, workspace, metrics)]
    figures: Metrics = {name: metrics[name] for name in METRICS}
    warn_percent = workspace.policy.drift.warn_percent
    changes, warnings = baseline.changes(baseline.newest(workspace), figures, warn_percent=warn_percent)
    return AuditReport(
        checks=tuple(checks),
        metrics=figures,
        changes=changes,
        warnings=warnings,
        warn_percent=warn_percent,
        passed=all(check.ok for check in checks),
    )


def _family(
    phase: int, family: Callable[[Workspace, Counter[str]], Iterator[Found]], workspace: Workspace, metrics: Counter[str]
) -> list[AuditCheck]:
    """The checks of a phase. One that cannot be made is a no, with the reason; a phase is never left out."""
    checks: list[AuditCheck] = []
    try:
        for name, ok, detail in family(workspace, metrics):
            checks.append(AuditCheck(phase=phase, name=name, ok=ok, detail=detail))
    except DistillError as error:
        checks.append(AuditCheck(phase=phase, name=PHASES[phase], ok=False, detail=str(error)))
    return checks


def _sources(workspace: Workspace, metrics: Counter[str]) -> Iterator[Found]:  # noqa: ARG001
    streams = {stream.file for stream in transforms.load(workspace.root)}
    present = {path.name for path in store.streams_folder(workspace).glob("*.jsonl")}
    yield "streams are there", bool(present & streams), f"{len(present & streams)} of {len(streams)} declared streams"
    unknown = sorted(present - streams)
    yield "every stream has a transform", not unknown, f"without one: {', '.join(unknown)}" if unknown else "all have"


def _formats(workspace: Workspace, metrics: Counter[str]) -> Iterator[Found]:
    """Every row of evidence and every skip through its model."""
    partitions = store.partitions(store.evidence_folder(workspace))
    rows = sum(sum(1 for _ in store.records(partition.path)) for partition in partitions)
    metrics["evidence_rows"] = rows
    yield "evidence rows are of their format", rows > 0, f"{rows:,} rows in {len(partitions)} files"
    files = sorted((store.evidence_folder(workspace) / "skips").glob("*.jsonl"))
    skips = sum(sum(1 for _ in store.rows(path, Skip)) for path in files)
    metrics["evidence_skips"] = skips
    yield "skipped rows have reasons", True, f"{skips:,} skipped"


def _evidence(workspace: Workspace, metrics: Counter[str]) -> Iterator[Found]:  # noqa: ARG001
    found = health(workspace, store.streams_folder(workspace), sample=SAMPLE)
    detail = found.broken[0] if found.broken else f"{found.sampled} sampled rows trace back to their source"
    yield "provenance round trip", not found.broken, detail
    twice: list[str] = []
    known: dict[str, set[str]] = {}
    for partition in store.partitions(store.evidence_folder(workspace)):
        seen = known.setdefault(partition.source, set())
        for record in store.records(partition.path):
            if record.provenance.sig_hash in seen:
                twice.append(f"{partition.source} {record.run_id}")
            seen.add(record.provenance.sig_hash)
    yield "no row twice", not twice, f"twice: {twice[0]}" if twice else "every signature is there once"


def _scores(workspace: Workspace, metrics: Counter[str]) -> Iterator[Found]:
    """Every evidence row has one score, of this scorer and with reasons; reading them in pairs refuses anything else."""
    silent = 0
    for pair in source.pairs(workspace):
        for row in source.rows(pair):
            metrics[str(row.scored.get("category"))] += 1
            silent += not row.scored.get("reasons")
    yield "every row has a score of this scorer", True, f"{sum(metrics[name] for name in METRICS[2:6]):,} scores"
    yield "every score has reasons", not silent, f"{silent} without" if silent else "all have"


def _exports(workspace: Workspace, metrics: Counter[str]) -> Iterator[Found]:
    for exporter, kind in KINDS.items():
        batch = newest_of(workspace, exporter)
        if batch is None:
            yield exporter, False, "it has made no batch yet"
            continue
        status = batch.candidates()["status"]
        metrics[f"{kind}_rows"] = batch.rows
        metrics["quarantined"] += int((status != KEPT).sum())
        read_again(batch, exporter, samples=batch.rows, considered=len(status))
        blank = int((status.fill_null("") == "").sum())
        yield exporter, not blank, f"{batch.id}: {batch.rows:,} samples read again, {blank} records without an outcome"


def newest_of(workspace: Workspace, exporter: str) -> Batch | None:
    """The newest batch that an exporter made."""
    found = [
        (Created.load(path.with_name(CREATED)).created_at, path.parent.name)
        for path in sorted(workspace.batches.glob(f"*/{MANIFEST}"))
        if Manifest.load(path).how.pipeline == exporter
    ]
    return open_batch(workspace.batch_folder(max(found)[1])) if found else None


def _receipts(workspace: Workspace, metrics: Counter[str]) -> Iterator[Found]:  # noqa: ARG001
    newest = summaries.newest_receipts(workspace)
    missing = [name for name in stages.STAGES if name not in newest]
    yield "every stage has a receipt", not missing, f"missing: {', '.join(missing)}" if missing else ", ".join(stages.STAGES)
    digests = Digests(workspace.root)
    for name in stages.STAGES:
        if name in newest:
            reasons = freshness.stale(workspace, name, digests=digests)
            yield f"{name} is fresh", not reasons, "; ".join(reasons[:3]) or f"run {newest[name].run_id}"
    wrong: list[str] = []
    alerts: list[str] = []
    for folder in workspace.receipts_folders():
        if not (folder / summaries.SUMMARY).is_file():
            continue
        summary, receipts = summaries.load(workspace, folder.name), summaries.receipts(folder)
        lines = sorted(receipt.line().model_dump_json() for receipt in receipts)
        shared = all(receipt.run_id == summary.run_id for receipt in receipts)
        if not shared or lines != sorted(line.model_dump_json() for line in summary.stages):
            wrong.append(folder.name)
        report = folder / summaries.DRIFT
        if report.is_file() and DriftReport.load(report).severity == "alert":
            alerts.append(folder.name)
    yield "summaries are those of their receipts", not wrong, f"not so: {', '.join(wrong)}" if wrong else "all are"
    last = summaries.run_folder(workspace, "latest").name if workspace.receipts_folders() else ""
    yield "no deterministic violation in the newest run", last not in alerts, f"runs with one: {', '.join(alerts) or 'none'}"


def _replay(workspace: Workspace, metrics: Counter[str]) -> Iterator[Found]:  # noqa: ARG001
    """Reading a run checks that its id, its bundle and its verdict belong together."""
    count: Counter[str] = Counter()
    ids: set[str] = set()
    for run in logged(workspace):
        count.update(runs=1, accepted=run.accepted, escalated=run.escalation is not None)
        ids.add(run.replay_id)
    detail = f"{count['runs']:,} runs, {count['accepted']:,} accepted, {count['escalated']:,} escalated"
    yield "every logged replay is what it was", len(ids) == count["runs"], detail
