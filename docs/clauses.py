"""Writes from clauses.toml what enforces each clause of the source documents: clauses.md, and what the report shows of it.

`python docs/clauses.py`.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from pytest_distill import storage
from pytest_distill.report.sections import clauses

DOCS = Path(__file__).parent
PAGE = DOCS / "clauses.md"
SHOWN = DOCS.parent / "pytest_distill" / "report" / "sections" / clauses.FILE
HEAD = """\
# What enforces each clause

Generated from [clauses.toml](clauses.toml) by `python docs/clauses.py`. A test checks that every gate, command, code and test
named here exists; the named tests break the clause and see the refusal or the failing gate. What is open is not enforced, or not
wholly.
"""


def page() -> str:
    """The whole page: one table for each document."""
    parts = [HEAD]
    for document in tomllib.loads((DOCS / "clauses.toml").read_text("utf-8")).values():
        parts += [f"## {document['title']}\n", "| clause | enforced by | open |", "|---|---|---|"]
        for clause, facts in document.items():
            if clause != "title":
                by = "<br>".join(f"`{enforcer}`" for enforcer in facts.get("by", []))
                parts.append(f"| {clause} | {by} | {facts.get('open', '')} |")
        parts.append("")
    return "\n".join(parts)


def shown() -> bytes:
    """The clauses that gates enforce, as the report reads them: `{title: {clause: {"gates": […], "open": …}}}`."""
    found = {}
    for document in tomllib.loads((DOCS / "clauses.toml").read_text("utf-8")).values():
        listed = {}
        for clause, facts in document.items():
            gates = [] if clause == "title" else [e.removeprefix("gate ") for e in facts.get("by", []) if e.startswith("gate ")]
            if gates:
                listed[clause] = {"gates": gates, "open": facts.get("open")}
        found[document["title"]] = listed
    return json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n"


if __name__ == "__main__":
    storage.write_bytes(PAGE, page().encode())
    storage.write_bytes(SHOWN, shown())
