"""Escalation: what follows when local output falls below the gold set. A state machine whose transitions are lines of the ledger.

    opened ──> diagnosed ──> revised ──> returned
               (again: more rows)        (bulk by the local model, under another specification)

A frontier model looks at a few rows, and only to find out why. The specification or prompt has to change; then bulk is made
locally again. Until it has changed, no bulk run of that pipeline begins, and as long as an escalation is open none is made by a
frontier model.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

from pytest_distill import ledger, storage
from pytest_distill.contracts.ledger import Fact
from pytest_distill.contracts.manifest import Declaration, Manifest
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace

State = Literal["opened", "diagnosed", "revised", "returned"]
EVENT = "escalation"
MAX_ITEMS = 50  # rows that frontier models may look at in one escalation; more would be bulk
# Gates that compare a batch with the gold set: where one fails, local output fell below it.
BELOW_GOLD = ("bulk.gold-match", "safety.")


@dataclass(frozen=True)
class Escalation:
    """One escalation and how far it got. `spec_sha256` is that of the batch that fell below, `revised_to` that which followed."""

    number: int
    pipeline: str
    batch: str
    why: str
    spec_sha256: str | None
    state: State
    items: int = 0
    findings: tuple[str, ...] = ()
    revised_to: str | None = None
    returned_by: str | None = None


def escalations(workspace: Workspace) -> list[Escalation]:
    """Every escalation, oldest first. Raises E-LEDGER when the ledger is broken."""
    found: dict[int, Escalation] = {}
    for entry in ledger.entries(workspace.ledger):
        if entry.event != EVENT:
            continue
        facts = entry.facts
        number, step = int(str(facts["escalation"])), str(facts["step"])
        if step == "opened":
            spec = facts.get("spec_sha256")
            found[number] = Escalation(
                number, str(facts["pipeline"]), entry.batch or "", str(facts["why"]), str(spec) if spec else None, "opened"
            )
            continue
        before = found[number]
        if step == "diagnosed":
            finding = f"{facts['model']}: {facts['finding']}"
            items = before.items + int(str(facts["items"]))
            found[number] = replace(before, state="diagnosed", items=items, findings=(*before.findings, finding))
        elif step == "revised":
            found[number] = replace(before, state="revised", revised_to=str(facts["spec_sha256"]))
        else:
            found[number] = replace(before, state="returned", returned_by=entry.batch)
    return list(found.values())


def under_way(workspace: Workspace, pipeline: str) -> Escalation | None:
    """The escalation of a pipeline that has not returned to local bulk yet."""
    return next((e for e in escalations(workspace) if e.pipeline == pipeline and e.state != "returned"), None)


def begin(workspace: Workspace, manifest: Manifest, why: str) -> Escalation:
    """Opens one for the pipeline of a batch that fell below the gold set. Raises E-ESCALATION where one is under way, or where
    nobody made the batch here."""
    pipeline = manifest.how.pipeline
    if manifest.origin == "ingested":
        raise DistillError(Code.ESCALATION, f"{manifest.id} was ingested: nothing here made it", "Escalate what a pipeline made.")
    if not why.strip():
        raise DistillError(Code.ESCALATION, "an escalation needs a reason", "Say in what the batch is below gold: --why TEXT.")
    with _one_at_a_time(workspace):
        if (other := under_way(workspace, pipeline)) is not None:
            raise DistillError(
                Code.ESCALATION,
                f"escalation {other.number} of {pipeline} is {other.state}",
                f"distill escalation show {other.number}",
            )
        return _open(workspace, manifest, why)


def _one_at_a_time(workspace: Workspace) -> AbstractContextManager[None]:
    """Whoever adds a line that follows from the lines before it. Two escalations of one number would be one."""
    return storage.locked(workspace.state / "escalations")


def _open(workspace: Workspace, manifest: Manifest, why: str) -> Escalation:
    number = len(escalations(workspace)) + 1
    pipeline, spec = manifest.how.pipeline, manifest.spec_sha256
    _step(workspace, number, "opened", manifest.id, pipeline=pipeline, why=why.strip(), spec_sha256=spec)
    return escalation(workspace, number)


def escalation(workspace: Workspace, number: int) -> Escalation:
    """Raises E-ESCALATION when there is none of that number."""
    found = {e.number: e for e in escalations(workspace)}.get(number)
    if found is None:
        raise DistillError(Code.ESCALATION, f"there is no escalation {number}", "`distill escalation list` shows them.")
    return found


def refuse_diagnosis(workspace: Workspace, number: int, items: int) -> Escalation:
    """Raises E-ESCALATION unless frontier models may look at so many more rows now."""
    found = escalation(workspace, number)
    if found.state not in ("opened", "diagnosed"):
        raise DistillError(
            Code.ESCALATION, f"escalation {number} is {found.state}: its diagnosis is over", "Make the bulk with the local model."
        )
    if items < 1 or found.items + items > MAX_ITEMS:
        raise DistillError(
            Code.ESCALATION,
            f"{found.items} rows were looked at, and {items} more would be {found.items + items} of {MAX_ITEMS}",
            "Diagnosis looks at a few rows; it produces nothing.",
        )
    return found


def diagnosed(workspace: Workspace, number: int, *, model: str, items: int, finding: str) -> Escalation:
    """Records what was found. Raises E-ESCALATION as `refuse_diagnosis`, and without a finding."""
    with _one_at_a_time(workspace):
        found = refuse_diagnosis(workspace, number, items)
        if not finding.strip():
            raise DistillError(Code.ESCALATION, "a diagnosis without a finding is none", "Say what is wrong.")
        _step(workspace, number, "diagnosed", found.batch, model=model, items=items, purpose="diagnosis", finding=finding.strip())
    return escalation(workspace, number)


def refuse_bulk(workspace: Workspace, pipeline: str, spec_sha256: str | None, said: Declaration) -> None:
    """Before a bulk run. Raises E-ESCALATION while an escalation of the pipeline waits for its diagnosis or for another
    specification, and for a run that would stay on a frontier model. A changed specification is recorded: `revised`."""
    found = under_way(workspace, pipeline)
    if found is None:
        return
    name = f"escalation {found.number} of {pipeline} is {found.state}"
    if said.cost_class == "high":
        raise DistillError(
            Code.ESCALATION, f"{name}: frontier models diagnose, and do not go on with bulk", "Return to the local model."
        )
    if found.state == "opened":
        raise DistillError(Code.ESCALATION, f"{name}, and nobody has looked why", f"distill escalation diagnose {found.number}")
    if spec_sha256 is None or spec_sha256 == found.spec_sha256:
        raise DistillError(
            Code.ESCALATION, f"{name}, and specification and prompt are still the same", "Change them; then make the bulk again."
        )
    if found.revised_to != spec_sha256:
        _step(workspace, found.number, "revised", found.batch, spec_sha256=spec_sha256)


def returned(workspace: Workspace, manifest: Manifest) -> None:
    """After a bulk run: local bulk under the revised specification ends the escalation of its pipeline."""
    found = under_way(workspace, manifest.how.pipeline)
    if found is not None and found.state == "revised" and manifest.spec_sha256 == found.revised_to:
        _step(workspace, found.number, "returned", manifest.id)


def judged(workspace: Workspace, manifest: Manifest, failed: list[str]) -> None:
    """Opens an escalation when gates that compare with gold failed a batch that was made here, unless one is under way."""
    below = [gate for gate in failed if gate.startswith(BELOW_GOLD)]
    if below and manifest.origin != "ingested":
        with _one_at_a_time(workspace):
            if under_way(workspace, manifest.how.pipeline) is None:
                _open(workspace, manifest, f"{', '.join(below)} failed")


def _step(workspace: Workspace, number: int, step: State, batch: str, **facts: Fact) -> None:
    ledger.append(workspace.ledger, EVENT, batch=batch, escalation=number, step=step, **facts)
