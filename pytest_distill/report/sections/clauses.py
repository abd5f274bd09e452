"""The clauses of the source documents that gates enforce, and what these said in this run."""

from __future__ import annotations

import json
from importlib import resources

from pytest_distill.contracts.run import RunRecord
from pytest_distill.report import svg
from pytest_distill.report.html import Html, Value, join, tag
from pytest_distill.report.sections.gates import GROUPS, ORDER, anchors
from pytest_distill.report.sections.parts import table
from pytest_distill.report.words import STATUS, plural

FILE = "clauses.json"  # written by docs/clauses.py


def clauses(record: RunRecord) -> Html:
    """One table a document. A clause is as its worst gate says; those none of whose gates applies are only counted."""
    statuses = {gate.id: gate.status for gate in record.gates}
    places = anchors(record)
    documents = json.loads(resources.files(__package__).joinpath(FILE).read_bytes())
    parts, elsewhere = [], 0
    for title, listed in documents.items():
        rows: list[list[Html | Value]] = []
        for clause, facts in listed.items():
            judged = [gate for gate in facts["gates"] if statuses.get(gate, "not_applicable") != "not_applicable"]
            if not judged:
                elsewhere += 1
                continue
            worst = min((statuses[gate] for gate in judged), key=ORDER.index)
            named = join([tag("li", tag("a", gate, href=f"#{places[gate]}")) for gate in judged])
            said = tag("span", svg.sign(worst), STATUS[worst], class_=f"badge {GROUPS[worst]}")
            rows.append([clause, said, tag("ul", named, class_="pills"), facts["open"] or ""])
        if rows:
            parts += [tag("h3", title), table(title, ("clause", "in this run", "gates", "not enforced"), rows, class_="clauses")]
    if not parts:
        return Html("")
    note = "What these gates hold up of the documents that the suite was written for, by this run. "
    note += f"{plural(elsewhere, 'further clause')} of them ask for gates that do not apply to this batch."
    return join([tag("p", note, class_="note"), *parts])
