"""Acceptance sampling: chances against scipy, plans against published tables, and both risks kept whatever is asked."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_distill.policy.model import InspectionTable, Policy
from pytest_distill.policy.sampling_plan import (
    SamplingPlan,
    accepting,
    binomial,
    hypergeometric,
    plan_for,
    single_plan,
    why_not_asked,
)

# J. M. Cameron, Tables for Constructing and for Computing the Operating Characteristics of Single-Sampling Plans, Industrial
# Quality Control 9 (1952): c, n * p1 at a chance of acceptance of .95, and p2 / p1 for alpha = .05, beta = .10.
CAMERON = [
    (0, 0.052, 44.890), (1, 0.355, 10.946), (2, 0.818, 6.509), (3, 1.366, 4.890), (4, 1.970, 4.057), (5, 2.613, 3.549),
    (6, 3.286, 3.206), (7, 3.981, 2.957), (8, 4.695, 2.768), (9, 5.426, 2.618), (10, 6.169, 2.497),
]  # fmt: skip
# MIL-STD-105D, Table VI-A: the limiting quality in percent (chance of acceptance .10) of the plans of code letter J, n = 80.
LETTER_J = [(0, 2.84), (1, 4.78), (2, 6.52), (3, 8.16), (5, 11.3), (7, 14.2)]
# NIST/SEMATECH e-Handbook of Statistical Methods, 6.2.3.2: the OC curve of n = 52, c = 3, at 1 to 12 percent.
NIST = [0.998, 0.980, 0.930, 0.845, 0.739, 0.620, 0.502, 0.394, 0.300, 0.223, 0.162, 0.115]


@st.composite
def lots(draw: st.DrawFn) -> tuple[int, int, int, int]:
    lot = draw(st.integers(1, 3_000) | st.integers(10**6, 10**9))
    n = draw(st.integers(0, min(lot, 2_000)))
    defects = draw(st.integers(0, lot))
    return draw(st.integers(0, 40)), n, defects, lot


@given(lots())
def test_hypergeometric_chances_are_scipys(case: tuple[int, int, int, int]) -> None:
    c, n, defects, lot = case
    assert hypergeometric(c, n, defects, lot) == pytest.approx(stats.hypergeom.cdf(c, lot, defects, n), rel=1e-6, abs=1e-9)


@given(st.integers(1, 12), st.data())
def test_small_lots_are_exact_to_the_last_digits(lot: int, data: st.DataObject) -> None:
    n, defects, c = (data.draw(st.integers(0, lot)) for _ in range(3))
    ways = sum(math.comb(defects, k) * math.comb(lot - defects, n - k) for k in range(min(c, n) + 1))
    assert hypergeometric(c, n, defects, lot) == pytest.approx(ways / math.comb(lot, n), rel=1e-12)


@given(st.integers(0, 40), st.integers(0, 2_000), st.floats(0, 1))
def test_binomial_chances_are_scipys(c: int, n: int, share: float) -> None:
    assert binomial(c, n, share) == pytest.approx(stats.binom.cdf(c, n, share), rel=1e-6, abs=1e-9)


@given(
    aql=st.floats(0.001, 0.3), apart=st.floats(1.05, 20), alpha=st.floats(0.01, 0.3), beta=st.floats(0.01, 0.3),
    lot=st.integers(1, 900),
)  # fmt: skip
def test_a_plan_keeps_both_risks_and_no_smaller_one_does(aql: float, apart: float, alpha: float, beta: float, lot: int) -> None:
    limiting = min(0.95, aql * apart)
    plan = single_plan(aql=aql, limiting_quality=limiting, alpha=alpha, beta=beta, lot=lot)
    good, poor = math.floor(aql * lot + 1e-9), math.ceil(limiting * lot - 1e-9)

    def keeps(n: int, c: int) -> bool:
        accepted = stats.hypergeom.cdf(c, lot, good, n), stats.hypergeom.cdf(c, lot, poor, n)
        return bool(accepted[0] >= 1 - alpha - 1e-9 and accepted[1] <= beta + 1e-9)

    assert plan.rows <= lot
    assert keeps(plan.rows, plan.accept)
    for n in {plan.rows - 1, plan.rows // 2} - {-1}:
        assert not any(
            stats.hypergeom.cdf(c, lot, good, n) >= 1 - alpha + 1e-9 and stats.hypergeom.cdf(c, lot, poor, n) <= beta - 1e-9
            for c in range(plan.accept + 3)
        ), (n, plan)


@pytest.mark.parametrize(("c", "n_p1", "ratio"), CAMERON)
def test_plans_are_those_of_camerons_table(c: int, n_p1: float, ratio: float) -> None:
    """His are of the Poisson distribution, so both shares are made small; his digits allow a rounding of a part in a hundred."""
    aql = n_p1 / 10_000
    plan = single_plan(aql=aql, limiting_quality=aql * ratio * 1.002, alpha=0.0505, beta=0.1)
    assert plan.accept == c
    assert plan.rows == pytest.approx(10_000, rel=0.02)
    assert binomial(c, 10_000, aql) == pytest.approx(0.95, abs=0.001)
    assert binomial(c, 10_000, aql * ratio) == pytest.approx(0.10, abs=0.0035)


@pytest.mark.parametrize(("c", "percent"), LETTER_J)
def test_limiting_qualities_are_those_of_the_military_standard(c: int, percent: float) -> None:
    assert SamplingPlan(None, 80, c).chance(percent / 100) == pytest.approx(0.10, abs=0.004)


def test_the_operating_characteristic_of_a_handbook() -> None:
    plan = SamplingPlan(None, 52, 3)
    assert [plan.chance(percent / 100) for percent in range(1, 13)] == pytest.approx(NIST, abs=0.0015)


def test_points_that_a_commercial_program_gives_for_68_and_2() -> None:
    """TP105, as its author quotes it: producer's point 1.213% at .95, consumer's point 8.9704% at .05."""
    assert binomial(2, 68, 0.01213) == pytest.approx(0.95, abs=1e-4)
    assert binomial(2, 68, 0.089704) == pytest.approx(0.05, abs=1e-5)


@pytest.mark.parametrize(
    ("lot", "rows", "accept"), [(51, 16, 0), (100, 33, 1), (150, 35, 1), (1_000, 37, 1), (3_968, 52, 2), (1_000_000, 52, 2)]
)
def test_the_default_policy_asks_for_an_hour_not_for_a_day(lot: int, rows: int, accept: int) -> None:
    plan = plan_for(Policy(), bulk=True, lot=lot)
    assert (plan.rows, plan.accept) == (rows, accept)


def test_more_rows_than_the_plan_asks_for_keep_the_consumers_risk() -> None:
    policy = Policy(inspection=InspectionTable(rows=120))
    plan = plan_for(policy, bulk=True, lot=1_000)
    assert plan.rows == 120
    assert plan.accept == accepting(rows=120, limiting_quality=0.1, beta=0.1, lot=1_000) == 7
    assert plan.chance(0.1) <= 0.1 < SamplingPlan(1_000, 120, 8).chance(0.1)
    assert accepting(rows=3, limiting_quality=0.1, beta=0.1, lot=1_000) == -1, "three rows say nothing"


def test_a_spot_check_alone_accepts_no_defect() -> None:
    policy = Policy(inspection=InspectionTable(rows=10))
    assert plan_for(policy, bulk=False, lot=400) == SamplingPlan(400, 10, 0)
    assert plan_for(policy, bulk=False, lot=4) == SamplingPlan(4, 4, 0)


def test_who_is_asked() -> None:
    assert why_not_asked(Policy(), bulk=True) is None
    assert "for generated bulk" in str(why_not_asked(Policy(), bulk=False))
    always = Policy(inspection=InspectionTable(mode="always"))
    assert why_not_asked(always, bulk=False) is None
    assert plan_for(always, bulk=False, lot=150) == SamplingPlan(150, 35, 1)


def test_curves_fall_from_one_and_lots_without_rows_are_nothing() -> None:
    curve = SamplingPlan(150, 35, 1).curve(0.3)
    assert curve[0] == (0.0, 1.0)
    assert all(a[1] >= b[1] for a, b in itertools.pairwise(curve))
    assert plan_for(Policy(), bulk=True, lot=0) == SamplingPlan(0, 0, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        SamplingPlan(150, 35, 1).chance(1.5)


@pytest.mark.parametrize("wrong", [{"aql": 0.1}, {"aql": 0.0}, {"limiting_quality": 1.0}, {"alpha": 0.0}, {"beta": 1.0}])
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a plan needs"):
        single_plan(**{"aql": 0.01, "limiting_quality": 0.1, "alpha": 0.05, "beta": 0.1, **wrong})
    with pytest.raises(ValueError, match=r"aql has to lie below|greater than 0|less than 1"):
        InspectionTable(**{"aql": 0.01, "limiting_quality": 0.1, **wrong})


def test_shares_that_lie_too_close_want_every_row() -> None:
    risks = {"alpha": 0.05, "beta": 0.1}
    assert single_plan(aql=0.01, limiting_quality=0.0100001, lot=200, **risks) == SamplingPlan(200, 194, 2)
    assert single_plan(aql=0.1, limiting_quality=0.1001, lot=100_000, **risks) == SamplingPlan(100_000, 100_000, 10_000)
    with pytest.raises(ValueError, match="too close"):
        single_plan(aql=0.1, limiting_quality=0.1001, **risks)
