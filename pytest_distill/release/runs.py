"""Which run of a batch counts, and whether its seal still holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.attestation import Position, Seal, Verdict
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.seal import GATES_AGAINST, SEAL, refusals, seal_of
from pytest_distill.release.verdict import EVIDENCE, PUBLIC_EVIDENCE, QUARANTINE, VERDICT, failed_gates, public


@dataclass(frozen=True)
class SealedRun:
    """A run whose seal was checked. The bytes are those that were checked; nothing is read again."""

    record: RunRecord
    judged_at: str
    verdict: bytes
    quarantine: bytes | None
    position: Position | None = None


def judge_again(batch_id: str) -> str:
    return f"Judge it: pytest --distill-batch={batch_id}"


def see_why(batch_id: str) -> str:
    return f"`distill show {batch_id} -v` quotes what was rejected. Mend the rows, or allow them in distill.toml; judge again."


def newest_run(workspace: Workspace, batch_id: str) -> Path:
    """The folder of a batch's newest run, finished or not. Raises E-UNSEALED when there is none."""
    folders = workspace.run_folders(batch_id)
    if not folders:
        raise DistillError(Code.UNSEALED, f"the batch {batch_id} was never judged", judge_again(batch_id))
    return folders[-1]


def newest_record(workspace: Workspace, batch_id: str) -> RunRecord | None:
    """The record of a batch's newest run, as it lies there; None when the batch was never judged or the run left none."""
    folders = workspace.run_folders(batch_id)
    return RunRecord.load(folders[-1] / EVIDENCE) if folders and (folders[-1] / EVIDENCE).is_file() else None


class _Finished(NamedTuple):
    """A run that ended, as its files lie there."""

    name: str
    folder: Path
    record: RunRecord
    evidence: bytes
    verdict: bytes
    entries: list[LedgerEntry]


def sealed_run(workspace: Workspace, batch: Batch) -> SealedRun:
    """The newest run of `batch`, which must have passed, with everything its seal rests on recomputed.

    The ledger has the last word on which verdict is the newest, so that removing the folder of a failed run does not bring an
    older one back. Raises E-UNSEALED (never judged, did not finish, did not pass), E-SEAL-INVALID (files that are not what was
    sealed, or that the ledger does not know), E-SEAL-STALE (policy, gates or plugins are no longer those that judged).
    """
    run = _finished(workspace, batch)
    record, name = run.record, run.name
    if reasons := refusals(record):
        next_step = judge_again(batch.id) if record.verdict == "INCOMPLETE" else see_why(batch.id)
        earlier = " (an earlier run passed, but only the newest counts)" if any(e.event == "seal" for e in run.entries) else ""
        raise DistillError(Code.UNSEALED, f"{name} is {record.verdict}: {'; '.join(reasons)}{earlier}", next_step)
    newest, quarantine = _checked(batch, run)
    entered = [entry for entry in run.entries if (entry.event, entry.facts.get("run")) == ("seal", run.folder.name)]
    if not entered and not (run.folder / SEAL).exists():
        raise DistillError(Code.UNSEALED, f"{name} did not finish: it was stopped before its seal", judge_again(batch.id))
    seal = _read(run.folder / SEAL, name)
    position = position_of(seal, name)
    if seal_of(record, run.verdict, ledger=position).to_bytes() != seal:
        raise _invalid(f"{SEAL} of {name} is not the seal of its verdict", batch.id)
    if position is not None and position != ledger.position(newest):
        raise _invalid(f"the seal of {name} follows another line of the ledger than its verdict's", batch.id)
    if not entered and position is not None:
        message = f"{name} did not finish: it was stopped before its seal was in the ledger"
        raise DistillError(Code.UNSEALED, message, judge_again(batch.id))
    if not any(entry.facts.get("sha256") == storage.sha256_bytes(seal) for entry in entered):
        raise _invalid(f"the ledger knows no such seal of {name}", batch.id)
    if stale := staleness(workspace, record):
        raise DistillError(Code.SEAL_STALE, f"since {name}: {'; '.join(stale)}", judge_again(batch.id))
    return SealedRun(record=record, judged_at=newest.at, verdict=run.verdict, quarantine=quarantine, position=position)


def gates_against(workspace: Workspace, batch: Batch) -> tuple[str, ...]:
    """The gates that said no, or nothing, in the newest run of `batch`; none where it is sealed.

    The run has to have ended by the rules, and what its verdict rests on is recomputed as it is for a seal. Raises what
    `sealed_run` raises, but for gates that said no.
    """
    run = _finished(workspace, batch)
    failed = failed_gates(run.record)
    if not failed:
        sealed_run(workspace, batch)
        return ()
    others = [reason for reason in refusals(run.record) if not reason.startswith(GATES_AGAINST)]
    if others:
        raise DistillError(Code.UNSEALED, f"{run.name} is {run.record.verdict}: {'; '.join(others)}", judge_again(batch.id))
    _checked(batch, run)
    if stale := staleness(workspace, run.record):
        raise DistillError(Code.SEAL_STALE, f"since {run.name}: {'; '.join(stale)}", judge_again(batch.id))
    return failed


def _finished(workspace: Workspace, batch: Batch) -> _Finished:
    """The newest run. Raises E-UNSEALED where there is none, or none that ended."""
    folder = newest_run(workspace, batch.id)
    entries = [entry for entry in ledger.entries(workspace.ledger) if entry.batch == batch.id]
    name = f"run {folder.name} of {batch.id}"
    if not (folder / EVIDENCE).is_file() or not (folder / VERDICT).is_file():
        raise DistillError(Code.UNSEALED, f"{name} did not finish: it still runs, or it was stopped", judge_again(batch.id))
    evidence, verdict = _read(folder / EVIDENCE, name), _read(folder / VERDICT, name)
    return _Finished(name, folder, RunRecord.from_bytes(evidence, name=f"{EVIDENCE} of {name}"), evidence, verdict, entries)


def _checked(batch: Batch, run: _Finished) -> tuple[LedgerEntry, bytes | None]:
    """The ledger's line of the verdict, and the run's quarantine. Raises E-SEAL-INVALID unless all is as the verdict says."""
    record, name = run.record, run.name
    newest = _newest_verdict(batch, run)
    if record.batch_id != batch.id or record.batch_sha256 != batch.sha256 or record.rows.batch != batch.rows:
        judged = f"{record.batch_id} {record.batch_sha256[:12]}… with {record.rows.batch} rows"
        raise _invalid(f"{name} judged {judged}, the batch now is {batch.sha256[:12]}… with {batch.rows}", batch.id)
    quarantine = _read(run.folder / QUARANTINE, name) if (run.folder / QUARANTINE).is_file() else None
    said = Verdict.from_bytes(run.verdict, name=f"{VERDICT} of {name}")
    digests = {EVIDENCE: run.evidence, PUBLIC_EVIDENCE: public(record).to_bytes(), QUARANTINE: quarantine}
    for file, data in digests.items():
        if said.digest_of(file) != (None if data is None else storage.sha256_bytes(data)):
            raise _invalid(f"{file} of {name} is not what the verdict rests on", record.batch_id)
    return newest, quarantine


def _newest_verdict(batch: Batch, run: _Finished) -> LedgerEntry:
    """The ledger's newest verdict on the batch, which is that of `run`.

    Raises E-UNSEALED where a run was stopped between its files and its line, or two were under way at once; E-SEAL-INVALID where
    only somebody's hand explains what lies there.
    """
    sha256, number = storage.sha256_bytes(run.verdict), int(run.folder.name)
    verdicts = [entry for entry in run.entries if entry.event == "verdict"]
    numbers = [int(name) if (name := str(entry.facts.get("run"))).isdecimal() else 0 for entry in verdicts]
    own = [entry.facts.get("sha256") for entry, of in zip(verdicts, numbers, strict=True) if of == number]
    if verdicts and verdicts[-1].facts.get("sha256") == sha256 and max(numbers) <= number:
        return verdicts[-1]
    if not own and not (run.folder / SEAL).exists() and max(numbers, default=0) < number:
        message = f"{run.name} did not finish: it was stopped before its verdict was in the ledger"
        raise DistillError(Code.UNSEALED, message, judge_again(batch.id))
    if own[-1:] == [sha256] and numbers[-1] < number:
        message = f"run {numbers[-1]:06d} of {batch.id} began before {run.name} and ended after it"
        raise DistillError(Code.UNSEALED, f"{message}: which of them counts cannot be told", judge_again(batch.id))
    raise _invalid(f"the ledger's newest verdict on the batch is not that of {run.name}", batch.id)


def position_of(seal: bytes, name: str) -> Position | None:
    """The line of the ledger that a seal says it follows. Raises E-SEAL-INVALID for bytes that are no seal."""
    try:
        return Seal.from_bytes(seal, name=f"{SEAL} of {name}").predicate.ledger
    except DistillError as error:
        raise DistillError(Code.SEAL_INVALID, error.message, "Judge the batch again.") from error


def unknown_seals(workspace: Workspace) -> list[str]:
    """Seals in the workspace's runs that the ledger does not hold where they say they stand: its tail was cut, or replaced."""
    entries = ledger.entries(workspace.ledger)
    found = []
    for path in sorted(workspace.runs.glob(f"*/*/{SEAL}")):
        data = path.read_bytes()
        name = f"run {path.parent.name} of {path.parent.parent.name}"
        position = position_of(data, name)
        if position is None:  # made by a release that did not say
            continue
        before = entries[position.seq - 1] if position.seq <= len(entries) else None
        held = any(e.facts.get("sha256") == storage.sha256_bytes(data) for e in entries[position.seq :])
        if before is None or ledger.position(before) != position or not held:
            found.append(f"{name} was sealed behind line {position.seq}")
    return found


def staleness(workspace: Workspace, record: RunRecord) -> list[str]:
    """What has changed since the verdict, in words; empty when the same gates would judge by the same policy today."""
    from pytest_distill.suite import digest
    from pytest_distill.suite.declared import declared_gates

    changes = []
    if workspace.policy.sha256 != record.policy_sha256:
        changes.append("the policy was edited")
    if digest.gates_digest(workspace) != record.gates_sha256:
        changes.append("the source of the gates was edited")
    if digest.plugins_digest() != record.plugins_sha256:
        now = set(digest.plugins())
        changes.append(f"the installed pytest plugins changed ({', '.join(sorted(now ^ set(record.plugins))) or 'their digest'})")
    judged = {gate.id.partition("[")[0] for gate in record.gates}
    if new := sorted(set(declared_gates(workspace)) - judged):
        changes.append(f"gates were declared that did not judge: {', '.join(new)}")
    today = clock.now().date().isoformat()
    waived = [gate for gate in record.gates if gate.status == "waived"]
    changes += [f"the waiver of {gate.id} ran out" for gate in waived if gate.waiver is None or gate.waiver.expires < today]
    return changes


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DistillError(
            Code.SEAL_INVALID, f"{path.name} of {name} cannot be read: {error.strerror}", "Judge the batch again."
        ) from error


def _invalid(message: str, batch_id: str) -> DistillError:
    return DistillError(Code.SEAL_INVALID, message, judge_again(batch_id))
