"""What the gates of receipts count. Where there is no chain there is no figure, and a figure that cannot be told is a no."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.stages.origin import Origin

FIRST = "collect"


def of_stage(origin: Origin | None, stage: str) -> int:
    """Receipts of a stage in the chain."""
    return sum(receipt.stage == stage for receipt in origin.chain) if origin else 0


def unwritten(origin: Origin | None) -> int | None:
    return len(origin.unwritten) if origin else None


def foreign(origin: Origin | None) -> int | None:
    """Receipts that are of another run than their folder's, or not what its summary says; a run without summary counts as one."""
    if origin is None:
        return None
    runs = {receipt.run_id for receipt in origin.chain}
    return len(origin.foreign) + len(runs - {summary.run_id for summary in origin.summaries})


def skipped_share(origin: Origin | None) -> float | None:
    """Rows of the streams that became no evidence, of all that stand there."""
    first = [receipt for receipt in origin.chain if receipt.stage == FIRST] if origin else []
    rows = sum(receipt.record_counts.in_ for receipt in first)
    return sum(receipt.record_counts.skipped for receipt in first) / rows if rows else None


def errors(origin: Origin | None) -> int | None:
    return sum(len(receipt.validation.errors) for receipt in origin.chain) if origin else None


def violations(origin: Origin | None) -> int | None:
    """Stages of the chain's runs that read the same as before and left something else."""
    return sum(stage.deterministic_violation for report in origin.drift for stage in report.stages) if origin else None


def warnings(origin: Origin | None) -> int | None:
    return sum(len(report.flags) for report in origin.drift) if origin else None
