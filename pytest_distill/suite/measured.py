"""What a gate is computed from, read from the syntax tree as gates are: its parameters that name measures. Nothing runs."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from pytest_distill.policy.workspace import Workspace
from pytest_distill.suite.declared import Declared, Test, gate_files, suite_folder


class Measured(NamedTuple):
    """One measure: what its documentation says first, and where it stands."""

    name: str
    title: str
    file: Path
    line: int


def measured(gate: Declared, workspace: Workspace) -> list[Measured]:
    """The measures that the gate's test takes, in its order; columns and the other fixtures are left out."""
    known = _measures([*gate_files(suite_folder()), *(gate_files(workspace.gates) if gate.origin == "workspace" else [])])
    name = gate.function.rpartition("::")[2].rpartition(".")[2]
    for node in ast.walk(ast.parse(gate.file.read_bytes())):
        if isinstance(node, Test) and node.name == name and node.lineno == gate.line:
            return [known[argument.arg] for argument in node.args.args if argument.arg in known]
    return []


def _measures(files: list[Path]) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef) and any(map(_is_measure, node.decorator_list)):
                title = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
                found.setdefault(node.name, Measured(node.name, title, file, node.lineno))
    return found


def _is_measure(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else "") == "measure"
