"""A run as one short Markdown summary: for a comment on a pull request, or the summary page of a CI job.

What came from data stands in code spans only. Inside them nothing is markup, and platforms look there neither for mentions
nor for issue numbers or links.
"""

from __future__ import annotations

import re
from collections.abc import Set

from pytest_distill.contracts.quarantine import Reason
from pytest_distill.contracts.run import Example, Figure, GateRecord, RunRecord
from pytest_distill.errors import one_line
from pytest_distill.release import wording
from pytest_distill.report.words import STATUS, plural, saying_no, verdict

LIMIT = 60_000  # GitHub refuses comments over 65,536 characters
CLIP = 300
CELL = 80
GATES = 40  # of the table
FINDINGS = 10
# Rows rejected for these hold what must not be published; a comment on a pull request would publish it.
WITHHELD = frozenset({Reason.PERSONAL_DATA.value, Reason.SECRET.value})
_SIGNS = {"PASSED": "✅", "FAILED": "❌", "INCOMPLETE": "⚠️"}
_REFERENCE = re.compile(r"(?i)\\[@#]|\bgh(?=-\d)")
_WORD_JOINER = "\u2060"


def summary(record: RunRecord, *, private_rows: Set[int] = frozenset(), examples: int = 5) -> str:
    """Verdict, a table of the gates that said no, and up to `examples` rejected rows of each; at most 60,000 characters.

    Rows that a gate rejected for personal data or secrets are not quoted, nor are `private_rows` (positions in the batch),
    for a row that one gate rejects for its length may be rejected for an address by another.
    """
    said = verdict(record)
    rows = record.rows
    no = saying_no(record)
    lines = [
        f"### {_SIGNS[record.verdict]} {code(record.batch_id)}: {record.verdict}",
        "",
        said.meaning,
        f"{plural(rows.batch, 'row')} judged: {rows.remaining:,} remain, {rows.quarantined:,} in quarantine.",
        "",
    ]
    lines += [f"- {text(finding)}" for finding in record.findings[:FINDINGS]]
    if len(record.findings) > FINDINGS:
        lines.append(f"- and {len(record.findings) - FINDINGS} more findings")
    lines += ["", *_table(no)] if no else []
    waived = [gate for gate in record.gates if gate.status in ("waived", "warned")]
    if waived:
        names = ", ".join(f"{code(gate.id, CELL)} ({STATUS[gate.status]})" for gate in waived[:GATES])
        lines += ["", f"Passed with a remark: {names}"]
    lines += ["", f"Next: {code(said.todo) if record.verdict != 'FAILED' else said.todo}", ""]
    private = private_rows | {e.row for gate in no if gate.reason_code in WITHHELD for e in gate.examples}
    return _within(lines, [_gate(gate, private, examples) for gate in no], record)


def _within(head: list[str], gates: list[list[str]], record: RunRecord) -> str:
    """The whole text, without the last gates where there is no room for them."""
    foot = f"\nbatch {code(record.batch_sha256[:12])}, run {code(record.run_id)}\n"
    parts = ["\n".join(head)]  # under 40,000 characters by what is clipped and left out above
    room = LIMIT - len(parts[0]) - len(foot) - 100
    for number, lines in enumerate(gates):
        part = "\n" + "\n".join(lines)
        if len(part) > room:
            parts.append(f"\n{plural(len(gates) - number, 'more gate')} said no: the report and `distill show` tell.\n")
            break
        parts.append(part)
        room -= len(part)
    return "".join(parts) + foot


def _table(gates: tuple[GateRecord, ...]) -> list[str]:
    lines = ["| gate | verdict | figure | bound | rows rejected |", "|---|---|---|---|---:|"]
    for gate in gates[:GATES]:
        figures = [figure for figure in gate.figures if not figure.ok] or list(gate.figures[:1])
        figure = figures[0] if figures else None
        more = f" and {len(figures) - 1} more" if len(figures) > 1 else ""
        value = f"{_cell(figure.name)}: {_value(figure)}{more}" if figure else ""
        bound = _cell(str(figure.bound)) if figure and figure.bound else ""
        lines.append(f"| {_cell(gate.id)} | **{STATUS[gate.status]}** | {value} | {bound} | {gate.rejected or ''} |")
    return [*lines, *([f"\nand {len(gates) - GATES} more"] if len(gates) > GATES else [])]


def _value(figure: Figure) -> str:
    if isinstance(figure.value, str):
        return _cell(figure.value)
    return wording.value_text(figure.value) + (f" {_cell(figure.unit)}" if figure.unit and figure.unit not in figure.name else "")


def _gate(gate: GateRecord, private: Set[int], examples: int) -> list[str]:
    lines = [f"#### {code(gate.id)}", "", text(gate.title), ""]
    lines += [f"- {text(reason)}" for reason in gate.why[:5]]
    shown = [example for example in gate.examples if example.row not in private]
    lines += [f"- {_example(example)}" for example in shown[:examples]]
    if len(shown) < len(gate.examples):
        held = plural(len(gate.examples) - len(shown), "example")
        lines.append(f"- {held} not quoted here: rejected for personal data or a secret. `distill show ID -v` shows all")
    if gate.limits and gate.status == "failed":
        values = ", ".join(f"{name} = {'unset' if value is None else value}" for name, value in gate.limits.items())
        table = code(f'[gates."{gate.id.split("[")[0]}"]')
        lines += ["", f"Limits, in `distill.toml` under {table}: {code(values)}"]
    return [*lines, ""]


def _example(example: Example) -> str:
    shown = example.text
    if example.start is not None and example.end is not None:
        shown = f"{shown[: example.start]}»{shown[example.start : example.end]}«{shown[example.end :]}"
    return f"{code(f'{example.source}:{example.line}')} {code(shown)}"


def code(foreign: str, width: int = CLIP) -> str:
    """`foreign` as a code span that shows exactly that, on one line, clipped."""
    plain = _clip(one_line(foreign), width).strip()
    if not plain:
        return ""
    longest = max((len(run) for run in re.findall(r"`+", plain)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if plain[0] == "`" or plain[-1] == "`" else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _cell(foreign: str) -> str:
    """A code span in a table, where a vertical bar would end the cell even inside the span."""
    return code(foreign.replace("|", "¦"), CELL)


def text(foreign: str) -> str:
    """Words that a person wrote (a title, a reason) as plain text: no markup, no link, no mention, no reference."""
    escaped = wording.markdown(_clip(foreign, CLIP))
    return _REFERENCE.sub(lambda found: f"{found[0]}{_WORD_JOINER}", escaped)


def _clip(foreign: str, width: int) -> str:
    return foreign if len(foreign) <= width else foreign[: width - 1] + "…"
