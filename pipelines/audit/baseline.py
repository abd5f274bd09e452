"""The baseline of audits: ten figures of every audit that passed, one line each, only ever added to."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pytest_distill import clock, storage
from pytest_distill.contracts.audit import METRICS, BaselineEntry, Metrics
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.receipts import Delta, pct_change
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace


def path(workspace: Workspace) -> Path:
    return workspace.state / "audit-baseline.jsonl"


def newest(workspace: Workspace) -> BaselineEntry | None:
    """Raises E-MANIFEST when the newest line is none of ours."""
    file = path(workspace)
    lines = file.read_bytes().splitlines() if file.is_file() else []
    if not lines:
        return None
    try:
        return BaselineEntry.model_validate_json(lines[-1])
    except ValidationError as error:
        message = f"{file.name}:{len(lines)}: {first_problem(error)}"
        raise DistillError(Code.MANIFEST, message, "Put the file aside to begin a new baseline.") from error


def add(workspace: Workspace, metrics: Metrics) -> None:
    entry = BaselineEntry(metrics=metrics, recorded_at=clock.timestamp())
    with storage.locked(path(workspace)):
        storage.append_line(path(workspace), entry.model_dump_json().encode())


def changes(prior: BaselineEntry | None, metrics: Metrics, *, warn_percent: float) -> tuple[tuple[Delta, ...], tuple[str, ...]]:
    """Every figure against the baseline, and a warning for each that appeared, or moved by more than `warn_percent`."""
    if prior is None:
        return (), ()
    deltas = tuple(
        Delta(name=name, prior=prior.metrics[name], now=metrics[name], pct_change=pct_change(prior.metrics[name], metrics[name]))
        for name in METRICS
    )
    warned = [
        f"{delta.name} went from {delta.prior:,} to {delta.now:,}"
        for delta in deltas
        if (delta.prior == 0 and delta.now) or 100 * abs(delta.now - delta.prior) > warn_percent * delta.prior > 0
    ]
    return deltas, tuple(warned)
