"""The words of a verdict, the same on the page and in the summary: what it means, and what to do next."""

from __future__ import annotations

from typing import NamedTuple

from pytest_distill.contracts.run import DID_NOT_RUN, NOT_COLLECTED, GateRecord, RunRecord
from pytest_distill.release.verdict import failed_gates

STATUS = {
    "passed": "yes",
    "failed": "no",
    "did_not_run": "not run",
    "warned": "warning",
    "waived": "waived",
    "not_applicable": "does not apply",
}


class Verdict(NamedTuple):
    """One sentence on what happened, and one on what to do."""

    meaning: str
    todo: str


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def saying_no(record: RunRecord) -> tuple[GateRecord, ...]:
    """The records of all gates that stop the batch, in the order of the run; required ones without a record among them."""
    no, said = set(failed_gates(record)), {gate.id for gate in record.gates}
    absent = [
        GateRecord(
            id=gate_id,
            title="Required, and there is no record of it.",
            kind="batch",
            severity="block",
            status="did_not_run",
            why=("it left nothing",),
            origin="policy",
        )
        for gate_id in record.required
        if gate_id not in said
    ]
    return (*(gate for gate in record.gates if gate.id in no), *absent)


def verdict(record: RunRecord) -> Verdict:
    """What the verdict of a run means and what comes next."""
    if record.verdict == "INCOMPLETE":
        return Verdict(
            "The run did not reach its end, so nothing is known and nothing may leave.",
            f"Judge it again: pytest --distill-batch={record.batch_id}",
        )
    if record.verdict == "PASSED":
        kept = plural(record.rows.remaining, "row")
        return Verdict(
            f"Every required gate ran on exactly these bytes and said yes. {kept} may leave.",
            f"distill export {record.batch_id} --format jsonl --out DIR",
        )
    no = len(saying_no(record))
    if not no:
        return Verdict("The run was interfered with, so what its gates said does not count.", "Remove what its findings name.")
    return Verdict(f"{no} of {plural(len(record.required), 'required gate')} did not say yes. Nothing leaves.", _todo(record))


def _todo(record: RunRecord) -> str:
    """What to do after a no. Rows are only to blame where a figure is out of its bound."""
    no = saying_no(record)
    if lost := [gate.id for gate in no if NOT_COLLECTED in gate.why]:
        return f"Mend what kept {_some(lost)} from being collected: pytest names it. The other gates wait for that."
    if broken := [gate.id for gate in no if gate.status == "failed" and all(figure.ok for figure in gate.figures)]:
        return f"Mend the code of {_some(broken)}: it came to no figure, whatever the rows are."
    if all(DID_NOT_RUN in gate.why for gate in no):
        return f"Run every gate: pytest --distill-batch={record.batch_id}"
    return (
        "Mend the rows at their source and ingest them again, or allow what you have looked at in distill.toml; "
        "rejected rows stay behind."
    )


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
