"""From what was seen to what is said: a status for every required gate, and the verdict. Pure functions.

Required means required: whatever is missing from the evidence is a "no", in words that say what to do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_distill.contracts.run import DID_NOT_RUN, NOT_COLLECTED, GateRecord, Status, Waiver
from pytest_distill.errors import one_line
from pytest_distill.gating.evidence import Evidence
from pytest_distill.policy.model import Policy
from pytest_distill.suite.declared import Declared, settable_limits, severity

GOOD: tuple[Status, ...] = ("passed", "warned", "waived", "not_applicable")


@dataclass
class Observation:
    """What the keeper saw of one gate item, raw: not what reports say about it."""

    gate: Declared
    id: str
    evidence: Evidence | None = None
    calls: int = 0
    raised: dict[str, str] = field(default_factory=dict)  # phase -> what was raised
    phases: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    source_sha256: str | None = None
    source: str | None = None


def problems(seen: Observation) -> list[str]:
    """Why the gate has not passed; empty when it has."""
    found = list(seen.findings)
    evidence = seen.evidence
    if seen.calls == 0 and not seen.raised:
        return found if NOT_COLLECTED in found else [*found, DID_NOT_RUN]
    failures = evidence.failures() if evidence else []
    found += failures
    # The gate's own failure repeats its figures; anything else that was raised is news.
    found += [f"{phase}: {text}" if phase != "call" else text for phase, text in seen.raised.items() if text]
    return found or [text for text in (cut_short(seen), missing(seen)) if text][:1]


def cut_short(seen: Observation) -> str | None:
    """What is wrong with how a gate was run that raised nothing."""
    if seen.calls == 0:
        return "it did not run: its setup ended early"
    if seen.calls > 1:
        return f"it was run {seen.calls} times: a verdict that needs retries is no verdict"
    if seen.phases.count("setup") != 1 or seen.phases.count("teardown") != 1:
        return "its setup or teardown was cut short"
    return None


def missing(seen: Observation) -> str | None:
    """What is missing from the evidence of a gate that raised nothing."""
    evidence = seen.evidence
    if evidence is None:
        return "it left no evidence"
    if seen.gate.kind == "row" and evidence.mask is None:
        return "it declares rejects= and never called quarantine"
    if not evidence.figures:
        return "it left no figure: call require or quarantine"
    if not evidence.used:
        return "it used no column of the batch: a figure that is drawn from nothing is no evidence"
    if evidence.rows == 0:
        return "it saw no row"
    return None


def status_of(
    seen: Observation, *, why_not: str | None, waiver: Waiver | None, level: Literal["block", "warn"]
) -> tuple[Status, list[str]]:
    if why_not is not None:
        return "not_applicable", [why_not]
    found = problems(seen)
    if not found:
        return "passed", []
    if level == "warn":
        return "warned", found
    if waiver is not None and decided(seen):
        return "waived", [f"waived by {waiver.who} until {waiver.expires}: {waiver.reason}", *found]
    return ("did_not_run" if seen.calls == 0 and not seen.raised else "failed"), found


def decided(seen: Observation) -> bool:
    """Did the gate itself say no, with evidence? That is all a waiver can take note of: "did not run" stays "no"."""
    return not seen.findings and set(seen.raised) <= {"call"} and cut_short(seen) is None and missing(seen) is None


def waivers(policy: Policy, today: dt.date) -> tuple[dict[str, Waiver], list[str]]:
    """Waivers in force by gate, and a sentence for each that has expired."""
    live, over = {}, []
    for entry in policy.waivers:
        if entry.expires < today:
            over.append(f"the waiver for {entry.gate} by {entry.who} expired on {entry.expires.isoformat()}")
        else:
            live[entry.gate] = Waiver(gate=entry.gate, reason=entry.reason, who=entry.who, expires=entry.expires.isoformat())
    return live, over


def record(seen: Observation, *, why_not: str | None, waiver: Waiver | None, policy: Policy) -> GateRecord:
    level = severity(seen.gate, policy)
    status, why = status_of(seen, why_not=why_not, waiver=waiver, level=level)
    evidence = seen.evidence
    return GateRecord(
        id=seen.id,
        title=seen.gate.title,
        kind=seen.gate.kind,
        severity=level,
        status=status,
        why=tuple(one_line(text) for text in why),
        figures=tuple(evidence.figures) if evidence else (),
        rows_seen=evidence.rows if evidence and seen.calls else 0,
        rejected=int(evidence.mask.sum()) if evidence and evidence.mask is not None else 0,
        reason_code=seen.gate.rejects,
        examples=tuple(evidence.examples) if evidence else (),
        origin=seen.gate.origin,
        source=seen.source,
        source_sha256=seen.source_sha256,
        limits=settable_limits(seen.gate, policy),
        waiver=waiver if status == "waived" else None,
    )


def absent(gate_id: str, why: str) -> GateRecord:
    """A gate that the policy requires and nobody declares; a waiver changes nothing about that."""
    return GateRecord(
        id=gate_id,
        title="required by the policy",
        kind="batch",
        severity="block",
        status="did_not_run",
        why=(why,),
        origin="policy",
    )


def required_ids(declared: Mapping[str, Declared], collected: Iterable[str], policy: Policy) -> tuple[str, ...]:
    """Declared in source, collected at run time, named in the policy: their union, sorted.

    A parametrized gate is required under each collected `id[param]`; its bare id when nothing was collected of it.
    """
    seen = set(collected)
    parametrized = {name.split("[", 1)[0] for name in seen if "[" in name}
    bare = {name for name in declared if name not in parametrized}
    return tuple(sorted(bare | seen | (set(policy.required.gates) - parametrized)))


def verdict(records: Iterable[GateRecord], findings: Iterable[str]) -> Literal["PASSED", "FAILED"]:
    """PASSED needs every required gate in a good status, at least one blocking gate that passed, and no finding."""
    gates = list(records)
    judged = any(g.status == "passed" and g.severity == "block" for g in gates)
    return "PASSED" if judged and not list(findings) and all(g.status in GOOD for g in gates) else "FAILED"
