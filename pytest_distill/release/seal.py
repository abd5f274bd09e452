"""From a passing verdict to a seal: a SLSA verification summary bound to the batch's digest, and in an export to its sums."""

from __future__ import annotations

from pathlib import Path

from pytest_distill import storage
from pytest_distill.batch.digest import SUMS
from pytest_distill.contracts.attestation import Digest, Position, Resource, Seal, Subject, Summary, Verdict, Verifier
from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.release.verdict import EVIDENCE, PUBLIC_EVIDENCE, TOOL, VERDICT, failed_gates, statement

SEAL = "seal.json"
GATES_AGAINST = "gates that did not pass"
NAMED = 8  # of them, in one line: where a gate could not be collected, none has passed
LEVEL = "DISTILL_ALL_REQUIRED_GATES_PASSED"
LEVEL_WAIVED = "DISTILL_REQUIRED_GATES_PASSED_OR_WAIVED"


def refusals(record: RunRecord) -> list[str]:
    """Why `record` cannot be sealed, in words; empty when it can. Does not trust the record's own summary of itself."""
    reasons = []
    if record.verdict == "INCOMPLETE":  # which gates said nothing is no news then: all of them
        return ["the run did not finish"]
    if failed := failed_gates(record):
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        reasons.append(f"{GATES_AGAINST}: {', '.join(failed[:NAMED])}{more}")
    if record.findings:
        reasons.append("; ".join(record.findings))
    elif record.verdict == "FAILED" and not failed:
        reasons.append("the verdict is FAILED")
    if not record.required:
        reasons.append("no gate was required")
    ids = [gate.id for gate in record.gates]
    if len(set(ids)) != len(ids):
        reasons.append("one gate is recorded twice")
    rows = record.rows
    if rows.batch != rows.quarantined + rows.remaining or min(rows.quarantined, rows.remaining) < 0:
        reasons.append(
            f"{rows.quarantined} rows quarantined and {rows.remaining} remaining are not the {rows.batch} of the batch"
        )
    if rows.remaining <= 0:
        reasons.append("no row remains")
    if rows.quarantined and record.quarantine_sha256 is None:
        reasons.append("rows are quarantined, but no quarantine is recorded")
    return reasons


def seal_of(record: RunRecord, verdict: bytes, *, sums: bytes | None = None, ledger: Position | None = None) -> Seal:
    """The seal that `record` and the bytes of its verdict.json give; with `sums`, that of an export with this SHA256SUMS.

    `ledger` is where the verdict stands in the workspace's ledger.

    Depends on nothing else, so that whoever holds these can make it again and compare; that the evidence files are those the
    verdict names is for the caller to check, who has their bytes. Raises E-UNSEALED when the run did
    not pass, E-SEAL-INVALID when the verdict is not this record's.
    """
    if reasons := refusals(record):
        raise DistillError(
            Code.UNSEALED,
            f"run {record.run_id} of {record.batch_id} cannot be sealed: {'; '.join(reasons)}",
            "Mend the batch or its gates.",
        )
    said = Verdict.from_bytes(verdict, name=VERDICT)
    tool, evidence, public = said.configured(TOOL), said.digest_of(EVIDENCE), said.digest_of(PUBLIC_EVIDENCE)
    if tool is None or tool.uri is None or evidence is None or public is None:
        raise DistillError(Code.SEAL_INVALID, f"{VERDICT} names neither tool nor evidence", "Judge the batch again.")
    expected = statement(record, evidence_sha256=evidence, public_sha256=public, tool_uri=tool.uri)
    if expected.to_bytes() != verdict:
        raise DistillError(
            Code.SEAL_INVALID, f"{VERDICT} does not say what the evidence of run {record.run_id} says", "Judge the batch again."
        )
    waivers = tuple(gate.waiver for gate in record.gates if gate.status == "waived" and gate.waiver is not None)
    subjects = [Subject(name=record.batch_id, digest=Digest(sha256=record.batch_sha256))]
    if sums is not None:
        subjects.insert(0, Subject(name=SUMS, digest=Digest(sha256=storage.sha256_bytes(sums))))
    return Seal(
        subject=tuple(subjects),
        predicate=Summary(
            verifier=Verifier(id=tool.uri),
            resource_uri=f"pkg:generic/{record.batch_id}?checksum=sha256:{record.batch_sha256}",
            policy=Resource(uri="file:distill.toml", digest=Digest(sha256=record.policy_sha256)),
            input_attestations=(Resource(uri=f"file:{VERDICT}", digest=Digest(sha256=storage.sha256_bytes(verdict))),),
            verified_levels=(LEVEL_WAIVED if any(gate.status == "waived" for gate in record.gates) else LEVEL,),
            waivers=waivers or None,
            ledger=ledger,
        ),
    )


def write_seal(folder: Path, record: RunRecord, *, ledger: Position | None = None) -> None:
    """Writes `seal.json` beside the run's verdict.json. Raises E-UNSEALED when `record` did not pass."""
    try:
        verdict = (folder / VERDICT).read_bytes()
    except OSError as error:
        raise DistillError(
            Code.UNSEALED, f"cannot read {folder / VERDICT}: {error.strerror}", "A seal needs a verdict."
        ) from error
    seal_of(record, verdict, ledger=ledger).write(folder / SEAL)
