"""What may go, and when. The audit trail stays forever, gate results at least five years, everything else at least two.

The strictest rule wins: a batch stays as long as gate results about it have to. Age is counted from the ledger's times, because
those of files can be set by anyone; what the ledger does not know has no age and stays. No program stops `rm`; what went that way
before its time is found by the ledger's lines about it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_distill import clock, ledger, storage
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.model import Retention
from pytest_distill.policy.workspace import Workspace


@dataclass(frozen=True)
class Held:
    """A folder under a rule: until when it stays, and why."""

    path: Path
    what: str
    until: dt.date | None  # None: forever

    def due(self, today: dt.date) -> bool:
        return self.until is not None and self.until <= today


def holdings(workspace: Workspace) -> list[Held]:
    """Every batch, run and receipt, each with the day from which on it may go."""
    about = _by_batch(ledger.entries(workspace.ledger))
    years = workspace.policy.retention
    found = [
        Held(folder, "batch", _batch_until(about.get(folder.name, []), years))
        for folder in (sorted(workspace.batches.iterdir()) if workspace.batches.is_dir() else [])
        if folder.is_dir() and not folder.name.startswith(".")
    ]
    for folder in sorted(workspace.runs.glob("*/*")):
        judged = [entry for entry in about.get(folder.parent.name, []) if entry.facts.get("run") == folder.name]
        found.append(Held(folder, "gate results", _until(judged, years.gate_results_years)))
    return found


def prune(workspace: Workspace, names: list[str], *, really: bool) -> list[Held]:
    """Removes what is due (everything that is, or the named batches with their runs); with `really` unset only says what.

    Raises E-RETENTION, before anything is removed, when something named has to stay, or is not known.
    """
    today = clock.now().date()
    held = holdings(workspace)
    chosen = [h for h in held if h.due(today)]
    if names:
        chosen = []
        for name in names:
            if name in (workspace.ledger.name, workspace.incidents.name, "ledger", "incidents"):
                raise DistillError(Code.RETENTION, f"{name}: the audit trail stays forever", "Copy it, never remove it.")
            mine = [h for h in held if (h.path.name == name and h.what == "batch") or h.path.parent.name == name]
            if not mine:
                raise DistillError(Code.RETENTION, f"{name} is no batch that was kept", "`distill list` shows the batches.")
            for one in mine:
                if not one.due(today):
                    until = f"until {one.until}" if one.until else "because the ledger does not say how old it is"
                    place = one.path.relative_to(workspace.root)
                    raise DistillError(Code.RETENTION, f"{place} ({one.what}) has to stay {until}", "Nothing was removed.")
            chosen += mine
    if really:
        for one in chosen:
            # The line first: there may be a line without a removal, never a removal without its line.
            batch = one.path.name if one.what == "batch" else one.path.parent.name
            run = one.path.name if one.what == "gate results" else None
            ledger.append(
                workspace.ledger,
                "pruned",
                batch=batch,
                what=one.what,
                run=run,
                where=one.path.relative_to(workspace.root).as_posix(),
            )
            storage.remove_folder(one.path)
    return chosen


def removed(workspace: Workspace) -> list[str]:
    """Batches and gate results that the ledger knows, that have to stay, and that somebody removed: where, and until when."""
    today = clock.now().date()
    entries = ledger.entries(workspace.ledger)
    pruned: set[str] = set()
    for entry in entries:  # in their order: what was pruned and made again is there again
        if entry.event == "pruned":
            pruned.add(str(entry.facts["where"]))
        else:
            pruned.discard(str(entry.facts.get("where")))
    years = workspace.policy.retention
    held: dict[str, tuple[str, dt.date | None]] = {}
    for batch, about in _by_batch(entries).items():
        folder = workspace.batch_folder(batch).relative_to(workspace.root).as_posix()
        if any(entry.facts.get("where") == folder for entry in about):
            held[folder] = ("batch", _batch_until(about, years))
        for entry in about:
            if entry.event in ("verdict", "seal") and entry.facts.get("run"):
                run = workspace.runs / batch / str(entry.facts["run"])
                held[run.relative_to(workspace.root).as_posix()] = ("gate results", _until([entry], years.gate_results_years))
    return [
        f"{where} ({what}) has to stay until {until}"
        for where, (what, until) in held.items()
        if until is not None and until > today and where not in pruned and not (workspace.root / where).exists()
    ]


def _by_batch(entries: Iterable[LedgerEntry]) -> dict[str, list[LedgerEntry]]:
    """What was said of each batch. That something of it may go makes nothing younger: a prune that was killed is done again."""
    found: dict[str, list[LedgerEntry]] = {}
    for entry in entries:
        if entry.batch is not None and entry.event != "pruned":
            found.setdefault(entry.batch, []).append(entry)
    return found


def _batch_until(about: list[LedgerEntry], years: Retention) -> dt.date | None:
    """As long as anything about a batch, and as gate results about it, have to stay."""
    judged = [entry for entry in about if entry.event in ("verdict", "seal", "export")]
    return _latest(_until(about, years.everything_years), _until(judged, years.gate_results_years))


def _until(entries: list[LedgerEntry], years: int) -> dt.date | None:
    """The day `years` after the newest of the entries; None where there is none."""
    days = [dt.date.fromisoformat(entry.at[:10]) for entry in entries]
    if not days:
        return None
    newest = max(days)
    return newest + dt.timedelta(days=-(-years * 1461 // 4))


def _latest(first: dt.date | None, second: dt.date | None) -> dt.date | None:
    """The later day. A batch that was never judged has only the first; one that the ledger does not know has none."""
    return first if second is None or first is None else max(first, second)
