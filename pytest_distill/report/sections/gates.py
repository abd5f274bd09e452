"""The gates of the run: a table that can be filtered without a script, each gate with its reasons, limits and examples."""

from __future__ import annotations

from collections.abc import Set

from pytest_distill.contracts.run import GateRecord, RunRecord
from pytest_distill.report import svg
from pytest_distill.report.html import Html, Value, join, tag
from pytest_distill.report.markdown import WITHHELD
from pytest_distill.report.sections.parts import example, figure_text, scroll
from pytest_distill.report.words import STATUS, plural, saying_no

# What the filter calls a group of statuses; page.css hides the others.
GROUPS = {"failed": "no", "did_not_run": "no", "warned": "remark", "waived": "remark", "passed": "yes", "not_applicable": "na"}
ORDER = ("failed", "did_not_run", "warned", "waived", "passed", "not_applicable")
FILTERS = (
    ("status", (("all", "all"), ("no", "said no"), ("remark", "with a remark"), ("yes", "said yes"), ("na", "does not apply"))),
    ("kind", (("both", "all"), ("row", "row gates"), ("batch", "batch gates"))),
)
MANY = 40  # reasons or figures of one gate
COLUMNS = ("gate", "verdict", "figure", "bound", "rows rejected")


def table(record: RunRecord, private_rows: Set[int]) -> Html:
    """Every gate. Rows that a gate for personal data or secrets rejected are quoted by none; such a gate masks what it found."""
    no, ordered = saying_no(record), _ordered(record)
    if not ordered:
        return tag("p", "No gate left a record.", class_="note")
    groups = [
        _gate(gate, f"gate-{number}", private_rows, expanded=number < len(no) and number < 6)
        for number, gate in enumerate(ordered)
    ]
    head = [
        tag("th", name, scope="col", role="columnheader", class_="number" if name == "rows rejected" else None)
        for name in COLUMNS
    ]
    whole = tag(
        "table",
        tag("caption", "Gates, those that said no first", class_="hidden"),
        tag("thead", tag("tr", join(head), role="row"), role="rowgroup"),
        join(groups),
        class_="gates",
        role="table",  # said once more, because on narrow screens its parts are laid out as blocks
    )
    return join([*(_filter(name, choices) for name, choices in FILTERS), scroll(whole, "Gates")])


def anchors(record: RunRecord) -> dict[str, str]:
    """Gate -> where it stands on the page."""
    return {gate.id: f"gate-{number}" for number, gate in enumerate(_ordered(record))}


def _ordered(record: RunRecord) -> tuple[GateRecord, ...]:
    no = saying_no(record)
    rest = sorted((gate for gate in record.gates if gate not in no), key=lambda gate: ORDER.index(gate.status))
    return (*no, *rest)


def _filter(name: str, choices: tuple[tuple[str, str], ...]) -> Html:
    buttons: list[Html] = []
    for number, (value, label) in enumerate(choices):
        identity = f"{name}-{value}"
        buttons.append(tag("input", type="radio", name=name, id=identity, checked=number == 0))
        buttons.append(tag("label", label, for_=identity))
    return tag("fieldset", tag("legend", name), join(buttons), class_="filter")


def _gate(gate: GateRecord, anchor: str, private: Set[int], *, expanded: bool) -> Html:
    figures = sorted(gate.figures, key=lambda figure: figure.ok)
    first = figures[0] if figures else None
    more = tag("span", f" and {len(figures) - 1} more", class_="note") if len(figures) > 1 else ""
    cells: list[Html | Value] = [
        tag("span", svg.sign(gate.status), STATUS[gate.status], class_=f"badge {GROUPS[gate.status]}"),
        join([tag("span", f"{first.name}: "), tag("b", figure_text(first)), Html(more)]) if first else "",
        str(first.bound) if first and first.bound else "",
    ]
    name = join([tag("span", gate.id, class_="id"), tag("span", gate.title, class_="title")])
    row = tag(
        "tr",
        tag("th", name, scope="row", role="rowheader"),
        *(tag("td", cell, role="cell") for cell in cells),
        tag("td", f"{gate.rejected:,}" if gate.rejected else "", class_="number", role="cell"),
        role="row",
    )
    detail = _detail(gate, private, expanded=expanded)
    return tag(
        "tbody",
        row,
        tag("tr", tag("td", detail, colspan=len(COLUMNS), role="cell"), class_="detail", role="row") if detail else "",
        id=anchor,
        role="rowgroup",
        data_status=GROUPS[gate.status],
        data_kind=gate.kind,
    )


def _detail(gate: GateRecord, private: Set[int], *, expanded: bool) -> Html:
    parts = []
    if gate.why:
        parts.append(tag("ul", join([tag("li", reason) for reason in gate.why[:MANY]])))
    if gate.waiver is not None:
        waiver = gate.waiver
        parts.append(tag("p", f"Waived by {waiver.who} until {waiver.expires}: {waiver.reason}"))
    figures = sorted(gate.figures, key=lambda figure: figure.ok)
    if len(figures) > 1:
        items = [
            tag("li", f"{f.name}: {figure_text(f)}{f' ({f.bound})' if f.bound else ''}", class_=None if f.ok else "no")
            for f in figures[:MANY]
        ]
        left_out = [tag("li", f"and {len(figures) - MANY} more")] if len(figures) > MANY else []
        parts.append(tag("ul", join([*items, *left_out]), class_="figures"))
    if gate.examples:
        masked = gate.reason_code in WITHHELD
        shown = [example(found, quoted=masked or found.row not in private) for found in gate.examples]
        parts.append(tag("ul", join(shown), class_="examples"))
    if gate.limits:
        values = ", ".join(f"{name} = {'unset' if value is None else value}" for name, value in gate.limits.items())
        place = tag("code", f'[gates."{gate.id.split("[")[0]}"]')
        parts.append(tag("p", "Limits, in distill.toml under ", place, ": ", tag("code", values), class_="limits"))
    if not parts:
        return Html("")
    counted = [plural(len(gate.examples), "example")] if gate.examples else []
    label = ", ".join([*(["why"] if gate.why else []), *counted, *(["limits"] if gate.limits else [])]) or "figures"
    return tag("details", tag("summary", label, tag("span", f" of {gate.id}", class_="hidden")), *parts, open=expanded)
