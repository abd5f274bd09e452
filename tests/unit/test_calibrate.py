"""Calibration: weights and thresholds that labelled rows really support, and a refusal of everything that only looks like it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.contracts.grading import DIMENSIONS
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.grading.calibrate import Labelled, auc, calibrate, thresholds_of, weights_of

TRUE = np.array([0.5, 0.3, 0.2, 0.0, 0.0])
SETTINGS = {"holdout": 0.3, "folds": 5, "bootstraps": 50, "precision": 0.9, "seed": 1}


def rows(count: int = 600, *, seed: int = 0, sharpness: float = 8.0, decimals: int | None = None) -> Labelled:
    """Rows whose label goes with the weighted mean of TRUE, by a coin."""
    random = np.random.default_rng(seed)
    scores = random.random((count, len(DIMENSIONS)))
    if decimals is not None:
        scores = scores.round(decimals)
    good = random.random(count) < 1 / (1 + np.exp(-sharpness * (scores @ TRUE - 0.5)))
    return Labelled(scores, good.astype(np.int64), np.arange(count))


def test_weights_that_made_the_labels_are_found_again() -> None:
    found = weights_of(*(lambda r: (r.scores, r.good))(rows(20_000)))
    assert found.sum() == pytest.approx(1)
    assert np.abs(found - TRUE).max() < 0.05


def test_weights_are_those_of_scipys_optimiser() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    some = rows(300, seed=3)
    centred = some.scores - some.scores.mean(axis=0)

    def loss(point: np.ndarray) -> float:
        margin = centred @ point[:-1] + point[-1]
        return float((np.logaddexp(0, margin) - some.good * margin).mean() + 0.5e-3 * (point[:-1] ** 2).sum())

    found = optimize.minimize(loss, np.zeros(6), bounds=[(0, None)] * 5 + [(None, None)], method="L-BFGS-B", tol=1e-12).x[:-1]
    assert weights_of(some.scores, some.good) == pytest.approx(found / found.sum(), abs=1e-3)


def test_a_calibration_reports_on_rows_that_took_no_part() -> None:
    found = calibrate(rows(), **SETTINGS)
    assert found.count + found.held_out.count == 600
    assert abs(found.held_out.count - 180) <= 2
    assert 0.7 < found.held_out.auc.low <= found.held_out.auc.value <= found.held_out.auc.high < 0.95
    assert 0 <= found.thresholds.low <= found.thresholds.high <= 1
    assert all(one.low <= one.value <= one.high for one in found.weight_intervals)


def test_labels_by_a_coin_are_not_dressed_up() -> None:
    some = rows(2000, seed=5)
    coin = np.random.default_rng(6).integers(0, 2, 2000)
    try:
        found = calibrate(Labelled(some.scores, coin, some.groups), **SETTINGS).held_out.auc
    except DistillError as error:
        assert "no score is higher" in error.message  # noqa: PT017 - in one of the samples nothing was left to weigh
    else:
        assert found.low < 0.5 < found.high


def test_the_same_seed_gives_the_same_calibration_and_another_another() -> None:
    some = rows()
    assert calibrate(some, **SETTINGS) == calibrate(some, **SETTINGS)
    assert calibrate(some, **SETTINGS) != calibrate(some, **{**SETTINGS, "seed": 2})


def test_rows_of_one_group_stay_on_one_side() -> None:
    """Each row is there four times. If copies were split, what was held out would be known by heart."""
    base = rows(200)
    copies = Labelled(np.repeat(base.scores, 4, 0), np.repeat(base.good, 4), np.repeat(base.groups, 4))
    found = calibrate(copies, **SETTINGS)
    assert found.count % 4 == 0
    assert found.held_out.count % 4 == 0
    alone = calibrate(base, **SETTINGS).held_out.auc
    assert found.held_out.auc.high - found.held_out.auc.low > 0.7 * (alone.high - alone.low), "copies are no more evidence"


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda s: s[:, 1] > 0.5, "correctness alone"),
        (lambda s: s[:, 2] < 0.3, "coherence alone"),
        (lambda s: s.mean(axis=1) >= 0.5, "aggregated alone"),
        (lambda s: s @ TRUE > 0.5, "a weighted mean"),
        (lambda s: (s[:, 0] > 0.3) != (s[:, 1] > 0.3), "rows with equal scores"),
    ],
)
def test_labels_that_follow_from_the_scores_are_refused(label, said: str) -> None:
    scores = np.random.default_rng(0).integers(0, 3, (600, 5)) / 2
    with pytest.raises(DistillError, match=rf"E-CALIBRATION.*follow from the scores: {said}"):
        calibrate(Labelled(scores, label(scores).astype(np.int64), np.arange(600)), **SETTINGS)


@pytest.mark.parametrize(
    ("some", "said"),
    [
        (Labelled(rows(200).scores, np.ones(200, np.int64), np.arange(200)), "all rows have one label"),
        (rows(40), "only .* rows of one label"),
        (Labelled(1 - rows(800).scores, rows(800).good, np.arange(800)), "no score is higher"),
    ],
)
def test_labels_that_teach_nothing_are_refused(some: Labelled, said: str) -> None:
    with pytest.raises(DistillError, match=f"E-CALIBRATION.*{said}"):
        calibrate(some, **SETTINGS)


def test_honest_labels_of_coarse_scores_are_welcome() -> None:
    assert calibrate(rows(800, decimals=0), **SETTINGS).count > 0


@given(data=st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40))
def test_thresholds_never_cross_and_auc_is_the_chance_of_the_right_order(data: list[tuple[int, bool]]) -> None:
    means, good = np.array([m / 8 for m, _ in data]), np.array([g for _, g in data])
    found = thresholds_of(means, good.astype(np.int64), 0.9)
    assert 0 <= found.low <= found.high <= 1
    if good.any() and not good.all():
        pairs = [(a > b) + 0.5 * (a == b) for a in means[good] for b in means[~good]]
        assert auc(means, good) == pytest.approx(np.mean(pairs))


def test_what_has_just_the_threshold_passes() -> None:
    means, good = np.array([0.1, 0.2, 0.6, 0.6, 0.9]), np.array([0, 0, 1, 1, 1])
    assert thresholds_of(means, good, 1.0).low == 0.6
    assert thresholds_of(means, good, 1.0).high == 0.6
    assert thresholds_of(means, 1 - good, 1.0).high == 1.0, "no cut is as precise"
