"""Transforms that no table can say: plain functions of one source row. They see nothing else, and keep nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pytest_distill.pipelines.evidence.values import Function, Row


def epoch_milliseconds(row: Row) -> str | None:
    """`ts` in milliseconds since 1970 as ISO 8601; None where it is no such number."""
    stamp = row.get("ts")
    if type(stamp) is not int or not 0 <= stamp < 253402300800000:
        return None
    moment = datetime.fromtimestamp(stamp // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{stamp % 1000:03d}Z"


def audit_facts_text(row: Row) -> str | None:
    """Facts, then entities, then relationships of an extraction, one a line."""
    lines = [str(fact) for fact in _items(row, "facts")]
    lines += [f"entity: {e.get('name')} ({e.get('type')})" for e in _items(row, "entities") if isinstance(e, dict)]
    lines += [
        f"relation: {r.get('from')} {r.get('type')} {r.get('to')}" for r in _items(row, "relationships") if isinstance(r, dict)
    ]
    return "\n".join(lines) or None


def audit_severity(row: Row) -> str | None:
    """The severity of a finding in lower case; None where it is none of the five."""
    severity = row.get("severity")
    known = isinstance(severity, str) and severity.lower() in ("info", "low", "medium", "high", "critical")
    return severity.lower() if known and isinstance(severity, str) else None


def all_events_ok(row: Row) -> bool | None:
    """Whether every event of an outcome ended well; None where the two counts are not there or contradict each other."""
    total, ok = row.get("total_events"), row.get("ok_events")
    if type(total) is not int or type(ok) is not int or total < 1 or not 0 <= ok <= total:
        return None
    return ok == total


def grounding(row: Row) -> dict[str, Any] | None:
    """The validation results of an experiment, with `grounded_fraction` taken from its counts where only those are given."""
    found = row.get("validation_results")
    if not isinstance(found, dict):
        return None
    grounded, claims = found.get("grounded"), found.get("claims")
    if "grounded_fraction" not in found and type(grounded) is int and type(claims) is int and 0 <= grounded <= claims > 0:
        return {**found, "grounded_fraction": grounded / claims}
    return found


def _items(row: Row, name: str) -> list[Any]:
    found = row.get(name)
    return found if isinstance(found, list) else []


FUNCTIONS: dict[str, Function] = {
    function.__name__: function for function in (epoch_milliseconds, audit_facts_text, audit_severity, all_events_ok, grounding)
}
