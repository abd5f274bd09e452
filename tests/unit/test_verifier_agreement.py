"""Cohen's kappa and its interval, and the record that nobody can make say something else."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from inspection_strategies import ONE

from pytest_distill.contracts.verifier import RARER_LABEL, Agreement, AutomatedVerifier, cohen_kappa
from pytest_distill.errors import Code, DistillError


def calls(both: int, first: int, second: int, neither: int) -> list[tuple[bool, bool]]:
    return [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither


def test_the_example_that_everybody_works_out() -> None:
    """20, 5, 10 and 15 of 50: observed .7, by chance .5."""
    assert cohen_kappa(calls(20, 5, 10, 15)).value == pytest.approx(0.4, abs=1e-12)


def test_the_standard_error_is_that_of_fleiss_cohen_and_everitt() -> None:
    """Their formula, against the spread that resampling the rows shows."""
    kappa = cohen_kappa(calls(55, 10, 10, 25))
    assert kappa.value == pytest.approx((0.8 - 0.545) / 0.455, abs=1e-12)
    half = (kappa.high - kappa.low) / 2
    assert half / 1.959964 == pytest.approx(bootstrap(55, 10, 10, 25), rel=0.06)


def bootstrap(*cells: int, rounds: int = 3_000) -> float:
    """The spread of kappa over resampled rows."""
    rows, rng = calls(*cells), random.Random(7)
    found = [cohen_kappa(rng.choices(rows, k=len(rows))).value for _ in range(rounds)]
    mean = sum(found) / rounds
    return float((sum((value - mean) ** 2 for value in found) / (rounds - 1)) ** 0.5)


@given(*[st.integers(0, 40)] * 4)
def test_kappa_is_sklearns(both: int, first: int, second: int, neither: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="no scikit-learn: kappa was compared with no other library's")
    rows = calls(both, first, second, neither)
    assume(min(both + first, second + neither) >= RARER_LABEL and 0 < both + second < len(rows))
    kappa = cohen_kappa(rows)
    assert kappa.value == pytest.approx(metrics.cohen_kappa_score(*zip(*rows, strict=True)), abs=1e-9)
    assert -1 <= kappa.low <= kappa.value <= kappa.high <= 1


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ((40, 0, 0, 0), "people call 40 of 40 rows good"),
        ((0, 0, 0, 40), "people call 0 of 40 rows good"),
        ((36, 0, 0, 4), "people call 36 of 40 rows good"),
        ((20, 0, 20, 0), "the verifier calls every row good"),
        ((0, 20, 0, 20), "the verifier calls no row good"),
        ((0, 0, 0, 0), "people call 0 of 0 rows good"),
    ],
)
def test_where_chance_explains_everything_there_is_no_kappa(cells: tuple[int, int, int, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cohen_kappa(calls(*cells))


@pytest.mark.parametrize("change", ["kappa", "verifier", "row"])
def test_a_record_whose_figures_do_not_follow_from_its_rows_is_refused(change: str) -> None:
    value = json.loads(ONE["agreement"].to_bytes())
    if change == "kappa":
        value["kappa"] = 0.9
    elif change == "verifier":
        value["rows"][0]["verifier"] = "bad"
    else:
        value["rows"][1] = value["rows"][0]
    with pytest.raises(DistillError) as caught:
        Agreement.from_bytes(json.dumps(value).encode(), name="agreement")
    assert caught.value.code is Code.MANIFEST


def test_weights_that_nobody_can_see_need_a_revision() -> None:
    facts = {"kind": "judge", "backend": "server", "model": "m", "prompt_sha256": "a" * 64, "threshold": 0.5}
    with pytest.raises(ValueError, match="told apart by a revision"):
        AutomatedVerifier.model_validate(facts)
    assert AutomatedVerifier.model_validate({**facts, "revision": "2026-01"}).name.startswith("judge m ")
