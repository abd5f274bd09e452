"""Change control of a frozen policy. A draft is free to edit; a frozen policy changes by a record, or nothing is judged under it.

The records are files that belong into version control: `policy/000001.json` and, beside it, the distill.toml of that version.
The ledger has a line for each, so that removing or rewriting them shows. Names are not authenticated: who may write the
workspace can write any name, which is why the ledger's head should be kept elsewhere too.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pytest_distill import clock, ledger, storage
from pytest_distill.contracts.bulk import PolicyChange, Rejudged
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.model import Policy
from pytest_distill.policy.workspace import POLICY_FILE, Workspace

EVENT = "policy"


@dataclass(frozen=True)
class Rationale:
    """What a change has to say for itself. Raises E-POLICY-CHANGE for a part that says nothing."""

    what: str
    why: str
    affects: str
    cost: str
    quality: str
    safety: str
    rollback: str
    approver: str

    def __post_init__(self) -> None:
        if missing := [field.name for field in fields(self) if not getattr(self, field.name).strip()]:
            raise DistillError(
                Code.POLICY_CHANGE,
                f"the change does not say: {', '.join(missing)}",
                "What, why, what it affects, its impact on cost, quality and safety, and how to take it back are recorded.",
            )


def history(workspace: Workspace) -> list[PolicyChange]:
    """Every recorded version, oldest first; empty while the policy is a draft.

    Raises E-POLICY-CHANGE when a record or a kept file is missing, was edited, or is not what the ledger knows.
    """
    # Records come by version control too, so the ledger of this copy may know fewer of them; what it knows has to be there.
    known = {e.facts["version"]: e.facts["sha256"] for e in ledger.entries(workspace.ledger) if e.event == EVENT}
    folder = workspace.policy_versions
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    records: list[PolicyChange] = []
    previous: str | None = None
    for number, path in enumerate(files, start=1):
        data = path.read_bytes()
        record = PolicyChange.from_bytes(data, name=f"policy/{path.name}")
        kept = _kept(workspace, number)
        if path.name != f"{number:06d}.json" or record.version != number or record.previous_sha256 != previous:
            raise _broken(f"policy/{path.name} does not follow the record before it")
        if not kept.is_file() or storage.sha256_file(kept) != record.file_sha256:
            raise _broken(f"policy/{kept.name} is not the policy of version {number}")
        previous = storage.sha256_bytes(data)
        records.append(record)
        if known.pop(number, previous) != previous:
            raise _broken(f"policy/{path.name} is not the record that the ledger knows")
    if known:
        raise _broken(f"the ledger knows version {max(known, key=str)} of the policy, policy/ holds {len(records)}")
    return records


def check(workspace: Workspace) -> None:
    """Raises E-POLICY-CHANGE when the policy is frozen and not its newest recorded version. A draft passes."""
    if workspace.implicit:
        return
    records = history(workspace)
    if records and records[-1].policy_sha256 != workspace.policy.sha256:
        raise DistillError(
            Code.POLICY_CHANGE,
            f"{POLICY_FILE}, or a file it names, was edited since version {records[-1].version} of the frozen policy",
            "`distill policy diff` shows what; `distill policy change` records it, `distill policy rollback` takes it back.",
        )


def freeze(workspace: Workspace, approver: str) -> PolicyChange:
    """Records version 1. Raises E-POLICY-CHANGE when it is frozen already, names no owner, or lives in a pyproject.toml."""
    if history(workspace):
        raise DistillError(Code.POLICY_CHANGE, "the policy is frozen already", "Changes go through `distill policy change`.")
    if not (workspace.root / POLICY_FILE).is_file():
        raise DistillError(
            Code.POLICY_CHANGE,
            "only a policy in a file of its own can be frozen: in pyproject.toml every other edit would count",
            f"Move [tool.distill] into {POLICY_FILE}.",
        )
    _approved(workspace.policy, approver)
    return _record(
        workspace,
        Rationale(
            what="the policy is frozen",
            why="from here on it changes by record only",
            affects="every batch judged in this workspace",
            cost="none",
            quality="none",
            safety="none",
            rollback="remove nothing: a later version can set any value back",
            approver=approver,
        ),
    )


def change(
    workspace: Workspace, rationale: Rationale, rejudged: Sequence[Rejudged] = (), *, untested_because: str | None = None
) -> PolicyChange:
    """Records the edited distill.toml as the next version. The owner of the version before has to approve.

    `rejudged` are representative past batches under the new policy; where batches were sealed and none is given, a reason is.
    Raises E-POLICY-CHANGE when the policy is a draft, was not edited, was not tested, or somebody else approves.
    """
    records = _frozen(workspace)
    if records[-1].policy_sha256 == workspace.policy.sha256:
        raise DistillError(
            Code.POLICY_CHANGE, f"nothing changed since version {records[-1].version}", f"Edit {POLICY_FILE}, then record it."
        )
    _approved(version(workspace, records[-1].version), rationale.approver)
    sealed = sorted({e.batch for e in ledger.entries(workspace.ledger) if e.event == "seal" and e.batch})
    if sealed and not rejudged and not (untested_because or "").strip():
        raise DistillError(
            Code.POLICY_CHANGE,
            f"a change has to be tested on representative batches, and {len(sealed)} are sealed",
            f"Judge past ones under it: --test {sealed[-1]}; or say why not: --no-representative-batch REASON.",
        )
    return _record(workspace, rationale, rejudged=rejudged, untested_because=untested_because)


def rollback(workspace: Workspace, rationale: Rationale, to: int | None = None) -> PolicyChange:
    """Puts the bytes of an earlier version back and records that as a new one. `to` is the version before the newest by default,
    or, when distill.toml was edited without a record, the newest (which is no new version then)."""
    records = _frozen(workspace)
    newest = records[-1]
    edited = newest.policy_sha256 != workspace.policy.sha256
    target = to if to is not None else newest.version if edited else newest.version - 1
    if not 1 <= target <= newest.version or (target == newest.version and not edited):
        raise DistillError(Code.POLICY_CHANGE, f"there is no version {target} to go back to", "See `distill policy history`.")
    _approved(version(workspace, newest.version), rationale.approver)
    storage.write_bytes(workspace.root / POLICY_FILE, _kept(workspace, target).read_bytes())
    restored = workspaces.load(workspace.root)
    if target == newest.version:
        check(restored)  # a file that the policy names may be another one still
        return newest
    return _record(restored, rationale, rollback_to=target)


def diff(workspace: Workspace, before: int | None = None, after: int | None = None) -> str:
    """A unified diff of two versions' files; by default of the newest version and the file as it lies there now."""
    records = _frozen(workspace)
    old = before if before is not None else records[-1].version
    for number in (old, after):
        if number is not None and not 1 <= number <= len(records):
            raise DistillError(Code.POLICY_CHANGE, f"there is no version {number}", "See `distill policy history`.")
    texts = [_kept(workspace, old), _kept(workspace, after) if after is not None else workspace.root / POLICY_FILE]
    names = (f"version {old}", f"version {after}" if after is not None else POLICY_FILE)
    first, second = (path.read_text("utf-8").splitlines(keepends=True) for path in texts)
    return "".join(difflib.unified_diff(first, second, *names))


def version(workspace: Workspace, number: int) -> Policy:
    """The policy of a version, as far as its own file says: the files it names are those of today."""
    return workspaces.parse(_kept(workspace, number).read_bytes(), workspace.root, name=_kept(workspace, number).name)


def _record(
    workspace: Workspace,
    rationale: Rationale,
    *,
    rejudged: Sequence[Rejudged] = (),
    rollback_to: int | None = None,
    untested_because: str | None = None,
) -> PolicyChange:
    folder = workspace.policy_versions
    with storage.locked(workspace.state / "policy"):
        records = history(workspace)
        data = (workspace.root / POLICY_FILE).read_bytes()
        if workspaces.load(workspace.root).policy.sha256 != workspace.policy.sha256:
            raise DistillError(Code.POLICY_CHANGE, f"{POLICY_FILE} was edited meanwhile", "Try again.")
        number = len(records) + 1
        record = PolicyChange(
            version=number,
            at=clock.timestamp(),
            what=rationale.what,
            why=rationale.why,
            affects=rationale.affects,
            impact_on_cost=rationale.cost,
            impact_on_quality=rationale.quality,
            impact_on_safety=rationale.safety,
            rollback_plan=rationale.rollback,
            approver=rationale.approver,
            policy_sha256=workspace.policy.sha256,
            file_sha256=storage.sha256_bytes(data),
            previous_sha256=storage.sha256_file(folder / f"{number - 1:06d}.json") if records else None,
            rollback_to=rollback_to,
            rejudged=tuple(rejudged),
            untested_because=(untested_because or "").strip() or None,
        )
        storage.write_bytes(_kept(workspace, number), data)
        record.write(folder / f"{number:06d}.json")
        ledger.append(
            workspace.ledger,
            EVENT,
            version=number,
            what=record.what,
            why=record.why,
            approver=record.approver,
            sha256=storage.sha256_bytes(record.to_bytes()),
        )
    return record


def _frozen(workspace: Workspace) -> list[PolicyChange]:
    records = history(workspace)
    if not records:
        raise DistillError(
            Code.POLICY_CHANGE,
            "the policy is a draft: edit it as you like",
            "`distill policy freeze` puts it under change control.",
        )
    return records


def _approved(policy: Policy, approver: str) -> None:
    owner = policy.bulk.owner
    if owner is None:
        raise DistillError(
            Code.POLICY_CHANGE, "the policy names no system owner, so nobody can approve it", 'Set owner = "…" in [bulk].'
        )
    if approver.strip().casefold() != owner.casefold():
        raise DistillError(Code.POLICY_CHANGE, f"{approver} is not the system owner; {owner} is", "Ask for the owner's approval.")


def _kept(workspace: Workspace, number: int) -> Path:
    return workspace.policy_versions / f"{number:06d}.toml"


def _broken(what: str) -> DistillError:
    return DistillError(Code.POLICY_CHANGE, what, "Restore policy/ and .distill/ from version control or a copy.")
