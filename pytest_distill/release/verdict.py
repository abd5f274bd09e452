"""From a run's record to its verdict: an in-toto test-result statement that pins every byte the decision rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pytest_distill import __version__, storage
from pytest_distill.contracts.attestation import Digest, Resource, Results, Subject, Verdict
from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import Code, DistillError

EVIDENCE = "evidence.json"
# The same record without examples of rejected rows: what an export carries, because rejected text never leaves.
PUBLIC_EVIDENCE = "evidence.public.json"
QUARANTINE = "quarantine.parquet"
VERDICT = "verdict.json"
TOOL = "pytest-distill"

POSITIVE = {"passed", "warned", "waived", "not_applicable"}


def public(record: RunRecord) -> RunRecord:
    """The record without the text of rejected rows."""
    return record.model_copy(update={"gates": tuple(gate.model_copy(update={"examples": ()}) for gate in record.gates)})


def failed_gates(record: RunRecord) -> tuple[str, ...]:
    """Gates that said no, and required gates that said nothing, sorted."""
    said = {gate.id: gate.status for gate in record.gates}
    return tuple(sorted({name for name, status in said.items() if status not in POSITIVE} | (set(record.required) - set(said))))


def statement(record: RunRecord, *, evidence_sha256: str, public_sha256: str, tool_uri: str) -> Verdict:
    """The verdict on `record`, given the digests of its two evidence files and the tool that judged (a package URL).

    `public(record)` gives the same statement, so that an export can be checked without the text of rejected rows.
    """
    passed = tuple(sorted(gate.id for gate in record.gates if gate.status == "passed"))
    warned = tuple(sorted(gate.id for gate in record.gates if gate.status in ("warned", "waived")))
    failed = failed_gates(record)
    result: Literal["PASSED", "WARNED", "FAILED"] = "WARNED" if warned else "PASSED"
    if record.verdict != "PASSED" or failed:
        result = "FAILED"
    digests = {
        "policy": record.policy_sha256,
        "gates": record.gates_sha256,
        "plugins": record.plugins_sha256,
        EVIDENCE: evidence_sha256,
        PUBLIC_EVIDENCE: public_sha256,
    }
    if record.quarantine_sha256 is not None:
        digests[QUARANTINE] = record.quarantine_sha256
    return Verdict(
        subject=(Subject(name=record.batch_id, digest=Digest(sha256=record.batch_sha256)),),
        predicate=Results(
            result=result,
            configuration=(
                Resource(name=TOOL, uri=tool_uri),
                *(Resource(name=name, digest=Digest(sha256=digest)) for name, digest in digests.items()),
            ),
            passed_tests=passed,
            warned_tests=warned,
            failed_tests=failed,
        ),
    )


def write_verdict(folder: Path, record: RunRecord) -> None:
    """Writes `verdict.json` into a run's folder, whatever the verdict is.

    Raises E-EVIDENCE when the folder's evidence.json or quarantine.parquet is not what `record` says.
    """
    evidence = record.to_bytes()
    if _read(folder / EVIDENCE) != evidence:
        raise DistillError(Code.EVIDENCE, f"{folder / EVIDENCE} is not the record of this run", "Judge the batch again.")
    quarantine = folder / QUARANTINE
    found = storage.sha256_file(quarantine) if quarantine.is_file() else None
    if found != record.quarantine_sha256:
        raise DistillError(Code.EVIDENCE, f"{quarantine} is not the quarantine of this run", "Judge the batch again.")
    statement(
        record,
        evidence_sha256=storage.sha256_bytes(evidence),
        public_sha256=storage.sha256_bytes(public(record).to_bytes()),
        tool_uri=f"pkg:pypi/{TOOL}@{__version__}",
    ).write(folder / VERDICT)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DistillError(Code.EVIDENCE, f"cannot read {path}: {error.strerror}", "Judge the batch again.") from error
