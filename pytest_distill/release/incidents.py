"""Incidents: violations, entered when met; reviewed, corrected and closed by the system owner. A blocking one stops exports.

They lie in a ledger of their own (`.distill/incidents.jsonl`, chained like the audit trail): three events, `opened`, `reviewed`
and `closed`, whose fact `incident` is the number of the incident. Its state follows from them; nothing is ever rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from pytest_distill import ledger, storage
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release import retention

State = Literal["open", "reviewed", "closed"]

# What a refusal means, where it means that somebody broke the contract and not that something is merely not done yet.
VIOLATIONS = {
    Code.SEAL_INVALID: "forged-seal",
    Code.BATCH_CORRUPT: "changed-batch",
    Code.LEDGER: "broken-ledger",
    Code.POLICY_CHANGE: "unrecorded-policy-change",
}
# Refusals of what would have been a violation: entered, so that somebody looks why it was tried, and blocking nothing.
ATTEMPTS = {
    Code.FRONTIER: "frontier-attempted",
    Code.COST_CLASS: "cost-not-declared",
    Code.ESCALATION: "ongoing-frontier-attempted",
}
REMOVED = "removed-before-its-time"
# Gates whose failure says that the contract was broken when the batch was made.
BROKEN = {
    "bulk.cost": "cost-above-declared",
    "bulk.models": "frontier-for-bulk",
    "bulk.reproducible": "missing-reproducibility",
}


@dataclass(frozen=True)
class Incident:
    """One incident and how far it got. `notes`: who said what when it was reviewed and closed."""

    number: int
    kind: str
    what: str
    blocking: bool
    batch: str | None
    opened: str
    state: State
    notes: tuple[str, ...] = ()


def incidents(workspace: Workspace) -> list[Incident]:
    """Every incident, oldest first. Raises E-LEDGER when their ledger is broken."""
    found: dict[int, Incident] = {}
    for entry in ledger.entries(workspace.incidents):
        number = int(str(entry.facts["incident"]))
        if entry.event == "opened":
            found[number] = Incident(
                number,
                str(entry.facts["kind"]),
                str(entry.facts["what"]),
                bool(entry.facts["blocking"]),
                entry.batch,
                entry.at,
                "open",
            )
        else:
            old = found[number]
            note = f"{entry.event} {entry.at} by {entry.facts['who']}: {entry.facts['note']}"
            state: State = "reviewed" if entry.event == "reviewed" else "closed"
            found[number] = Incident(number, old.kind, old.what, old.blocking, old.batch, old.opened, state, (*old.notes, note))
    return list(found.values())


def open_incident(workspace: Workspace, kind: str, what: str, *, blocking: bool, batch: str | None = None) -> int:
    """Enters an incident and returns its number; that of the open one where the very same is open already."""
    with _one_at_a_time(workspace):
        known = incidents(workspace)
        for incident in known:
            if incident.state != "closed" and (incident.kind, incident.what, incident.batch) == (kind, what, batch):
                return incident.number
        number = len(known) + 1
        ledger.append(workspace.incidents, "opened", batch=batch, incident=number, kind=kind, what=what, blocking=blocking)
    return number


def _one_at_a_time(workspace: Workspace) -> AbstractContextManager[None]:
    """Whoever adds a line that follows from the lines before it. Two incidents of one number would be one."""
    return storage.locked(workspace.incidents.with_name("incidents"))


def removed(workspace: Workspace) -> list[str]:
    """What was removed before its time, each entered once as a blocking incident: a closed one is not opened again."""
    gone = retention.removed(workspace)
    told = {(incident.kind, incident.what) for incident in incidents(workspace)}
    for what in gone:
        if (REMOVED, what) not in told:
            open_incident(workspace, REMOVED, what, blocking=True)
    return gone


def met(workspace: Workspace, error: DistillError, *, batch: str | None = None) -> int | None:
    """Opens a blocking incident when a refusal means a violation; returns its number, None where it means no violation."""
    kind = VIOLATIONS.get(error.code)
    return open_incident(workspace, kind, error.message, blocking=True, batch=batch) if kind else None


@contextmanager
def noted(workspace: Workspace, batch: str | None = None) -> Iterator[None]:
    """A refusal in the block that stopped a violation is entered as an incident, and goes on."""
    try:
        yield
    except DistillError as error:
        if error.code in ATTEMPTS and not workspace.implicit:
            open_incident(workspace, ATTEMPTS[error.code], error.message, blocking=False, batch=batch)
        raise


def judged(workspace: Workspace, batch: str, failed: Mapping[str, Sequence[str]]) -> None:
    """Opens a blocking incident for each gate among `failed` (id to what it found) that stands for a broken contract."""
    for gate, kind in BROKEN.items():
        if gate in failed:
            open_incident(workspace, kind, "; ".join(failed[gate]) or gate, blocking=True, batch=batch)


def review(workspace: Workspace, number: int, *, who: str, note: str) -> None:
    """The system owner says what happened and how it was corrected. Raises E-INCIDENT unless it is open."""
    with _one_at_a_time(workspace):
        _step(workspace, number, "reviewed", "open", who=who, note=note)


def close(workspace: Workspace, number: int, *, who: str, note: str) -> None:
    """Closes a reviewed incident. Raises E-INCIDENT unless it was reviewed."""
    with _one_at_a_time(workspace):
        _step(workspace, number, "closed", "reviewed", who=who, note=note)


def refuse_blocked(workspace: Workspace) -> None:
    """Raises E-INCIDENT while a blocking incident is not closed."""
    blocking = [incident for incident in incidents(workspace) if incident.blocking and incident.state != "closed"]
    if blocking:
        first = blocking[0]
        more = f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""
        raise DistillError(
            Code.INCIDENT,
            f"incident {first.number} is {first.state}: {first.kind}, {first.what}{more}",
            f"Correct it, then `distill incidents review {first.number}` and `distill incidents close {first.number}`.",
        )


def _step(workspace: Workspace, number: int, event: str, wanted: State, *, who: str, note: str) -> None:
    found = {incident.number: incident for incident in incidents(workspace)}.get(number)
    if found is None:
        raise DistillError(Code.INCIDENT, f"there is no incident {number}", "`distill incidents` lists them.")
    if found.state != wanted:
        hint = (
            "Review it first." if found.state == "open" else "Nothing is left to do." if found.state == "closed" else "Close it."
        )
        raise DistillError(Code.INCIDENT, f"incident {number} is {found.state}", hint)
    owner = workspace.policy.bulk.owner
    if owner is not None and who.strip().casefold() != owner.casefold():
        raise DistillError(Code.INCIDENT, f"{who} is not the system owner; {owner} is", "The owner reviews incidents.")
    if not who.strip() or not note.strip():
        raise DistillError(Code.INCIDENT, "an incident needs who and a note that says something", "Say what was done.")
    ledger.append(workspace.incidents, event, batch=found.batch, incident=number, who=who.strip(), note=note.strip())
