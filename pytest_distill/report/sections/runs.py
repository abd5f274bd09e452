"""This run beside earlier ones: the trend, and the figures that moved."""

from __future__ import annotations

from pytest_distill.contracts.run import Figure, RunRecord
from pytest_distill.report import svg
from pytest_distill.report.html import Html, join, tag
from pytest_distill.report.judged import Judged
from pytest_distill.report.sections.parts import figure_text, number_text, percent, table
from pytest_distill.report.words import plural, saying_no

SHOWN = 30


def trend(judged: Judged) -> Html:
    past = judged.past
    if len(past) < 2:
        return Html("")
    rows = [
        (
            run.name,
            run.at,
            run.record.verdict,
            f"{run.record.rows.batch:,}",
            f"{run.record.rows.quarantined:,}",
            percent(run.record.rows.quarantined, run.record.rows.batch),
            f"{len(saying_no(run.record)):,}",
        )
        for run in reversed(past)
    ]
    head = ("batch and run", "when", "verdict", "rows", "rejected", "share", "gates against")
    shown = table("The last runs, newest first", head, rows, numbers=(3, 4, 5, 6))
    kind = judged.record.kind
    note = (
        f"The last {len(past)} runs of this workspace on {kind} batches, this one last. A column is the share of rows rejected."
    )
    if judged.unreadable:
        note += f" Left out: {plural(judged.unreadable, 'run')} whose record this release cannot read."
    return join([tag("p", note, class_="note"), svg.trend(past), tag("details", tag("summary", "as a table"), shown)])


def drift(judged: Judged) -> Html:
    """Figures that differ from those of the run to compare with, largest relative change first."""
    before = judged.before
    if before is None:
        return Html("")
    old, new = _figures(before.record), _figures(judged.record)
    shared = [key for key in new if key in old]
    moved = [key for key in shared if new[key].value != old[key].value]
    moved.sort(key=lambda key: (-_change(old[key], new[key]), key))
    rows = [
        (key[0], key[1], figure_text(old[key]), figure_text(new[key]), _difference(old[key], new[key]), str(new[key].bound or ""))
        for key in moved[:SHOWN]
    ]
    same = "the same rows" if before.record.batch_sha256 == judged.record.batch_sha256 else "other rows"
    policy = "the same policy" if before.record.policy_sha256 == judged.record.policy_sha256 else "another policy"
    facts = [
        f"Against {before.name} ({same}, {policy}): {len(moved):,} of {plural(len(shared), 'figure')} moved.",
        f"Gates that are new: {', '.join(sorted({k[0] for k in new} - {k[0] for k in old}))}."
        if {k[0] for k in new} - {k[0] for k in old}
        else "",
        f"The {SHOWN} largest changes are shown." if len(moved) > SHOWN else "",
    ]
    head = ("gate", "figure", "before", "now", "change", "bound")
    note = tag("p", " ".join(fact for fact in facts if fact), class_="note")
    return join([note, table("Figures that moved", head, rows, numbers=(2, 3, 4))]) if rows else note


def _figures(record: RunRecord) -> dict[tuple[str, str], Figure]:
    return {(gate.id, figure.name): figure for gate in record.gates for figure in gate.figures}


def _number(figure: Figure) -> float | None:
    return float(figure.value) if isinstance(figure.value, (int, float)) and not isinstance(figure.value, bool) else None


def _change(old: Figure, new: Figure) -> float:
    """Relative change, as a share of the larger value: 0 to 2, so that a start from 0 is as large as can be."""
    a, b = _number(old), _number(new)
    if a is None or b is None:
        return 3.0
    return abs(b - a) / max(abs(a), abs(b))


def _difference(old: Figure, new: Figure) -> str:
    a, b = _number(old), _number(new)
    if a is None or b is None:
        return ""
    sign = "+" if b > a else "−"
    whole = isinstance(old.value, int) and isinstance(new.value, int)
    return f"{sign}{number_text(int(abs(b - a)) if whole else abs(b - a))}"
