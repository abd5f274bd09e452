"""Which models a task may use: bulk is local, a frontier model has a purpose, and a class above LOW says why and by whom."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.cli import spending
from pytest_distill.contracts.manifest import Authorization, CostName, Declaration, ModelUse, Purpose, Usage
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.allowance import CLASSES, Task, above, allow, tier, used_class
from pytest_distill.policy.model import Policy

POLICY = Policy.model_validate(
    {
        "models": [
            {"name": "big", "tier": "frontier", "purposes": ["gold_set", "diagnosis"]},
            {"name": "mine", "tier": "local"},
        ]
    }
)
MED = Declaration(cost_class="med", justification="the local model cannot judge Basque", purpose="gold_set")
HIGH = MED.model_copy(update={"cost_class": "high", "authorization": Authorization(by="Ada", date="2026-01-31")})
FAR = "https://api.example.com/v1"


def refused(task: Task, name: str = "big", url: str | None = None, policy: Policy = POLICY) -> Code:
    with pytest.raises(DistillError) as caught:
        allow(policy, task, name, url)
    assert caught.value.line().count("\n") == 0
    return caught.value.code


def test_50_items_are_not_bulk_and_51_are() -> None:
    allow(POLICY, Task(50, said=MED), "big")
    assert refused(Task(51, said=MED)) is Code.FRONTIER


def test_a_policy_may_only_say_less() -> None:
    strict = POLICY.model_copy(update={"bulk": POLICY.bulk.model_copy(update={"max_items": 5})})
    allow(strict, Task(5, said=MED), "big")
    assert refused(Task(6, said=MED), policy=strict) is Code.FRONTIER
    with pytest.raises(ValueError, match="less than or equal to 50"):
        Policy.model_validate({"bulk": {"max_items": 51}})


def test_any_repetition_over_a_dataset_is_bulk() -> None:
    assert refused(Task(3, repeats=True, said=MED)) is Code.FRONTIER


def test_high_with_a_name_and_a_date_is_the_only_door_for_bulk() -> None:
    allow(POLICY, Task(5000, said=HIGH), "big")
    for lacking in (
        {"justification": None},
        {"authorization": None},
        {"authorization": Authorization(by="Ada")},
        {"authorization": Authorization(by="Ada", date="soon")},
        {"authorization": Authorization(by=" ", date="2026-01-31")},
    ):
        assert refused(Task(5000, said=HIGH.model_copy(update=lacking))) is Code.COST_CLASS


def test_low_is_local_only_and_med_wants_a_justification() -> None:
    assert refused(Task(5, said=Declaration(purpose="gold_set"))) is Code.COST_CLASS
    assert refused(Task(5, said=MED.model_copy(update={"justification": " "}))) is Code.COST_CLASS
    assert refused(Task(5, said=MED.model_copy(update={"justification": None})), "mine") is Code.COST_CLASS


@pytest.mark.parametrize("purpose", [None, "architecture", "safety_verification"])
def test_a_purpose_outside_the_models_list_is_refused(purpose: Any) -> None:
    assert refused(Task(5, said=MED.model_copy(update={"purpose": purpose}))) is Code.FRONTIER


def test_a_local_model_may_make_bulk() -> None:
    for name, url in (("mine", FAR), ("models/mine", None), ("any", None), ("any", "http://localhost:8000/v1")):
        allow(POLICY, Task(100_000), name, url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "local"),
        ("http://127.0.0.1:8000/v1", "local"),
        ("http://[::1]:8000/v1", "local"),
        ("http://10.1.2.3/v1", "local"),
        ("http://gpu-box:8000/v1", "local"),
        ("http://8.8.8.8/v1", "unknown"),
        (FAR, "unknown"),
        ("http://localhost.example.com/v1", "unknown"),
    ],
)
def test_a_model_that_nobody_listed_is_local_only_where_it_can_be_seen_to_be(url: str | None, expected: str) -> None:
    assert tier(POLICY, "other", url) == expected


def test_what_is_served_elsewhere_has_to_be_listed() -> None:
    assert refused(Task(5, said=HIGH), "other", FAR) is Code.FRONTIER
    assert tier(POLICY, "BIG", FAR) == "frontier", "a name is not hidden by its case"


def test_the_options_offer_what_the_contract_knows() -> None:
    assert get_args(CostName) == spending.CLASSES
    assert get_args(Purpose) == spending.PURPOSES


@given(st.lists(st.tuples(st.sampled_from(["big", "mine"]), st.integers(0, 1000)), max_size=6))
def test_the_class_that_was_used_follows_from_the_meters(uses: list[tuple[str, int]]) -> None:
    models = [ModelUse(name=name, revision="1", usage=Usage(calls=1, tokens_read=tokens)) for name, tokens in uses]
    dear = sum(tokens for name, tokens in uses if name == "big")
    total = sum(tokens for _, tokens in uses)
    expected = "low" if dear == 0 else "med" if dear <= 0.1 * total else "high"
    assert used_class(POLICY, models) == expected
    assert above(expected, "low") == CLASSES.index(expected)
