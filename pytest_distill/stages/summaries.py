"""Runs of stages on disk: their summaries, the drift to the run before, and the pages that people read.

.distill/receipts/<run>/<stage>.json    one receipt a stage
                        summary.json    the run, its hash, whether it passed; summary.md says the same to people
                        drift.json      how it differs from the run of its pipeline and subject before it, where there is one
.distill/receipts/latest.md             the newest receipt of every stage
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_distill import storage
from pytest_distill.contracts.receipts import DriftReport, RunSummary, StageReceipt
from pytest_distill.errors import Code, DistillError, one_line
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.wording import markdown
from pytest_distill.stages import drift

SUMMARY, SUMMARY_PAGE, DRIFT, LATEST = "summary.json", "summary.md", "drift.json", "latest.md"
COUNTS = ("in", "out", "accepted", "rejected", "quarantined", "skipped", "deduped")


def write(workspace: Workspace, summary: RunSummary) -> DriftReport | None:
    """Stores a run that has ended; returns how it differs from the one of its pipeline before it, if there is one."""
    folder = workspace.receipts / summary.run_id
    prior = prior_run(workspace, summary)
    report = drift.compare(prior, summary, warn_percent=workspace.policy.drift.warn_percent) if prior else None
    if report is not None:
        report.write(folder / DRIFT)
    storage.write_bytes(folder / SUMMARY_PAGE, page(summary, report).encode())
    summary.write(folder / SUMMARY)  # last: a run with a summary has all the rest
    with storage.locked(workspace.receipts / LATEST):
        storage.write_bytes(workspace.receipts / LATEST, latest_page(workspace).encode())
    return report


def run_folder(workspace: Workspace, run_id: str) -> Path:
    """The folder of a run; its number may be given without leading zeros, `latest` is the newest. Raises E-USAGE."""
    folders = {int(folder.name): folder for folder in workspace.receipts_folders()}
    number = max(folders, default=0) if run_id == "latest" else int(run_id) if run_id.isascii() and run_id.isdigit() else -1
    if number not in folders:
        raise DistillError(Code.USAGE, f"no run {run_id!r} of stages", "`distill runs` lists those that are there.")
    return folders[number]


def load(workspace: Workspace, run_id: str) -> RunSummary:
    """Raises E-USAGE when there is no such run, or it did not come to its end."""
    folder = run_folder(workspace, run_id)
    if not (folder / SUMMARY).is_file():
        raise DistillError(Code.USAGE, f"run {folder.name} left no summary", "It still runs, or it was killed.")
    return RunSummary.load(folder / SUMMARY)


def drift_of(workspace: Workspace, run_id: str) -> DriftReport | None:
    """How a run differs from the one before; None for the first of its pipeline and subject."""
    path = run_folder(workspace, run_id) / DRIFT
    return DriftReport.load(path) if path.is_file() else None


def receipts(folder: Path) -> list[StageReceipt]:
    """The receipts of one run, in the order in which its stages began."""
    names = [path for path in sorted(folder.glob("*.json")) if path.name not in (SUMMARY, DRIFT)]
    return sorted((StageReceipt.load(path) for path in names), key=lambda receipt: receipt.position)


def newest_receipts(workspace: Workspace) -> dict[str, StageReceipt]:
    """The newest receipt of every stage, whatever became of it."""
    found: dict[str, Path] = {}
    for folder in reversed(workspace.receipts_folders()):
        for path in sorted(folder.glob("*.json")):
            if path.name not in (SUMMARY, DRIFT):
                found.setdefault(path.stem, path)
    return {stage: StageReceipt.load(path) for stage, path in sorted(found.items())}


def summaries(workspace: Workspace) -> Iterator[RunSummary]:
    """Every run that came to its end, newest first."""
    for folder in reversed(workspace.receipts_folders()):
        if (folder / SUMMARY).is_file():
            yield RunSummary.load(folder / SUMMARY)


def prior_run(workspace: Workspace, summary: RunSummary) -> RunSummary | None:
    """The run of the same pipeline and subject before this one."""
    earlier = (run for run in summaries(workspace) if int(run.run_id) < int(summary.run_id))
    return next((run for run in earlier if (run.pipeline, run.subject) == (summary.pipeline, summary.subject)), None)


def page(summary: RunSummary, report: DriftReport | None) -> str:
    """A run as Markdown."""
    word = "passed" if summary.overall_passed else "did not pass"
    lines = [
        f"# Run {summary.run_id}: {_cell(f'{summary.pipeline} {summary.subject}')} {word}",
        "",
        f"Run hash `{summary.run_hash}`, commit `{summary.git_sha or 'none'}`, version {summary.version}.",
        f"Started {summary.started_at}, {summary.duration_seconds:.1f} s.",
        "",
        *_table(("stage", "passed", *COUNTS, "stands"), [_row(summary, index) for index in range(len(summary.stages))]),
    ]
    for line in summary.stages:
        lines += [f"- {line.stage}: {_cell(error)}" for error in line.errors]
    lines += [f"- {stage.stage} did not run: {_cell(stage.why)}" for stage in summary.not_run]
    if report is not None:
        lines += ["", *drift_lines(report)]
    return "\n".join(lines) + "\n"


def drift_lines(report: DriftReport) -> list[str]:
    """A drift report as Markdown."""
    head = f"## Drift against run {report.prior_run_id}: {report.severity}"
    same = "The run hashes are equal." if report.run_hash_match else "The run hashes differ."
    flags = [f"- {flag.severity}, {flag.stage}, {flag.kind}: {_cell(flag.message)}" for flag in report.flags]
    return [head, "", same, *flags]


def latest_page(workspace: Workspace) -> str:
    """The newest receipt of every stage, as Markdown."""
    rows = [
        (r.stage, r.run_id, "yes" if r.validation.passed else "no", *_counts(r), stands(r.materialised), r.started_at)
        for r in newest_receipts(workspace).values()
    ]
    table = _table(("stage", "run", "passed", *COUNTS, "stands", "started"), rows)
    return "\n".join(["# The newest receipt of every stage", "", *table]) + "\n"


def _row(summary: RunSummary, index: int) -> tuple[object, ...]:
    line = summary.stages[index]
    counts = line.record_counts.model_dump(by_alias=True)
    return line.stage, "yes" if line.passed else "no", *(counts[name] for name in COUNTS), stands(line.materialised)


def _counts(receipt: StageReceipt) -> list[int]:
    counts = receipt.record_counts.model_dump(by_alias=True)
    return [counts[name] for name in COUNTS]


def stands(materialised: dict[str, int]) -> str:
    """What stands in a stage's outputs, in words."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(materialised.items()))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    marks = ["---" if index in (0, 1) else "---:" for index in range(len(head))]
    body = ["| " + " | ".join(_cell(f"{v:,}" if isinstance(v, int) else str(v)) for v in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "|".join(marks) + "|", *body]


def _cell(text: str) -> str:
    """Plain text for Markdown: what came from data cannot open a tag, a link or a cell."""
    return markdown(one_line(text))
