"""From labelled scores to a calibration: weights on a simplex, thresholds, and how well they do on rows that were held out.

Method: logistic regression of the label on the scores (each divided by its own highest) with coefficients that are not negative;
the coefficients divided by their sum are the weights, so that `aggregated` stays a weighted mean. Thresholds come from scores
that were predicted across folds of the rows that fit; the figures come from rows that took no part. Rows of one group (the two
answers of a pair, rows with the same texts) stay on one side. Intervals: bootstrap over groups, percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_distill.contracts.calibration import HeldOut, Interval, QualityThresholds
from pytest_distill.contracts.grading import DIMENSIONS
from pytest_distill.errors import Code, DistillError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LEAST_ROWS: Final = 40  # of each label: fewer bound nothing
_RIDGE: Final = 1e-3  # keeps separable labels from coefficients without end
_CONVERGED: Final = 1e-7


@dataclass(frozen=True)
class Labelled:
    """Rows that people have judged. `scores` (rows, dimensions) in [0, 1]; `good` 0 or 1; `groups` which rows stay together."""

    scores: Floats
    good: Ints
    groups: Ints

    def take(self, rows: npt.NDArray[np.intp]) -> Labelled:
        return Labelled(self.scores[rows], self.good[rows], self.groups[rows])


@dataclass(frozen=True)
class Fitted:
    weights: tuple[float, ...]
    thresholds: QualityThresholds
    weight_intervals: list[Interval]
    threshold_intervals: tuple[Interval, Interval]
    held_out: HeldOut
    count: int


def calibrate(rows: Labelled, *, holdout: float, folds: int, bootstraps: int, precision: float, seed: int) -> Fitted:
    """Fits on `1 - holdout` of the groups, reports on the rest. Raises E-CALIBRATION for labels that teach nothing."""
    refuse_circular(rows)
    random = np.random.Generator(np.random.PCG64(seed))
    part = _parts(rows, random, shares=(1 - holdout, holdout))
    train, test = rows.take(np.flatnonzero(part == 0)), rows.take(np.flatnonzero(part == 1))
    for name, some in (("fit", train), ("were held out", test)):
        least = min(int(some.good.sum()), int((1 - some.good).sum()))
        if least < LEAST_ROWS // 2:
            raise DistillError(
                Code.CALIBRATION, f"only {least} rows of one label among those that {name}", "Label more rows of both kinds."
            )
    weights, thresholds = _fit(train, random, folds, precision)
    again = [_fit(train.take(_resample(train.groups, random)), random, folds, precision) for _ in range(bootstraps)]
    sampled = np.array([one[0] for one in again])
    return Fitted(
        weights=_summing_to_one(weights),
        thresholds=thresholds,
        weight_intervals=[_interval(column) for column in sampled.T],
        threshold_intervals=(
            _interval(np.array([one[1].low for one in again])),
            _interval(np.array([one[1].high for one in again])),
        ),
        held_out=_figures(test, test.scores @ weights, thresholds, random, bootstraps),
        count=len(train.good),
    )


def _summing_to_one(weights: Floats) -> tuple[float, ...]:
    """With six decimals, the largest weight taking what rounding leaves."""
    rounded = [round(float(weight), 6) for weight in weights]
    most = int(np.argmax(weights))
    rounded[most] = round(1 - math.fsum(rounded[:most] + rounded[most + 1 :]), 6)
    return tuple(rounded)


def refuse_circular(rows: Labelled) -> None:
    """Raises E-CALIBRATION when the labels could have been computed from the scores: then they say nothing about the rows."""
    good = rows.good == 1
    if not good.any() or good.all():
        raise DistillError(Code.CALIBRATION, "all rows have one label", "Label rows of both kinds.")
    names = [*DIMENSIONS, "aggregated"]
    for name, values in zip(names, [*rows.scores.T, rows.scores.mean(axis=1)], strict=True):
        if abs(auc(values, good) - 0.5) == 0.5:
            raise _circular(f"{name} alone gives every label")
    weights = weights_of(rows.scores, rows.good)
    if auc(rows.scores @ weights, good) == 1.0:
        raise _circular("a weighted mean of the scores gives every label")
    # Honest labels leave rows with equal scores and different labels. None at all, where chance would leave ten, is a rule.
    once = np.unique(np.column_stack([rows.groups, rows.scores, rows.good]), axis=0)  # copies in a group are one
    _, place = np.unique(once[:, 1:-1], axis=0, return_inverse=True)
    sizes = np.bincount(place.ravel())
    hits = np.bincount(place.ravel(), weights=once[:, -1])
    share = good.mean()
    expected = float((sizes * (sizes - 1) / 2).sum() * 2 * share * (1 - share))
    if expected >= 10 and not (hits * (sizes - hits)).any():
        raise _circular(f"rows with equal scores always have one label, where chance would leave {expected:.0f} pairs of two")


def _circular(how: str) -> DistillError:
    return DistillError(
        Code.CALIBRATION,
        f"the labels follow from the scores: {how}",
        "Take labels that somebody gave who did not see the scores.",
    )


def weights_of(scores: Floats, good: Ints) -> Floats:
    """Weights on the simplex (dimensions,), by accelerated projected gradients. Raises E-CALIBRATION when all would be 0."""
    rows, dimensions = scores.shape
    centred = scores - scores.mean(axis=0)
    padded = np.hstack([centred, np.ones((rows, 1))])
    step = 1 / (0.25 * np.linalg.eigvalsh(padded.T @ padded / rows)[-1] + _RIDGE)
    bound = np.append(np.zeros(dimensions), -np.inf)
    here = ahead = np.zeros(dimensions + 1)
    momentum = 1.0
    for _ in range(20_000):
        gradient = padded.T @ (_sigmoid(padded @ ahead) - good) / rows
        gradient[:-1] += _RIDGE * ahead[:-1]
        there = np.maximum(ahead - step * gradient, bound)
        if (ahead - there) @ (there - here) > 0:  # overshot: start the momentum again
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        moved = np.abs(there - ahead).max()
        ahead = there + (momentum - 1) / following * (there - here)
        here, momentum = there, following
        if moved < _CONVERGED * step:
            break
    total = float(here[:-1].sum())
    if total <= 1e-6:
        raise DistillError(
            Code.CALIBRATION,
            "no score is higher for the rows called good",
            "This scorer says nothing about these labels; take another.",
        )
    return np.asarray(here[:-1] / total)


def _fit(rows: Labelled, random: np.random.Generator, folds: int, precision: float) -> tuple[Floats, QualityThresholds]:
    """Weights from all rows; thresholds from means that each fold is given by the weights of the others."""
    part = _parts(rows, random, shares=(1 / folds,) * folds)
    across = np.empty(len(rows.good))
    for number in range(folds):
        inside, outside = np.flatnonzero(part == number), np.flatnonzero(part != number)
        across[inside] = rows.scores[inside] @ weights_of(rows.scores[outside], rows.good[outside])
    return weights_of(rows.scores, rows.good), thresholds_of(across, rows.good, precision)


def thresholds_of(means: Floats, good: Ints, precision: float) -> QualityThresholds:
    """`low`: below it a row is rejected, the cut of the best balanced accuracy. `high`: from it on, `precision` are good.

    A cut lies at a mean that was seen, so that whatever has just that mean passes. Where no cut is as precise, `high` is 1.
    """
    order = np.argsort(-means, kind="stable")
    ranked, hits = means[order], good[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last row of each mean, from the highest on
    passed_good = np.cumsum(hits)[ends]
    passed = ends + 1
    sensitivity = passed_good / max(1, int(good.sum()))
    specificity = 1 - (passed - passed_good) / max(1, int((1 - good).sum()))
    low = float(ranked[ends[int(np.argmax(sensitivity + specificity))]])
    precise = ranked[ends[passed_good / passed >= precision]]
    high = float(precise[-1]) if len(precise) else 1.0
    low, high = min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)
    return QualityThresholds(low=low, high=max(low, high))


def auc(values: Floats, good: npt.NDArray[np.bool_]) -> float:
    """Chance that a good row has the higher value, ties half: the area under the ROC curve, by midranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives = int(good.sum())
    negatives = len(good) - positives
    return float((ranks[good].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _figures(
    rows: Labelled, means: Floats, thresholds: QualityThresholds, random: np.random.Generator, bootstraps: int
) -> HeldOut:
    def of(chosen: npt.NDArray[np.intp]) -> tuple[float, float, float, float]:
        good, kept = rows.good[chosen] == 1, means[chosen] >= thresholds.low
        if not good.any() or good.all():
            return np.nan, np.nan, np.nan, np.nan
        sensitivity, specificity = kept[good].mean(), (~kept[~good]).mean()
        precision = good[kept].mean() if kept.any() else np.nan
        return auc(means[chosen], good), float(sensitivity + specificity) / 2, float(precision), float(sensitivity)

    values = of(np.arange(len(means)))
    samples = np.array([of(_resample(rows.groups, random)) for _ in range(bootstraps)])
    area, balanced, precision, recall = (
        Interval(value=_rounded(value), low=_rounded(np.nanquantile(column, 0.025)), high=_rounded(np.nanquantile(column, 0.975)))
        if np.isfinite(column).any() and np.isfinite(value)
        else None
        for value, column in zip(values, samples.T, strict=True)
    )
    assert area is not None and balanced is not None  # noqa: PT018 - both labels are there
    return HeldOut(
        count=len(means),
        auc=area,
        balanced_accuracy=balanced,
        precision=precision,
        recall=recall,
        rejected_share=_rounded((means < thresholds.low).mean()),
        doubtful_share=_rounded(((means >= thresholds.low) & (means < thresholds.high)).mean()),
    )


def _parts(rows: Labelled, random: np.random.Generator, *, shares: Sequence[float]) -> Ints:
    """The part of each row. Groups are dealt as wholes, those of like labels evenly over the parts."""
    names, place = np.unique(rows.groups, return_inverse=True)
    place = place.ravel()
    share = np.bincount(place, weights=rows.good) / np.bincount(place)
    ends = np.cumsum(shares)
    part = np.empty(len(names), dtype=np.int64)
    for value in np.unique(share):
        members = random.permutation(np.flatnonzero(share == value))
        at = (np.arange(len(members)) + random.random()) / len(members)
        part[members] = np.minimum(np.searchsorted(ends, at % 1.0, side="right"), len(shares) - 1)
    return part[place]


def _resample(groups: Ints, random: np.random.Generator) -> npt.NDArray[np.intp]:
    """Rows of as many groups as there are, drawn with replacement."""
    names, place = np.unique(groups, return_inverse=True)
    order = np.argsort(place.ravel(), kind="stable")
    starts = np.append(np.searchsorted(place.ravel()[order], np.arange(len(names))), len(order))
    chosen = random.integers(0, len(names), len(names))
    return np.concatenate([order[starts[one] : starts[one + 1]] for one in chosen])


def _interval(values: Floats) -> Interval:
    return Interval(
        value=_rounded(np.median(values)), low=_rounded(np.quantile(values, 0.025)), high=_rounded(np.quantile(values, 0.975))
    )


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)
