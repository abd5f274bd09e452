"""The JSON Schema of distill.toml, with the limits of every gate: for editors (Taplo, VS Code).

`python -m pytest_distill.suite.schema` writes the one of the standard suite to pytest_distill/policy/distill.schema.json;
`distill gates schema` gives a workspace's own, which knows its gates too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_distill import storage
from pytest_distill.policy.model import Policy
from pytest_distill.suite.declared import Declared, gate_files, read_file, suite_folder

FILE = Path(__file__).parents[1] / "policy" / "distill.schema.json"
_ANY = {"anyOf": [{"type": ["number", "string", "boolean"]}, {"type": "array", "items": {"type": "string"}}]}


def schema(gates: Iterable[Declared]) -> bytes:
    """Draft 2020-12, as canonical bytes. It refuses what the policy refuses, but for what a schema cannot say (see `Policy`)."""
    value = _faithful(Policy.model_json_schema(mode="validation"))
    tables = {gate.id: _table(gate) for gate in gates}
    value["properties"]["gates"] = {
        "type": "object",
        "description": "Limits, allowances and severity, gate by gate.",
        "properties": tables,
        # A gate that this schema does not know may be declared in the workspace: `distill gates schema` knows it.
        "additionalProperties": {"type": "object", "additionalProperties": _ANY},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "distill.toml"}
    return storage.canonical_json({**value, **head})


def standard_gates() -> list[Declared]:
    return [gate for file in gate_files(suite_folder()) for gate in read_file(file, "standard")]


def _table(gate: Declared) -> dict[str, Any]:
    properties = {name: _limit(default) for name, default in gate.limits.items()}
    if not gate.fixed:
        properties["severity"] = {"enum": ["block", "warn"], "default": gate.severity}
    if gate.rejects and not gate.fixed:
        properties["max_rejected_rows"] = {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "How many rows may go to quarantine.",
        }
        share = "Which share of all rows may go to quarantine."
        properties["max_rejected_share"] = {"type": "number", "minimum": 0, "maximum": 1, "description": share}
    return {"type": "object", "description": gate.title, "properties": properties, "additionalProperties": False}


def _limit(default: Any) -> dict[str, Any]:
    """A limit is like its default; one without a default may be anything a limit can be."""
    if default is None:
        return dict(_ANY)
    if isinstance(default, bool):
        return {"type": "boolean", "default": default}
    if isinstance(default, (int, float)):
        return {"type": "number", "default": default}
    if isinstance(default, str):
        return {"type": "string", "default": default}
    return {"type": "array", "items": {"type": "string"}, "default": list(default)}


def _faithful(value: Any) -> Any:
    """What pydantic leaves out: a file may be given by its path alone, and a text of white space is empty."""
    if isinstance(value, list):
        return [_faithful(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$ref") == "#/$defs/PinnedFile":
        return {"anyOf": [{"type": "string", "pattern": r"\S"}, {"$ref": "#/$defs/PinnedFile"}]}
    found = {key: _faithful(item) for key, item in value.items()}
    if found.get("type") == "string" and found.get("minLength") == 1:
        del found["minLength"]
        found["pattern"] = r"\S"
    return found


def main() -> None:
    storage.write_bytes(FILE, schema(standard_gates()))


if __name__ == "__main__":
    main()
