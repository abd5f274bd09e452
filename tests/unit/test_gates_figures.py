"""Figures of a whole batch: missing rows, languages that cannot be told, the median answer, each at its bound."""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from judging import judge

from pytest_distill.gates import test_counts as counts
from pytest_distill.gates import test_language as language
from pytest_distill.gates import test_length as length

HOLDS = {"equals": operator.eq, "at_least": operator.ge, "at_most": operator.le, "below": operator.lt}


def refused(gate: Callable[..., None], limits: dict[str, Any] | None = None, **given: Any) -> list[str]:
    """The figures of a gate that are out of their bounds."""
    found = judge(gate, limits=limits, **given).figures

    def holds(value: float, bounds: dict[str, Any]) -> bool:
        return all(HOLDS[op](value, bound) for op, bound in bounds.items() if op != "unit")

    return [name for name, (value, bounds) in found.items() if not holds(value, bounds)]


@pytest.mark.parametrize(
    ("rows", "total", "counted", "limits", "figures"),
    [
        (9, 10, {"kept": 10, "read": 10, "planned": 10}, {}, []),
        (0, 10, {"kept": 10, "read": 10}, {}, ["rows remaining"]),
        (9, 10, {"kept": 10, "read": 10}, {"min_rows": 10}, ["rows remaining"]),
        (9, 9, {"kept": 10, "read": 10}, {}, ["rows in the batch"]),
        (9, 11, {"kept": 10, "read": 10}, {}, ["rows in the batch"]),
        (9, 9, {"kept": 9, "read": 10, "quarantined": 1}, {}, ["share of rows rejected at ingest"]),
        (9, 9, {"kept": 9, "read": 10, "quarantined": 1}, {"max_ingest_rejected_share": 0.1}, []),
        (9, 9, {"kept": 9, "read": 9, "planned": 10}, {}, ["share of planned rows missing"]),
        (9, 9, {"kept": 9, "read": 9, "planned": 10}, {"max_missing_share": 0.1001}, []),
    ],
)
def test_rows_are_counted(rows: int, total: int, counted: dict[str, int], limits: dict[str, Any], figures: list[str]) -> None:
    batch = SimpleNamespace(rows=rows, all_rows=total)
    manifest = SimpleNamespace(counts=SimpleNamespace(**{"quarantined": 0, "planned": None, **counted}))
    assert refused(counts.test_rows_are_all_there, limits, batch=batch, manifest=manifest) == figures


def test_languages_that_cannot_be_told_are_bounded_where_the_policy_says_so() -> None:
    guess = pl.Series([{"code": "en"}, {"code": None}, {"code": "de"}, {"code": "en"}])
    assert refused(language.test_language_is_known, language_guess=guess) == []
    assert refused(language.test_language_is_known, {"min_share": 0.75}, language_guess=guess) == []
    told = ["share of rows whose language is known"]
    assert refused(language.test_language_is_known, {"min_share": 0.76}, language_guess=guess) == told
    shares = judge(language.test_language_is_known, language_guess=guess).figures
    assert (shares["share in en"][0], shares["share in de"][0]) == (0.5, 0.25)


def test_the_median_answer_lies_below_its_bound() -> None:
    for tokens, figures in ((1023, []), (1024, ["median answer tokens"])):
        assert refused(length.test_median_answer_length, answer_tokens=pl.Series([1, tokens, 5000])) == figures
