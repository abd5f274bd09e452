"""The JSON Schema of distill.toml is current, and says of a policy what the policy's own checks say."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pytest_distill.cli.main import main
from pytest_distill.errors import DistillError
from pytest_distill.policy.model import Policy
from pytest_distill.suite.declared import check_policy
from pytest_distill.suite.schema import FILE, schema, standard_gates

GATES = {gate.id: gate for gate in standard_gates()}
VALIDATOR = Draft202012Validator(json.loads(FILE.read_bytes()))
DEFAULT = FILE.with_name("default.toml").read_text()


def policy_accepts(value: dict[str, Any]) -> bool:
    try:
        check_policy(GATES, Policy.model_validate(value))
    except (ValidationError, DistillError):
        return False
    return True


def test_the_shipped_schema_is_current() -> None:
    assert FILE.read_bytes() == schema(standard_gates()), "run `python -m pytest_distill.suite.schema`"
    Draft202012Validator.check_schema(VALIDATOR.schema)


ACCEPTED = [
    "",
    DEFAULT,
    'tokenizer.path = "tokenizer.json"',
    '[tokenizer]\npath = {path = "tokenizer.json"}',
    '[[contamination.benchmarks]]\nname = "a"\npath = "b.jsonl"\nfields = ["q"]',
    '[gates."duplicates.near"]\nmax_rejected_share = 0.05\nmax_rejected_rows = 3\nseverity = "warn"',
    '[gates."length.answer"]\nmax_answer_tokens = 1024.5',
    "[privacy.patterns]\nbadge = 'EMP-\\d{6}'",
]
REFUSED = [
    "schema_version = 2",
    "[languages]",
    "[language]\nmin_confidence = 2",
    '[language]\nallowed = ["English"]',
    "[duplicates]\nsimilarity = 0",
    'tokenizer.path = " "',
    '[[contamination.benchmarks]]\nname = "a"\npath = "b.jsonl"\nfields = []',
    '[[contamination.benchmarks]]\nname = "a"\nfields = ["q"]',
    '[gates."length.answer"]\nmax_tokens = 3',
    '[gates."length.answer"]\nmax_answer_tokens = "many"',
    '[gates."length.answer"]\nmax_answer_tokens = true',
    '[gates."duplicates.near"]\nmax_rejected_share = 1.5',
    '[gates."duplicates.near"]\nmax_rejected_rows = -1',
    '[gates."duplicates.near"]\nmax_rejected_rows = 1.5',
    '[gates."duplicates.near"]\nseverity = "off"',
    '[gates."text.delimiter-leak"]\nmax_rejected_rows = 1',
    '[[waivers]]\ngate = "text.language"\nreason = "r"\nwho = "w"',
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_it_accepts_what_the_policy_accepts(text: str) -> None:
    value = tomllib.loads(text)
    assert policy_accepts(value)
    assert VALIDATOR.is_valid(value)


@pytest.mark.parametrize("text", REFUSED)
def test_it_refuses_what_the_policy_refuses(text: str) -> None:
    value = tomllib.loads(text)
    assert not policy_accepts(value)
    assert not VALIDATOR.is_valid(value)


def test_every_default_is_its_own_default() -> None:
    for gate in GATES.values():
        limits = {name: value for name, value in gate.limits.items() if value is not None}
        table = {name: list(value) if isinstance(value, tuple) else value for name, value in limits.items()}
        assert VALIDATOR.is_valid({"gates": {gate.id: table}}), gate.id


def test_a_workspace_has_a_schema_that_knows_its_own_gates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "-q", str(tmp_path)]) == 0
    place = (tmp_path / "distill.toml").read_text().partition("\n")[0].removeprefix("#:schema ")
    written = (tmp_path / place).read_text()
    assert main(["gates", "schema", "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out == written
    own = set(json.loads(written)["properties"]["gates"]["properties"]) - set(GATES)
    assert own == {"style.calm", "style.mostly-calm"}
