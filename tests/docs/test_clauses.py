"""Every clause of the source documents is enforced by something that exists, or is honestly listed as open."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import tomllib
from pathlib import Path

import pytest

from pytest_distill.cli.main import build_parser
from pytest_distill.errors import Code
from pytest_distill.suite.declared import gate_files, read_file, suite_folder

ROOT = Path(__file__).parents[2]
DOCUMENTS = tomllib.loads((ROOT / "docs" / "clauses.toml").read_text("utf-8"))
CLAUSES = {
    f"{name}: {clause}": facts
    for name, document in DOCUMENTS.items()
    for clause, facts in document.items()
    if isinstance(facts, dict)
}
# Headings of the bulk contract that say what has to be so; each needs at least one clause here.
SECTIONS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "Change control", "Enforcement", "Amendments")


def commands(parser: argparse.ArgumentParser, path: str = "") -> set[str]:
    found = {path} if path else set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                found |= commands(child, f"{path} {name}".strip())
    return found


COMMANDS = commands(build_parser())
GATES = {gate.id for file in gate_files(suite_folder()) for gate in read_file(file, "standard")}
CODES = {code.value for code in Code}


def exists(enforcer: str) -> bool:
    kind, _, name = enforcer.partition(" ")
    if kind == "test":
        path, _, function = name.partition("::")
        if not (ROOT / path).is_file():
            return False
        tests = {n.name for n in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))) if isinstance(n, ast.FunctionDef)}
        return function in tests
    return name in {"gate": GATES, "command": COMMANDS, "code": CODES}[kind]


@pytest.mark.parametrize("clause", CLAUSES)
def test_what_is_listed_exists(clause: str) -> None:
    facts = CLAUSES[clause]
    assert set(facts) <= {"by", "open"}
    by = facts.get("by", [])
    assert by or facts.get("open"), "neither enforced nor open"
    assert not by or any(enforcer.startswith("test ") for enforcer in by), "no test violates it"
    if clause.startswith("bulk: "):
        assert not by or any(not enforcer.startswith("test ") for enforcer in by), "no gate, command or code enforces it"
    assert [enforcer for enforcer in facts.get("by", []) if not exists(enforcer)] == []


def test_an_enforcer_that_is_not_there_is_noticed() -> None:
    none = (
        "gate no.such",
        "command no such",
        "code E-NONE",
        "test tests/unit/test_gold.py::test_none",
        "test tests/unit/test_gold.py",
    )
    assert not any(map(exists, none))


def test_every_section_of_the_bulk_contract_has_a_clause() -> None:
    listed = [clause for clause in DOCUMENTS["bulk"] if clause != "title"]
    assert [s for s in SECTIONS if not any(clause.startswith(s) for clause in listed)] == []


def test_the_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("clauses", ROOT / "docs" / "clauses.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text("utf-8") == module.page(), "run `python docs/clauses.py`"
    assert module.SHOWN.read_bytes() == module.shown(), "run `python docs/clauses.py`"
