"""Figures of a whole batch, each at its bound: missing rows, languages that cannot be told, lengths, copies, density."""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from judging import judge

from pytest_distill.gates import test_counts as counts
from pytest_distill.gates import test_diversity as diversity
from pytest_distill.gates import test_duplicates as duplicates
from pytest_distill.gates import test_language as language
from pytest_distill.gates import test_length as length

HOLDS = {"equals": operator.eq, "at_least": operator.ge, "at_most": operator.le, "below": operator.lt, "above": operator.gt}


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


def test_the_share_of_near_duplicates_is_bounded() -> None:
    near = pl.Series(
        [{"of": None, "jaccard": None}, {"of": 0, "jaccard": 0.9}, {"of": 0, "jaccard": 1.0}, {"of": None, "jaccard": None}]
    )
    given = {"near_duplicate_of": near, "exact_duplicate_of": pl.Series([None, None, 0, None]), "full_text": pl.Series(["…"] * 4)}
    gate = duplicates.test_near_duplicates
    assert judge(gate, **given).rejected == [False, True, False, False], "an exact copy is another gate's matter"
    assert refused(gate, **given) == []
    assert refused(gate, {"max_duplicate_share": 0.49}, **given) == ["share of near and exact duplicates"]


@pytest.mark.parametrize(
    ("limits", "figures"),
    [
        ({}, []),
        ({"max_near_share": 0.49}, ["share of rows with a neighbour"]),
        ({"max_cluster_share": 0.49}, ["share of the largest cluster"]),
        ({"max_self_similarity": 0.16}, ["self-similarity"]),
        ({"max_source_near_share": 0.99}, ["largest share of a source"]),
        ({"min_recall": 1.01}, ["recall of neighbours"]),
    ],
)
def test_density_is_bounded(monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], figures: list[str]) -> None:
    """Two of four rows say the same and come from one source; of six pairs one has the cosine 1, the others 0."""
    monkeypatch.setattr(diversity, "radius", lambda *_: 0.9)
    rows = pl.Series([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=pl.Array(pl.Float32, 3))
    found = refused(
        diversity.test_diversity_density,
        {"max_near_share": 0.5, "max_cluster_share": 0.5, **limits},
        meaning_vector=rows,
        batch=SimpleNamespace(sources=lambda: pl.Series(["a", "a", "b", "b"])),
        policy=SimpleNamespace(diversity=None, embedding=None),
    )
    assert found == figures
