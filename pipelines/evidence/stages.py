"""The five stages from streams to samples, each with a receipt; and all of them in one run.

A stage that skipped records or turned some away has still completed, and its successors run on what it left. One that failed, or
whose output was changed afterwards, stops them: they then do not run at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_distill import storage
from pytest_distill.contracts.receipts import RunSummary
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import store, transforms
from pytest_distill.pipelines.evidence.build import Built, build
from pytest_distill.pipelines.evidence.score import SCORER_VERSION
from pytest_distill.pipelines.evidence.scoring import Scored, score
from pytest_distill.pipelines.exporters.export import EXPORTER_VERSION, Exported, Options
from pytest_distill.pipelines.exporters.pairs import export_preference
from pytest_distill.pipelines.exporters.rows import export_rag, export_sft
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.digests import Digests
from pytest_distill.stages.freshness import require_fresh
from pytest_distill.stages.progress import Report
from pytest_distill.stages.receipts import Stage, open_run, with_receipt

PIPELINE = "run-all"
COLLECT, SCORE = "collect", "score"
EXPORTERS: dict[str, Callable[..., Exported]] = {
    "export-rag": export_rag,
    "export-sft": export_sft,
    "export-preference": export_preference,
}
STAGES = (COLLECT, SCORE, *EXPORTERS)


@dataclass(frozen=True)
class Ran:
    """A run of all stages: its summary, and what each stage that ran has done."""

    summary: RunSummary
    built: list[Built]
    scored: Scored | None
    exported: list[Exported]


def collect(
    workspace: Workspace, stage: Stage, folder: Path, *, rebuild: bool = False, report: Report | None = None
) -> list[Built]:
    """Streams to evidence. Every row that was skipped is counted, and makes the stage's validation fail."""
    streams = transforms.load(workspace.root)
    stage.parameters["transforms_sha256"] = storage.sha256_bytes("".join(stream.sha256 for stream in streams).encode())
    built = build(workspace, streams, folder, rebuild=rebuild, report=report)
    for one in built:
        stage.has_read(one.source, one.sha256)
        stage.count(in_=one.rows, out=one.out, skipped=one.skipped, deduped=one.deduped)
    if sum(one.stands for one in built) or store.evidence_folder(workspace).is_dir():
        stage.writes(store.evidence_folder(workspace))
    stage.stands(rows=sum(one.stands for one in built), skipped=sum(one.skipped for one in built))
    return built


def score_evidence(workspace: Workspace, stage: Stage, *, report: Report | None = None) -> Scored:
    """Evidence to scores. Accepted, rejected and quarantined (partial, or for a human) are those of all that stands."""
    stage.parameters["scorer_version"] = SCORER_VERSION
    _some_evidence(workspace)
    stage.reads(store.evidence_folder(workspace))
    scored = score(workspace, report=report)
    found = scored.categories
    partial, human = found.get("partially_accepted", 0), found.get("needs_human_review", 0)
    stage.writes(store.scored_folder(workspace))
    stage.count(
        in_=scored.rows, out=scored.out, deduped=scored.deduped, accepted=found.get("accepted", 0),
        rejected=found.get("rejected", 0), quarantined=partial + human,
    )  # fmt: skip
    stage.stands(rows=scored.rows, partially_accepted=partial, needs_human_review=human, ledger_entries=scored.ledger_entries)
    return scored


def export(
    workspace: Workspace, stage: Stage, options: Options, *, digests: Digests | None = None, report: Report | None = None
) -> Exported:
    """Scores to a batch of samples; which kind, the stage's name says."""
    stage.parameters |= {
        "exporter_version": EXPORTER_VERSION,
        "scorer_version": SCORER_VERSION,
        "include_partial": options.include_partial,
        "include_review": options.include_review,
    }
    if store.evidence_folder(workspace).is_dir() and store.scored_folder(workspace).is_dir():
        stage.reads(store.evidence_folder(workspace), store.scored_folder(workspace))
    found = EXPORTERS[stage.name](workspace, options, digests=digests, report=report)
    if found.batch is not None:
        stage.writes(found.batch.folder)
    stage.count(in_=found.considered, out=found.added, deduped=found.samples - found.added, quarantined=found.quarantined)
    stage.stands(rows=found.samples, quarantined=found.quarantined)
    return found


def one(
    workspace: Workspace, name: str, options: Options | None = None, *, folder: Path | None = None, rebuild: bool = False,
    report: Report | None = None,
) -> list[Built] | Scored | Exported:  # fmt: skip
    """One stage as a run of its own, on fresh output of those before it. Raises E-STALE where that is missing or changed."""
    options = options or Options()
    if name in EXPORTERS and options.dry_run:  # writes nothing, so there is nothing to have a receipt of
        return EXPORTERS[name](workspace, options, report=report)
    require_fresh(workspace, *STAGES[: min(STAGES.index(name), 2)])
    with with_receipt(workspace, name) as stage:
        if name == COLLECT:
            return collect(workspace, stage, folder or store.streams_folder(workspace), rebuild=rebuild, report=report)
        if name == SCORE:
            return score_evidence(workspace, stage, report=report)
        return export(workspace, stage, options, report=report)


def run_all(
    workspace: Workspace, *, folder: Path | None = None, options: Options | None = None, rebuild: bool = False,
    report: Report | None = None,
) -> Ran:  # fmt: skip
    """All five in one run. Where one fails, the error is raised, and those after it are listed as not run, with the reason."""
    options = replace(options or Options(), dry_run=False, batch_id=None)
    built: list[Built] = []
    exported: list[Exported] = []
    scored: Scored | None = None
    with open_run(workspace, PIPELINE) as run:
        try:
            with run.stage(COLLECT) as stage:
                built = collect(workspace, stage, folder or store.streams_folder(workspace), rebuild=rebuild, report=report)
            require_fresh(workspace, COLLECT, digests=run.digests)
            with run.stage(SCORE) as stage:
                scored = score_evidence(workspace, stage, report=report)
            for name in EXPORTERS:
                require_fresh(workspace, COLLECT, SCORE, digests=run.digests)
                with run.stage(name) as stage:
                    exported.append(export(workspace, stage, options, digests=run.digests, report=report))
        except DistillError as error:
            done = {receipt.stage for receipt in run.receipts}
            for name in STAGES:
                if name not in done:
                    run.skip(name, str(error))
            raise
        summary = run.summary()
    return Ran(summary, built, scored, exported)


def _some_evidence(workspace: Workspace) -> None:
    if not store.partitions(store.evidence_folder(workspace)):
        raise DistillError(Code.SOURCE, "there is no evidence to score", "`distill evidence build` makes it from streams.")
