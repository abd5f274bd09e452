"""Writes clauses.md from clauses.toml: each clause of the source documents, and what enforces it. `python docs/clauses.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pytest_distill import storage

DOCS = Path(__file__).parent
PAGE = DOCS / "clauses.md"
HEAD = """\
# What enforces each clause

Generated from [clauses.toml](clauses.toml) by `python docs/clauses.py`. A test checks that every gate, command, code and test
named here exists. What is open is not enforced, or not wholly.
"""


def page() -> str:
    """The whole page: one table for each document."""
    parts = [HEAD]
    for document in tomllib.loads((DOCS / "clauses.toml").read_text("utf-8")).values():
        parts += [f"## {document['title']}\n", "| clause | enforced by | open |", "|---|---|---|"]
        for clause, facts in document.items():
            if clause != "title":
                by = "<br>".join(f"`{enforcer.replace('::@any', '')}`" for enforcer in facts.get("by", []))
                parts.append(f"| {clause} | {by} | {facts.get('open', '')} |")
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    storage.write_bytes(PAGE, page().encode())
