"""schema.record and schema.json: rows as records of their kind, and the workspace's own JSON Schema."""

from __future__ import annotations

import inspect
import json
import os
import time
from pathlib import Path
from urllib.parse import urljoin

import jsonschema._keywords
import jsonschema._utils
import polars as pl
import pytest
from pydantic import ValidationError

from pytest_distill.batch.rows import json_lines
from pytest_distill.contracts.manifest import Column
from pytest_distill.contracts.rows import ROWS, Critique
from pytest_distill.errors import DistillError
from pytest_distill.gates.measures.records import record_fault, schema_fault
from pytest_distill.measuring.measure import declaration
from pytest_distill.policy import workspace
from pytest_distill.policy.record_schema import load_validator

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))
GOOD = {
    "is_good": True,
    "predicted_label": "A",
    "logp_a": -0.1,
    "logp_b": -2.1,
    "margin": 2.0,
    "confident": True,
    "confidence_threshold": 1.0,
}
OTHER = GOOD | {"logp_a": -0.2, "logp_b": -2.2}


def faults(**columns: list) -> list[str | None]:
    series = {name: pl.Series(values) for name, values in columns.items()}
    return declaration(record_fault).function("sft", **series).to_list()


def critique(**changes) -> str:
    return json.dumps(GOOD | changes)


def test_rows_without_critics_need_only_their_texts():
    assert faults(instruction=["2 + 2?", "?"], response=["4", None]) == [None, "response: is missing"]


def test_a_sound_kept_row_passes():
    got = faults(
        instruction=["i"],
        response=["4"],
        instruction_critique=[critique()],
        pair_critique=[json.dumps(OTHER)],
        candidate_status=["kept"],
        raw_tokens=[9],
        clean_tokens=[3],
    )
    assert got == [None]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_good": False}, "label A and is_good"),
        ({"predicted_label": "B", "is_good": False}, "logp_a > logp_b"),
        ({"margin": 1.5}, "margin must be"),
        ({"confident": False}, "confident must mean"),
        ({"confidence_threshold": 2.5}, "confident must mean"),
        ({"logp_a": 0.5, "margin": 2.6}, "less than or equal to 0"),
        ({"predicted_label": "C"}, "'A' or 'B'"),
        ({"is_good": "yes"}, "valid boolean"),
        ({"margin": None}, "valid number"),
    ],
)
def test_critics_that_contradict_themselves(changes, said):
    (got,) = faults(instruction=["i"], response=["r"], pair_critique=[critique(**changes)])
    assert got is not None
    assert got.startswith("pair_critique")
    assert said in got


def test_a_margin_at_the_threshold_is_confident():
    Critique.model_validate(GOOD | {"confidence_threshold": 2.0})
    with pytest.raises(ValidationError, match="confident"):
        Critique.model_validate(GOOD | {"confidence_threshold": 2.0, "confident": False})


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_log_probabilities_are_finite(value):
    with pytest.raises(ValidationError, match="finite"):
        Critique.model_validate(GOOD | {"logp_b": value})


def test_kept_needs_two_different_good_and_confident_critiques():
    kept = {"instruction": ["i"], "response": ["r"], "candidate_status": ["kept"]}
    assert "both critiques" in faults(**kept)[0]
    assert "needs both" in faults(**kept, instruction_critique=[critique()])[0]
    assert "copies" in faults(**kept, instruction_critique=[critique()], pair_critique=[critique()])[0]
    weak = critique(confident=False, confidence_threshold=9.0)
    assert "good and confident" in faults(**kept, instruction_critique=[critique()], pair_critique=[weak])[0]


def test_counters_must_be_possible():
    assert "clean_tokens" in faults(instruction=["i"], response=["r"], raw_tokens=[3], clean_tokens=[4])[0]
    assert faults(instruction=["i"], response=["r"], pair_critique=["not json"]) == ["pair_critique: is text, not an object"]


def test_pairs_that_are_the_same():
    fault = declaration(record_fault).function
    got = fault("preference", chosen=pl.Series(["a", "b"]), rejected=pl.Series(["a", "c"]))
    assert got.to_list() == ["chosen and rejected are the same text", None]


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("sft", {"instruction": "i", "response": "4", "mine": [1]}),
        ("preference", {"chosen": "a", "rejected": "b"}),
        ("rag", {"content": "c"}),
        ("text", {"text": "t"}),
    ],
)
def test_models_carry_foreign_columns_and_refuse_wrong_types(kind, row):
    ROWS[kind].model_validate(row)
    with pytest.raises(ValidationError):
        ROWS[kind].model_validate(dict.fromkeys(row, 1))


# --- schema.json ---


def schema(value: object) -> bytes:
    return json.dumps(value).encode()


def fault(schema_value: object, row: object) -> str | None:
    return load_validator(schema(schema_value), "rows.schema.json").fault(row)


def test_the_failing_path_is_named():
    person = {"type": "object", "properties": {"tags": {"items": {"type": "string"}}}, "required": ["id"]}
    assert fault(person, {"id": 1, "tags": ["x"]}) is None
    assert fault(person, {"id": 1, "tags": ["x", 2]}) == "$.tags[1]: 2 is not of type 'string'"
    assert fault(person, {}) == "$: 'id' is a required property"


def test_rows_are_judged_as_the_objects_they_were(tmp_path):
    (tmp_path / "rows.json").write_bytes(
        schema({"properties": {"n": {"type": "integer"}, "meta": {"type": "object"}, "gone": {"type": "string"}}})
    )
    policy = workspace.parse(b'[record_schema]\npath = "rows.json"\n', tmp_path, name="distill.toml")
    columns = (
        Column(name="n", type="int64", nulls="never"),
        Column(name="meta", type="json", nulls="null"),
        Column(name="gone", type="string", nulls="absent"),
    )
    frame = pl.DataFrame({"n": [1, 2], "meta": ['{"a":1}', "[]"], "gone": [None, "x"]})
    record = pl.Series([line.decode() for line in json_lines(frame, columns)])
    got = declaration(schema_fault).function(record, policy.record_schema)
    assert got.to_list() == [None, "$.meta: [] is not of type 'object'"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{", "no JSON"),
        (b"[1]", "object or a boolean"),
        (schema({"type": "strnig"}), "strnig"),
        (schema({"$schema": "http://json-schema.org/draft-07/schema#"}), "draft-07"),
        (schema({"properties": {"a": {"pattern": "(?=x)"}}}), "RE2 refuses"),
        (schema({"patternProperties": {r"(a)\1": {}}}), "RE2 refuses"),
        (schema({"$ref": "https://example.com/other.json"}), "leads nowhere"),
        (schema({"$ref": "#"}), "circle"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_when_the_policy_loads(tmp_path, bad, why):
    (tmp_path / "rows.json").write_bytes(bad)
    with pytest.raises(DistillError, match="E-POLICY") as caught:
        workspace.parse(b'[record_schema]\npath = "rows.json"\n', tmp_path, name="distill.toml")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "hostile",
    [
        {"properties": {"v": {"pattern": "^(a+)+$"}}},
        {"properties": {"v": {"propertyNames": {"pattern": "^(a+)+$"}}}},
        {"patternProperties": {"^(a+)+$": {}}},
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
        {"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False},
        {"allOf": [{"patternProperties": {"^(a+)+$": {}}}], "unevaluatedProperties": False},
    ],
)
def test_a_catastrophic_pattern_costs_nothing(hostile):
    value = "a" * 5000 + "!"
    started = time.process_time()
    fault(hostile, {"v": value, value: 1})
    fault(hostile, {"v": {value: 1}})
    assert time.process_time() - started < 20


def test_only_the_rebound_functions_of_jsonschema_use_regular_expressions():
    users = {
        name
        for module in (jsonschema._keywords, jsonschema._utils)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and "re" in function.__code__.co_names
        and "search" in function.__code__.co_names
    }
    assert users == {"pattern", "patternProperties", "find_additional_properties", "find_evaluated_property_keys_by_schema"}


SUITE = SHARED / "hostile" / "json_schema_test_suite" / "tests" / "draft2020-12"


@pytest.mark.skipif(not SUITE.is_dir(), reason=f"no {SUITE}: the required cases of the JSON Schema test suite were not run")
def test_the_required_cases_of_the_json_schema_test_suite():
    ran, wrong = 0, []
    for path in sorted(SUITE.glob("*.json")):
        for group in json.loads(path.read_bytes()):
            text = json.dumps(group["schema"])
            if _needs_remote(group["schema"]):
                continue  # documents of a web server that the suite brings along; we resolve nothing over the network
            try:
                validator = load_validator(text.encode(), path.name)
                for case in group["tests"]:
                    ran += 1
                    if (validator.fault(case["data"]) is None) != case["valid"]:
                        wrong.append(f"{path.name}: {group['description']}: {case['description']}")
            except DistillError as error:
                wrong.append(f"{path.name}: {group['description']}: {error}")
    assert ran > 1200
    assert wrong == []


def _needs_remote(value: object) -> bool:
    """Whether a schema refers to a document that it does not hold itself."""
    held, wanted = set(), set()

    def walk(node: object, base: str) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$id"), str):
                base = urljoin(base, node["$id"])
                held.add(base.split("#")[0])
            for key in ("$ref", "$schema", "$dynamicRef"):
                if isinstance(node.get(key), str):
                    wanted.add(urljoin(base, node[key]).split("#")[0])
            for item in node.values():
                walk(item, base)
        elif isinstance(node, list):
            for item in node:
                walk(item, base)

    walk(value, "")
    return any("localhost:1234" in target for target in wanted - held)
