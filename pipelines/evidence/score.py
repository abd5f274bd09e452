"""The scorer: from one evidence record to a category, with reasons. Pure: no clock, no model, no state.

Class A, verdict-bearing: what the row itself says. Class B, telemetry-rich: markers derived from telemetry, a person where they
say nothing. Class C, extraction: the category of the verdict-bearing parent with the same task, a person where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pytest_distill.contracts.evidence import Category, EvidenceRecord, ScoringRule

# A constant of the code, raised whenever a rule changes. Scores made by another version are made again.
SCORER_VERSION = "1.0.0"
HIGH_COST_ATTEMPTS = 4
SLOW_MS = 120_000.0
GROUNDED_ACCEPTED, GROUNDED_PARTIAL = 0.8, 0.5
_ATTEMPT = re.compile(r"accepted_on_attempt_([0-9]{1,6})")


class Parent(NamedTuple):
    """What the verdict-bearing runs of one task say: their common category, None when they disagree, and one run's id."""

    category: Category | None
    run_id: str


class Score(NamedTuple):
    category: Category
    reasons: tuple[str, ...]
    sub_scores: dict[str, float]
    joined_run_id: str | None = None


def score_record(record: EvidenceRecord, parent: Parent | None = None) -> Score:
    """The score of one record. `parent` is looked at for extraction rows only."""
    if record.scored_by == "join":
        return _joined(parent)
    if record.scored_by is None:
        return _human("the record names no rule to score it by")
    return _RULES[record.scored_by](record)


def _human(*reasons: str) -> Score:
    return Score("needs_human_review", reasons, {})


def _attempts(record: EvidenceRecord) -> Score:
    """Accepted at the first attempt; partially at a later one, which from the fourth on was dear."""
    found = [int(match[1]) for marker in record.success_markers if (match := _ATTEMPT.fullmatch(marker))]
    if len(found) != 1 or found[0] < 1:
        return _human("no marker says at which attempt it was accepted")
    attempt = found[0]
    scores = {"attempts": float(attempt)}
    if attempt == 1:
        return Score("accepted", ("accepted on attempt 1",), scores)
    dear = (f"high cost: {attempt} attempts",) if attempt >= HIGH_COST_ATTEMPTS else ()
    return Score("partially_accepted", (f"accepted on attempt {attempt}", *dear), scores)


def _verdict(record: EvidenceRecord) -> Score:
    """What the observer said, unless the run itself failed."""
    if record.failure_markers:
        return Score("rejected", tuple(f"failure: {marker}" for marker in record.failure_markers), {})
    match record.observer_verdict:
        case "accept":
            return Score("accepted", ("the observer accepted it",), {})
        case "reject":
            return Score("rejected", ("the observer rejected it",), {})
        case "cycle":
            return Score("partially_accepted", ("the observer sent it back once more",), {})
    return _human("no observer's verdict")


def _severity(record: EvidenceRecord) -> Score:
    """A finding of severity high or critical rejects, medium is partial, low and info accept; an older verdict counts too."""
    if record.failure_markers:
        return Score("rejected", tuple(f"failure: {marker}" for marker in record.failure_markers), {})
    if "audit_severity_medium" in record.success_markers:
        return Score("partially_accepted", ("a finding of medium severity",), {})
    if {"audit_severity_info", "audit_severity_low"} & set(record.success_markers):
        return Score("accepted", ("no finding above low severity",), {})
    return _verdict(record)


def _applied(record: EvidenceRecord) -> Score:
    """Committed patches are accepted, reverted ones rejected; of one that was never applied nothing is known."""
    reverted = [marker for marker in record.failure_markers if marker.endswith("_reverted")]
    if reverted:
        return Score("rejected", tuple(f"reverted: {marker}" for marker in reverted), {})
    if "committed" in record.success_markers:
        return Score("accepted", ("the patch was committed",), {})
    return _human("the patch was neither committed nor reverted")


def _events(record: EvidenceRecord) -> Score:
    """Signals of a gap make it partial, whatever else; all events well is accepted."""
    if "gap_signals" in record.failure_markers:
        return Score("partially_accepted", ("signals of a gap",), {})
    if "all_events_ok" in record.success_markers:
        return Score("accepted", ("every event ended well",), {})
    return _human("not every event ended well, and nothing says why")


def _grounding(record: EvidenceRecord) -> Score:
    """No text is rejected; then how much of it is grounded, and a very slow answer is at most partial."""
    if not (record.text or "").strip():
        return Score("rejected", ("an empty answer",), {})
    slow = record.latency_ms is not None and record.latency_ms > SLOW_MS
    fraction = (record.validation_results or {}).get("grounded_fraction")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
        if slow:
            return Score("partially_accepted", (f"took longer than {SLOW_MS / 1000:.0f} s",), {})
        return _human("nothing says how much of it is grounded")
    scores = {"grounded_fraction": float(fraction)}
    said = f"{fraction:.2f} of its statements are grounded"
    if fraction < GROUNDED_PARTIAL:
        return Score("rejected", (said,), scores)
    if fraction < GROUNDED_ACCEPTED or slow:
        return Score("partially_accepted", (said, *((f"took longer than {SLOW_MS / 1000:.0f} s",) if slow else ())), scores)
    return Score("accepted", (said,), scores)


def _markers(record: EvidenceRecord) -> Score:
    """Any failure marker rejects, any success marker accepts: for streams whose markers are verdicts."""
    if record.failure_markers:
        return Score("rejected", tuple(f"failure: {marker}" for marker in record.failure_markers), {})
    if record.success_markers:
        return Score("accepted", tuple(f"success: {marker}" for marker in record.success_markers), {})
    return _verdict(record)


def _joined(parent: Parent | None) -> Score:
    """An extraction says what was found, not how it went: that is for the run it was taken from to say."""
    if parent is None:
        return _human("an extraction without a verdict-bearing run of its task")
    if parent.category is None:
        return _human("the verdict-bearing runs of its task disagree")
    return Score(parent.category, (f"joined to {parent.run_id}",), {}, parent.run_id)


_RULES: dict[ScoringRule, Callable[[EvidenceRecord], Score]] = {
    "attempts": _attempts,
    "verdict": _verdict,
    "severity": _severity,
    "applied": _applied,
    "events": _events,
    "grounding": _grounding,
    "markers": _markers,
}
