"""A verdict within a page of somebody else's, such as a notebook: what said no first, each with rows that it rejected.

Without a style sheet of its own, so that it is read in the colours of where it stands.
"""

from __future__ import annotations

from collections.abc import Set

from pytest_distill.contracts.run import GateRecord, RunRecord
from pytest_distill.report.html import Html, join, tag
from pytest_distill.report.markdown import WITHHELD
from pytest_distill.report.sections.parts import example, figure_text
from pytest_distill.report.words import STATUS, plural, saying_no, verdict

EXAMPLES = 5  # rows of each gate
WIDE = "text-align: left; vertical-align: top; white-space: normal"
COLUMNS = ("gate", "verdict", "figures", "rows rejected")


def display(record: RunRecord, todo: str, *, private_rows: Set[int] = frozenset()) -> Html:
    """Verdict, what it means, what comes next, the gates that said no with rows, and the others folded away. All is escaped.

    Rows rejected for personal data or secrets (`private_rows`) are not quoted: notebooks travel. Rows are
    named by their position, counted from 0 as in a data frame.
    """
    no, rows = saying_no(record), record.rows
    applied = [gate for gate in record.gates if gate.status != "not_applicable"]
    rest = [gate for gate in applied if gate not in no]
    counts = f"{record.batch_id}: {record.verdict}, {rows.remaining:,} of {plural(rows.batch, 'row')} remain"
    parts = [tag("p", tag("b", counts)), tag("p", verdict(record).meaning, tag("br"), f"Next: {todo}")]
    if record.findings:
        parts.append(tag("ul", join([tag("li", finding) for finding in record.findings])))
    if no:
        parts.append(_table([_gate(gate, private_rows) for gate in no]))
    if rest:
        remarks = sum(gate.status in ("warned", "waived") for gate in rest)
        label = f"{plural(len(rest), 'gate')} said yes" + (f", {remarks} of them with a remark" if remarks else "")
        left_out = len(record.gates) - len(applied)
        note = f"; {left_out} do not apply" if left_out else ""
        ordered = sorted(rest, key=lambda gate: gate.status not in ("warned", "waived"))
        parts.append(tag("details", tag("summary", label + note), _table([_gate(gate, private_rows) for gate in ordered])))
    return tag("div", join(parts))


def _table(rows: list[Html]) -> Html:
    head = tag("thead", tag("tr", join([tag("th", name, scope="col", style=WIDE) for name in COLUMNS])))
    return tag("table", head, tag("tbody", join(rows)))


def _gate(gate: GateRecord, private: Set[int]) -> Html:
    name = [tag("b", gate.id), tag("br"), gate.title]
    figures = [f"{f.name} {figure_text(f)}" + (f" ({f.bound})" if f.bound else "") for f in gate.figures]
    told = [tag("div", line) for line in figures]
    # A reason repeats the figures that broke their bound; what else a gate has to say has none.
    told += [tag("div", reason) for reason in gate.why if all(f.ok for f in gate.figures)]
    cells = [tag("td", *name, style=WIDE), tag("td", STATUS[gate.status], style=WIDE), tag("td", join(told), style=WIDE)]
    cells.append(tag("td", f"{gate.rejected:,}" if gate.rejected else "", style=WIDE))
    row = tag("tr", join(cells))
    if not gate.examples:
        return row
    masked = gate.reason_code in WITHHELD  # such a gate masks what it found
    shown = [
        example(found, quoted=masked or found.row not in private, where=f"row {found.row}") for found in gate.examples[:EXAMPLES]
    ]
    return join([row, tag("tr", tag("td", tag("ul", join(shown)), colspan=len(COLUMNS), style=WIDE))])
