"""The record of a sampling inspection: begun from a batch's digest, grown decision by decision, each entered into the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pytest_distill import ledger, storage
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.contracts.inspection import Decision, Inspection, draw
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.bulk import is_generated_bulk
from pytest_distill.policy.sampling_plan import SamplingPlan, plan_for
from pytest_distill.policy.workspace import Workspace

EVENT = "inspected"


def begin(workspace: Workspace, batch: Batch) -> Inspection:
    """The record so far, or a new one. Its rows follow from the batch's bytes and the sampling plan.

    Where the policy asks for more rows than were drawn before, the record grows and keeps its decisions. Raises E-MANIFEST when
    the record on disk is none, E-LEDGER when it was changed by hand, E-BATCH-CORRUPT when it is about other bytes.
    """
    rows = draw(batch.sha256, batch.rows, sampling_plan(workspace, batch).rows)
    path = workspace.inspection(batch.id)
    # Where nothing can be written nobody writes meanwhile, and a lock file could not be made.
    with storage.locked(path) if os.access(path.parent, os.W_OK) else nullcontext():
        found = _stored(workspace, batch.id, batch.sha256)
    if found is None:
        return Inspection(batch=batch.id, batch_sha256=batch.sha256, rows=rows)
    decided = {decision.row for decision in found.decisions}
    return found.model_copy(update={"rows": tuple(sorted({*rows, *decided}))})


def sampling_plan(workspace: Workspace, batch: Batch) -> SamplingPlan:
    """How many rows of the batch the policy wants looked at, and how many defects it accepts among them."""
    policy = workspace.policy
    return plan_for(policy, bulk=is_generated_bulk(batch.manifest, batch.rows, policy), lot=batch.rows)


def record(workspace: Workspace, inspection: Inspection, decisions: Sequence[Decision]) -> Inspection:
    """Adds decisions, a later one in place of an earlier one about the same row, to what is on disk: others inspect too.

    What another one said since `inspection` was read is kept; a "good" takes no "bad" or "unsure" back that its author never saw.
    """
    if not decisions:
        return inspection
    seen = {decision.row: decision for decision in inspection.decisions}
    with storage.locked(workspace.inspection(inspection.batch)):
        now = _stored(workspace, inspection.batch, inspection.batch_sha256) or inspection
        latest = {decision.row: decision for decision in now.decisions}
        for decision in decisions:
            other = latest.get(decision.row)
            unseen = other is not None and other != seen.get(decision.row) and other.judgement != "good"
            if not (unseen and decision.judgement == "good"):
                latest[decision.row] = decision
        return _keep(workspace, inspection, latest, decisions[-1].who)


def withdraw(workspace: Workspace, inspection: Inspection, row: int, *, who: str) -> Inspection:
    """Takes back what was said of a row: it is open again. One ledger line, then the record; that it was said stays there.

    What another one said of it since `inspection` was read stays.
    """
    seen = {decision.row: decision for decision in inspection.decisions}
    with storage.locked(workspace.inspection(inspection.batch)):
        now = _stored(workspace, inspection.batch, inspection.batch_sha256) or inspection
        latest = {decision.row: decision for decision in now.decisions}
        if latest.get(row) == seen.get(row):
            latest.pop(row, None)
        return _keep(workspace, inspection, latest, who)


def _keep(workspace: Workspace, inspection: Inspection, decisions: dict[int, Decision], who: str) -> Inspection:
    """The record under another name, its ledger line, then its own name: whatever a kill leaves, the ledger says which counts."""
    rows = tuple(sorted({*inspection.rows, *decisions}))
    ordered = [decisions[row].model_dump() for row in sorted(decisions)]
    grown = Inspection.model_validate({**inspection.model_dump(), "rows": rows, "decisions": ordered})
    path = workspace.inspection(grown.batch)
    grown.write(_next(path))
    ledger.append(
        workspace.ledger, EVENT, batch=grown.batch, who=who, sha256=storage.sha256_bytes(grown.to_bytes()),
        rows=len(grown.rows),
        good=grown.count("good"), bad=grown.count("bad"), unsure=grown.count("unsure"), open=len(grown.open),
    )  # fmt: skip
    storage.move(_next(path), path)
    return grown


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _stored(workspace: Workspace, batch_id: str, batch_sha256: str) -> Inspection | None:
    """The record that the ledger entered last; None where there is none. An older one would bring back what was said before.

    Raises E-MANIFEST when the record on disk is none, E-BATCH-CORRUPT when it is about other bytes, E-LEDGER when it is not what
    was entered.
    """
    path = workspace.inspection(batch_id)
    if not path.is_file() and not _next(path).is_file():
        return None
    found = Inspection.load(path) if path.is_file() else None
    if found is not None and (found.batch, found.batch_sha256) != (batch_id, batch_sha256):
        raise DistillError(Code.BATCH_CORRUPT, f"{path} is about other bytes of that name", "Put it away and inspect again.")
    lines = ledger.entries(workspace.ledger)
    entered = [entry.facts.get("sha256") for entry in lines if entry.event == EVENT and entry.batch == batch_id]
    for file in (path, _next(path)):
        if file.is_file() and [storage.sha256_file(file)] == entered[-1:]:
            return Inspection.load(file)
    if found is None:  # the first decision was never entered
        return None
    raise DistillError(
        Code.LEDGER, f"{path} is not what the ledger says was decided last", "Put it away and inspect again: it was edited."
    )


def rows_at(batch: Batch, positions: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The rows at ascending positions, as the JSON objects they were."""
    start = 0
    for shard in batch.manifest.shards:
        here = [position - start for position in positions if start <= position < start + shard.rows]
        if here:
            frame = batch.read_shard(shard, batch.column_names)[here]
            yield from (json.loads(line) for line in json_lines(frame, batch.manifest.columns))
        start += shard.rows
