"""`distill gates`: what is checked, how, and with which limits. Read from source; nothing runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.policy.workspace import Workspace
    from pytest_distill.suite.declared import Declared

SCHEMA = ".distill/distill.schema.json"


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("gates", parents=[common], help="what is checked, how, with which limit", description=__doc__)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[common], help="every gate of the standard suite and of the workspace")
    add_json_option(listing)
    listing.set_defaults(run=run_list)
    explain = actions.add_parser("explain", parents=[common], help="one gate in full")
    explain.add_argument("gate", metavar="GATE")
    add_json_option(explain)
    explain.set_defaults(run=run_explain)
    schema = actions.add_parser(
        "schema",
        parents=[common],
        help="the JSON Schema of distill.toml",
        description="The JSON Schema of this workspace's distill.toml, with the limits of every gate, for editors. "
        f"`distill init` writes it to {SCHEMA}; write it again when gates change.",
    )
    schema.add_argument("--out", metavar="FILE", type=Path, help="default: stdout")
    schema.set_defaults(run=run_schema)


def run_list(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import print_json, print_table

    workspace, gates = _load(args)
    if args.json:
        print_json([_facts(gate, workspace) for gate in gates.values()])
        return
    rows = []
    for gate in gates.values():
        facts = _facts(gate, workspace)
        rows.append((gate.id, gate.kind, facts["severity"], gate.origin, gate.title, _pairs(facts["limits"])))
    print_table(("gate", "kind", "severity", "from", "what it guards", "limits"), rows)


def run_explain(args: argparse.Namespace) -> None:
    import difflib

    from pytest_distill.cli.common import print_json, print_table
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.suite.measured import measured

    workspace, gates = _load(args)
    gate = gates.get(args.gate)
    if gate is None:
        near = difflib.get_close_matches(args.gate, gates, n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else "`distill gates list` shows all."
        raise DistillError(Code.USAGE, f"there is no gate {args.gate!r}", hint)
    facts = _facts(gate, workspace)
    computed = measured(gate, workspace)
    if args.json:
        print_json({**facts, "measures": [{**m._asdict(), "file": str(m.file)} for m in computed]})
        return
    waiver = facts["waiver"]
    rows: list[tuple[str, object]] = [
        ("guards", gate.title),
        (
            "kind",
            "row gate: sends rows to quarantine" if gate.kind == "row" else f"batch gate: bounds figures of {gate.rows} rows",
        ),
        ("reason code", gate.rejects or ""),
        ("severity", facts["severity"]),
        ("applies", _pairs(gate.applies) or "to every batch"),
        ("allowance", "fixed: no policy can lower or waive it" if gate.fixed else "the limits say" if gate.kind == "row" else ""),
        ("waived", f"{waiver['reason']} ({waiver['who']}, until {waiver['expires']})" if waiver else "no"),
        ("written in", f"{gate.file}:{gate.line} {gate.function}"),
        *(line for line in (("", text) for text in gate.doc.splitlines()[1:]) if line[1].strip()),
    ]
    print_table(("gate", gate.id), [row for row in rows if row[1]])
    if computed:
        print_table(("computed from", "which is", "in"), [(m.name, m.title, f"{m.file}:{m.line}") for m in computed])
    if facts["limits"]:
        limits = [
            (name, "unset" if value is None else value, gate.limits.get(name, _row_default(name)))
            for name, value in facts["limits"].items()
        ]
        print_table(("limit", "here", "default"), limits)


def run_schema(args: argparse.Namespace) -> None:
    from pytest_distill import storage
    from pytest_distill.suite.schema import schema

    _, gates = _load(args)
    if args.out is None:
        sys.stdout.write(schema(gates.values()).decode())
    else:
        storage.write_bytes(args.out, schema(gates.values()))


def _load(args: argparse.Namespace) -> tuple[Workspace, dict[str, Declared]]:
    from pytest_distill.policy import workspace as workspaces
    from pytest_distill.suite.declared import declared_gates

    workspace = workspaces.load(args.workspace, allow_implicit=True)
    return workspace, dict(sorted(declared_gates(workspace).items()))


def _facts(gate: Declared, workspace: Workspace) -> dict[str, Any]:
    from pytest_distill.suite.declared import settable_limits, severity

    waiver = next((w for w in workspace.policy.waivers if w.gate == gate.id), None)
    return {
        "id": gate.id,
        "title": gate.title,
        "doc": gate.doc,
        "kind": gate.kind,
        "rejects": gate.rejects,
        "severity": severity(gate, workspace.policy),
        "applies": gate.applies,
        "limits": settable_limits(gate, workspace.policy),
        "rows": gate.rows,
        "fixed": gate.fixed,
        "origin": gate.origin,
        "file": str(gate.file),
        "line": gate.line,
        "waiver": waiver.model_dump(mode="json") if waiver else None,
    }


def _row_default(name: str) -> object:
    from pytest_distill.suite.declared import ROW_LIMITS

    return ROW_LIMITS.get(name)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items() if value is not None)
