"""Writes what is generated of the pages here: gates.md whole, the tables of fields in contracts.md, the default in policy.md.

`make docs` runs it. The pages are built from what the code declares, so they cannot say something else; a test compares them.
"""

from __future__ import annotations

import importlib
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.suite.declared import Declared, gate_files, read_file, suite_folder

DOCS = Path(__file__).parent
GATES = DOCS / "gates.md"
CONTRACTS = DOCS / "contracts.md"
POLICY = DOCS / "policy.md"
MODELS = re.compile(r"(<!-- fields: ([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)

HEAD = """\
# The standard suite

Generated from the gates themselves by `make docs`; edit the gates, not this page.

A *row gate* names the reason it gives to rows it rejects. It allows no rejected row unless `distill.toml` says how many
(`max_rejected_rows`) or which share (`max_rejected_share`); a gate marked *never* has no allowance that a policy could raise.
A *batch gate* bounds figures of the rows that remain. Limits are set in `[gates."<id>"]`, see [policy.md](policy.md).
"""


def gates_page() -> str:
    """docs/gates.md, one section for each file of the suite."""
    parts = [HEAD]
    for file in gate_files(suite_folder()):
        declared = sorted(read_file(file, "standard"), key=lambda gate: gate.line)
        if declared:
            parts.append(f"## {file.stem.removeprefix('test_').replace('_', ' ').capitalize()}\n")
            parts.extend(section(gate) for gate in declared)
    return "\n".join(parts)


def section(gate: Declared) -> str:
    lines = [f"### `{gate.id}`", "", plain(gate.title), ""]
    details = gate.doc.split("\n", 1)[1].strip() if "\n" in gate.doc else ""
    if details:
        lines += [plain(re.sub(r"\n[ \t]+", "\n", details)), ""]
    if gate.rejects:
        lines.append(f"- row gate, reason `{gate.rejects}`{', allowance never' if gate.fixed else ''}")
    else:
        lines.append(f"- batch gate over {'all rows' if gate.rows == 'all' else 'the rows that remain'}")
    if gate.severity == "warn":
        lines.append("- warns, does not block")
    if gate.applies:
        lines.append(f"- applies when {' and '.join(condition(name, value) for name, value in gate.applies.items())}")
    lines += [f"- limit `{name} = {toml(value)}`" for name, value in gate.limits.items()]
    return "\n".join([*lines, ""])


def plain(text: str) -> str:
    """`text` with its `<` shown: outside of code, Markdown takes `<noinput>` for a tag and drops it."""
    return re.sub(r"`[^`]*`|<", lambda found: "&lt;" if found[0] == "<" else found[0], text)


def condition(name: str, value: Any) -> str:
    values = " or ".join(f"`{item}`" for item in ([value] if isinstance(value, str) else value))
    return {
        "kind": f"the kind is {values}",
        "origin": f"the origin is {values}",
        "pipeline": f"the batch comes from the pipeline {values}",
        "columns": f"the batch has {values.replace(' or ', ' and ')}",
        "asks": "the batch is generated bulk"
        if value == "bulk"
        else "the policy asks for an inspection: of generated bulk always",
        "policy": f"the policy sets {values.replace(' or ', ' and ')}",
    }[name]


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def contracts_page(text: str) -> str:
    """`text` with the table below every `<!-- fields: module.Model -->` written anew."""

    def table(match: re.Match[str]) -> str:
        module, _, name = match.group(2).rpartition(".")
        model = getattr(importlib.import_module(f"pytest_distill.contracts.{module}"), name)
        return f"{match.group(1)}{fields(model)}{match.group(3)}"

    return MODELS.sub(table, text)


def policy_page(text: str) -> str:
    """`text` with the commented default policy in its place."""
    default = (DOCS.parent / "pytest_distill" / "policy" / "default.toml").read_text(encoding="utf-8")
    before, rest = text.split("<!-- default.toml -->\n", 1)
    return f"{before}<!-- default.toml -->\n```toml\n{default}```\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"


def fields(model: type[Contract]) -> str:
    rows = ["| field | type | default |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.default is PydanticUndefined else f"`{default_text(field.default)}`"
        rows.append(f"| `{field.alias or name}` | {' or '.join(kinds(field.annotation))} | {default} |")
    return "\n".join(rows) + "\n"


def default_text(value: Any) -> str:
    if isinstance(value, Contract):
        return "{}" if not value.model_dump() else value.model_dump_json()
    return {(): "[]", None: "null"}.get(value, repr(value)) if not isinstance(value, dict) else "{}"


def kinds(annotation: Any) -> Iterator[str]:
    """What a field holds, in words of JSON."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from kinds(arguments[0])
    elif origin in (types.UnionType, typing.Union):
        for argument in arguments:
            yield from kinds(argument)
    elif origin is typing.Literal:
        yield ", ".join(f"`{argument}`" for argument in arguments)
    elif origin is tuple:
        yield f"list of {' or '.join(kinds(arguments[0]))}"
    elif origin is dict:
        yield f"object of {' or '.join(kinds(arguments[1]))}"
    else:
        plain = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
        yield plain.get(annotation) or f"[{annotation.__name__}](#{annotation.__name__.lower()})"


if __name__ == "__main__":
    storage.write_bytes(GATES, gates_page().encode())
    storage.write_bytes(POLICY, policy_page(POLICY.read_text(encoding="utf-8")).encode())
    storage.write_bytes(CONTRACTS, contracts_page(CONTRACTS.read_text(encoding="utf-8")).encode())
