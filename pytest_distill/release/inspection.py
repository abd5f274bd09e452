"""The record of a sampling inspection: begun from a batch's digest, grown decision by decision, each entered into the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
    if not path.is_file():
        return Inspection(batch=batch.id, batch_sha256=batch.sha256, rows=rows)
    data = path.read_bytes()
    found = Inspection.from_bytes(data, name=str(path))
    if found.batch_sha256 != batch.sha256 or found.batch != batch.id:
        raise DistillError(Code.BATCH_CORRUPT, f"{path} is about other bytes of that name", "Put it away and inspect again.")
    if storage.sha256_bytes(data) not in _entered(workspace, batch.id):
        raise DistillError(
            Code.LEDGER, f"{path} is not what the ledger says was decided", "Put it away and inspect again: it was edited."
        )
    decided = {decision.row for decision in found.decisions}
    return found.model_copy(update={"rows": tuple(sorted({*rows, *decided}))})


def sampling_plan(workspace: Workspace, batch: Batch) -> SamplingPlan:
    """How many rows of the batch the policy wants looked at, and how many defects it accepts among them."""
    policy = workspace.policy
    return plan_for(policy, bulk=is_generated_bulk(batch.manifest, batch.rows, policy), lot=batch.rows)


def record(workspace: Workspace, inspection: Inspection, decisions: Sequence[Decision]) -> Inspection:
    """Adds decisions, a later one in place of an earlier one about the same row: one ledger line, then the record, whole.

    A kill between the two leaves a line about a record that is not there; the row is still open and is asked for again.
    """
    if not decisions:
        return inspection
    latest = {decision.row: decision for decision in (*inspection.decisions, *decisions)}
    ordered = [latest[row].model_dump() for row in sorted(latest)]
    grown = Inspection.model_validate({**inspection.model_dump(), "decisions": ordered})
    return _keep(workspace, grown, decisions[-1].who)


def withdraw(workspace: Workspace, inspection: Inspection, row: int, *, who: str) -> Inspection:
    """Takes back what was said of a row: it is open again. One ledger line, then the record; that it was said stays there."""
    left = tuple(decision for decision in inspection.decisions if decision.row != row)
    return _keep(workspace, inspection.model_copy(update={"decisions": left}), who)


def _keep(workspace: Workspace, grown: Inspection, who: str) -> Inspection:
    ledger.append(
        workspace.ledger, EVENT, batch=grown.batch, who=who, sha256=storage.sha256_bytes(grown.to_bytes()),
        rows=len(grown.rows),
        good=grown.count("good"), bad=grown.count("bad"), unsure=grown.count("unsure"), open=len(grown.open),
    )  # fmt: skip
    grown.write(workspace.inspection(grown.batch))
    return grown


def _entered(workspace: Workspace, batch_id: str) -> set[str]:
    """The digests of every record of that batch that the ledger knows."""
    lines = ledger.entries(workspace.ledger)
    return {str(e.facts.get("sha256")) for e in lines if e.event == EVENT and e.batch == batch_id}


def rows_at(batch: Batch, positions: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The rows at ascending positions, as the JSON objects they were."""
    start = 0
    for shard in batch.manifest.shards:
        here = [position - start for position in positions if start <= position < start + shard.rows]
        if here:
            frame = batch.read_shard(shard, batch.column_names)[here]
            yield from (json.loads(line) for line in json_lines(frame, batch.manifest.columns))
        start += shard.rows
