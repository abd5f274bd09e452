"""Effects within margins: what is refuted, what is not, and what a small reference can say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.measuring.two_sample import classified, difference, dominance, holm


def test_dominance_is_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 40).astype(float), rng.integers(0, 9, 30).astype(float)
    plain = np.mean([np.sign(x - y) for x in a for y in b])
    assert dominance(a, b, 0.1).value == pytest.approx(plain)
    assert dominance(a, a, 0.1).value == pytest.approx(0.0)


def test_samples_wholly_apart_are_refuted_by_ten_rows_and_equal_ones_never() -> None:
    few, many = np.arange(10.0), np.arange(100.0, 250.0)
    assert dominance(many, few, 0.2).p < 1e-3
    assert dominance(few, few, 0.2).p > 0.5
    assert difference(np.zeros(150, bool), np.ones(10, bool), 0.15).p < 1e-6
    assert difference(np.zeros(150, bool), np.array([True] + [False] * 9), 0.05).p > 0.1  # one of ten: cannot tell


def test_an_effect_within_its_margin_is_not_refuted_however_many_rows_there_are() -> None:
    rng = np.random.default_rng(0)
    reference, sample = rng.normal(size=20_000), rng.normal(0.1, size=20_000)
    found = dominance(sample, reference, 0.2)
    assert found.low > 0  # a difference is sure, and small
    assert found.p > 0.99


def test_wrong_refutations_at_the_margin_are_as_many_as_alpha_says() -> None:
    rng = np.random.default_rng(0)
    at_margin = sum(difference(rng.random(200) < 0.35, rng.random(100) < 0.2, 0.15).p < 0.05 for _ in range(400)) / 400
    assert at_margin < 0.10
    within = sum(dominance(rng.normal(size=150), rng.normal(size=40), 0.2).p < 0.05 for _ in range(400)) / 400
    assert within < 0.01


def test_intervals_cover() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        found = difference(rng.random(150) < 0.5, rng.random(40) < 0.3, 0.1)
        hits += found.low <= 0.2 <= found.high
    assert hits / 300 > 0.9


def test_a_classifier_tells_shifted_vectors_apart_and_like_ones_not() -> None:
    rng = np.random.default_rng(0)
    gold, like, other = (rng.normal(size=(n, 16)) for n in (40, 150, 150))
    other[:, 0] += 4
    same, chance = classified(like, gold, 0.4)
    assert same.p > 0.5
    assert chance > 0.05
    apart, chance = classified(other, gold, 0.4)
    assert apart.value > 0.8
    assert apart.p < 0.01
    assert chance < 0.01
    assert classified(other, gold, 0.4) == classified(other, gold, 0.4)


def test_holm_is_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_corrects_upwards_keeps_the_order_and_is_no_stricter_than_bonferroni(ps: list[float]) -> None:
    found = holm(ps)
    assert all(p <= corrected <= min(1.0, p * len(ps)) + 1e-12 for p, corrected in zip(ps, found, strict=True))
    assert [found[i] for i in sorted(range(len(ps)), key=lambda i: ps[i])] == sorted(found)
