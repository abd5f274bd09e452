"""Agreement of scorers: the figures are those of the reference libraries, and only scores of the same rows are compared."""

from __future__ import annotations

import csv
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.contracts.grading import DIMENSIONS, ScorerOutput
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.grading.agreement import Scored, as_csv, compare, spearman, weighted_kappa
from pytest_distill.pipelines.grading.agreement_plot import plot

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=60)


def scores(name: str, values: dict[str, float], *, text: str = "t", **changes: Any) -> Scored:
    outputs = {
        key: ScorerOutput(
            **{**{dimension: value * highest for dimension, highest in DIMENSIONS.items()}, **changes}, aggregated=value,
            domain={"id": 0, "confidence": 0.5}, scorer_model=name, scorer_version="1",
        )
        for key, value in values.items()
    }  # fmt: skip
    return Scored(name, outputs, dict.fromkeys(values, text))


@given(pairs=PAIRS)
def test_figures_are_those_of_the_references(pairs: list[tuple[int, int]]) -> None:
    stats, metrics = pytest.importorskip("scipy.stats"), pytest.importorskip("sklearn.metrics")
    a, b = (np.array(values) for values in zip(*pairs, strict=True))
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert spearman(a.astype(float), b.astype(float)) == pytest.approx(stats.spearmanr(a, b).statistic)
    else:
        assert spearman(a.astype(float), b.astype(float)) is None
    if len({*a, *b}) > 1:
        labels = list(range(6))
        assert weighted_kappa(a, b, 6) == pytest.approx(metrics.cohen_kappa_score(a, b, labels=labels, weights="quadratic"))
        assert weighted_kappa(a, b, 6, ordered=False) == pytest.approx(metrics.cohen_kappa_score(a, b, labels=labels))
    else:
        assert weighted_kappa(a, b, 6) is None, "both always say one thing: chance alone would agree"


VALUES = {f"r{n}": n / 20 for n in range(20)}


def test_a_scorer_agrees_with_itself() -> None:
    for one in compare([scores("a", VALUES), scores("b", VALUES)]):
        assert (one.rows, one.only_a, one.only_b) == (20, 0, 0)
        assert one.dimension == "domain" or (one.spearman, one.kappa, one.difference) == (1.0, 1.0, 0.0)


def test_a_shift_is_a_difference_and_no_loss_of_order() -> None:
    higher = {key: min(1.0, value + 0.1) for key, value in VALUES.items()}
    found = {one.dimension: one for one in compare([scores("a", VALUES), scores("b", higher)])}
    one = found["helpfulness"]
    assert one.spearman is not None
    assert one.spearman > 0.99
    assert one.low is not None
    assert one.high is not None
    assert one.low <= 0.49 <= one.high
    assert one.kappa is not None
    assert 0.8 < one.kappa < 1


def test_every_pair_of_three_is_compared_and_rows_of_one_alone_are_counted() -> None:
    found = compare([scores("a", VALUES), scores("b", {**VALUES, "x": 0.5}), scores("c", VALUES)])
    assert [(one.a, one.b) for one in found[::7]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (found[0].rows, found[0].only_a, found[0].only_b) == (20, 0, 1)


def test_only_scores_of_the_same_rows_are_compared() -> None:
    with pytest.raises(DistillError, match=r"E-KIND.*no row in common"):
        compare([scores("a", VALUES), scores("b", {"x": 0.5})])
    with pytest.raises(DistillError, match=r"E-KIND.*other texts under the id 'r0'"):
        compare([scores("a", VALUES), scores("b", VALUES, text="other")])


def test_the_table_has_a_line_for_each_and_the_picture_is_xml_that_says_what_it_shows() -> None:
    found = compare([scores("a<b", VALUES), scores("b", VALUES, verbosity=1.0)])
    lines = list(csv.DictReader(as_csv(found).decode().splitlines()))
    assert [line["dimension"] for line in lines] == [*DIMENSIONS, "aggregated", "domain"]
    assert lines[4]["spearman"] == "", "one of them says the same of every row"
    picture = ElementTree.fromstring(plot(found).decode())
    assert "a<b and b" in "".join(picture.itertext())
