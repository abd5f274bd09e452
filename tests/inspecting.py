"""A sampling inspection in which somebody looks at every row that was drawn: what generated bulk needs before its seal."""

from __future__ import annotations

from pathlib import Path

from pytest_distill.batch.batch import open_batch
from pytest_distill.contracts.inspection import Decision, Inspection
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.inspection import begin, record

NOW = "2026-01-31T12:00:00Z"


def inspect_all(
    root: Path, name: str, *, bad: int = 0, unsure: int = 0, left: int = 0, verifier: str | None = None
) -> Inspection:
    """The first rows drawn are bad, the next unsure, the last `left` are not judged; all others are good."""
    workspace = workspaces.load(root)
    batch = open_batch(workspace.batch_folder(name))
    inspection = begin(workspace, batch)
    rows = inspection.rows[: len(inspection.rows) - left]
    said = ["bad"] * bad + ["unsure"] * unsure + ["good"] * len(rows)
    who = "Ada" if verifier is None else "a verifier"
    decisions = [
        Decision.model_validate({"row": row, "judgement": word, "reason": "seen", "who": who, "at": NOW, "verifier": verifier})
        for row, word in zip(rows, said, strict=False)
    ]
    return record(workspace, inspection, decisions)
