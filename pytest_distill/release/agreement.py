"""The record of an automated verifier's agreement with people: kept by the verifier's id, and entered into the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_distill import clock, ledger, storage
from pytest_distill.contracts.verifier import Agreement, AutomatedVerifier, SharedRow, cohen_kappa
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.model import Policy
from pytest_distill.policy.workspace import Workspace

EVENT = "agreement"


def keep(
    workspace: Workspace, verifier: AutomatedVerifier, rows: Sequence[SharedRow], *, source: str, source_sha256: str
) -> Agreement:
    """Works out the agreement and keeps it, in place of an earlier one of the same verifier.

    Raises E-VERIFIER where the rows cannot say how far the two agree.
    """
    try:
        found = cohen_kappa([(row.people == "good", row.verifier == "good") for row in rows])
    except ValueError as error:
        raise DistillError(Code.VERIFIER, str(error), "Have people judge more rows, of both sorts.") from error
    agreement = Agreement(
        verifier=verifier, source=source, source_sha256=source_sha256, rows=tuple(rows), kappa=found.value, low=found.low,
        high=found.high, at=clock.timestamp(),
    )  # fmt: skip
    ledger.append(
        workspace.ledger, EVENT, verifier=verifier.id, sha256=storage.sha256_bytes(agreement.to_bytes()),
        rows=len(rows), kappa=round(found.value, 6), source_sha256=source_sha256,
    )  # fmt: skip
    agreement.write(workspace.agreement(verifier.id))
    return agreement


def measured(workspace: Workspace, verifier_id: str) -> Agreement | None:
    """The record about that verifier, None where there is none.

    Raises E-LEDGER where it is not the newest that the ledger knows, E-MANIFEST where it is none.
    """
    path = workspace.agreement(verifier_id)
    if not path.is_file():
        return None
    data = path.read_bytes()
    known = [
        entry.facts.get("sha256")
        for entry in ledger.entries(workspace.ledger)
        if entry.event == EVENT and entry.facts.get("verifier") == verifier_id
    ]
    found = Agreement.from_bytes(data, name=str(path))
    if found.verifier.id != verifier_id or not known or known[-1] != storage.sha256_bytes(data):
        raise DistillError(
            Code.LEDGER, f"{path} is not what the ledger says was measured", "Measure it again: distill agreement."
        )
    return found


def why_not_alone(agreement: Agreement | None, policy: Policy) -> str | None:
    """Why a verifier may not stand alone; None where it may."""
    asked = policy.inspection
    if agreement is None:
        return "its agreement with people was never measured"
    if len(agreement.rows) < asked.min_shared_rows:
        return f"its agreement was measured on {len(agreement.rows)} rows, {asked.min_shared_rows} are asked"
    if agreement.kappa < asked.min_kappa:
        return f"its agreement with people is kappa {agreement.kappa:.3f}, {asked.min_kappa} is asked"
    return None
