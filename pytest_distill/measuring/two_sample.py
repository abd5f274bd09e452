"""Is one sample like another, within a margin? Effects with intervals, p-values of minimum-effect tests, Holm's correction.

The null hypothesis is never "no difference at all", which any large batch refutes, but "no difference larger than the margin":
a small reference makes intervals wide and refutes little, a large one makes them narrow, and neither changes the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

CONFIDENCE: Final = 1.959964  # two-sided 95%
FOLDS: Final = 5
RIDGE: Final = 1.0
MOST: Final = 500  # rows of each side in the classifier test
PERMUTATIONS: Final = 200
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Effect:
    """How far a sample lies from the reference: positive where it has more. `p` is one-sided, for an effect over `margin`."""

    value: float
    low: float
    high: float
    margin: float
    p: float


def dominance(sample: Floats, reference: Floats, margin: float) -> Effect:
    """Cliff's delta: how much oftener a value of the sample is the larger one of two than the smaller one, from -1 to 1.

    The standard error is that of the area under the curve at the margin (Hanley and McNeil 1982), so it never vanishes where
    samples lie wholly apart.
    """
    ordered = np.sort(reference)
    below, upto = np.searchsorted(ordered, sample, "left"), np.searchsorted(ordered, sample, "right")
    value = float((below + upto).mean() / len(reference) - 1)
    return _tested(
        value,
        margin,
        2 * _auc_error((1 + margin) / 2, len(sample), len(reference)),
        2 * _auc_error(0.5, len(sample), len(reference)),
    )


def difference(sample: Bools, reference: Bools, margin: float) -> Effect:
    """Share in the sample less share in the reference; the standard error is that of Agresti and Caffo (2000)."""
    value = float(sample.mean() - reference.mean())
    error = 0.0
    for side in (sample, reference):
        share = (float(side.sum()) + 1) / (len(side) + 2)
        error += share * (1 - share) / (len(side) + 2)
    return _tested(value, margin, math.sqrt(error), math.sqrt(error))


def classified(sample: Floats, reference: Floats, margin: float, *, seed: int = 0) -> tuple[Effect, float]:
    """Can a linear classifier tell the two apart? 2 · AUC - 1 in cross-validation (rows: vectors), and its permutation p.

    Ridge regression on the kernel, at most MOST rows of each side, drawn by the seed. Lopez-Paz and Oquab 2017.
    """
    rng = np.random.default_rng(seed)
    sides = [s[np.sort(rng.permutation(len(s))[:MOST])] for s in (sample, reference)]
    vectors, labels = np.concatenate(sides), np.repeat([1.0, -1.0], [len(sides[0]), len(sides[1])])
    folds = np.empty(len(labels), np.int64)
    for side in (1.0, -1.0):
        places = rng.permutation(np.flatnonzero(labels == side))
        folds[places] = np.arange(len(places)) % FOLDS
    weights = np.zeros((len(labels), len(labels)))  # scores = weights @ labels, each row by a model that did not see it
    for fold in range(FOLDS):
        out, kept = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        mean = vectors[kept].mean(axis=0)
        centred, asked = vectors[kept] - mean, vectors[out] - mean
        kernel = centred @ centred.T + RIDGE * np.eye(len(kept))
        weights[np.ix_(out, kept)] = np.linalg.solve(kernel, centred @ asked.T).T

    def apart(said: Floats) -> float:
        found = []
        for fold in range(FOLDS):  # scores of two models are not comparable
            here = folds == fold
            scores, mine = (weights[here] @ _balanced(said, folds, fold)), said[here] > 0
            if mine.any() and not mine.all():
                found.append((dominance(scores[mine], scores[~mine], 0.0).value, float(mine.sum() * (~mine).sum())))
        total = sum(weight for _, weight in found)
        return sum(value * weight for value, weight in found) / total if total else 0.0

    value = apart(labels)
    drawn = [apart(rng.permutation(labels)) for _ in range(PERMUTATIONS)]
    p = (1 + sum(other >= value for other in drawn)) / (1 + PERMUTATIONS)
    sizes = int((labels > 0).sum()), int((labels < 0).sum())
    errors = [2 * _auc_error(auc, *sizes) for auc in ((1 + margin) / 2, 0.5)]
    return _tested(max(0.0, value), margin, *errors), p


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for testing several hypotheses at once, in their order (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    found, running = [0.0] * len(ps), 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(ps) - rank) * ps[place]))
        found[place] = running
    return found


def _balanced(labels: Floats, folds: npt.NDArray[np.int64], fold: int) -> Floats:
    """Targets with mean 0 over the rows that a fold learns from: the larger side must not move the bound."""
    kept = folds != fold
    return np.where(kept, labels - labels[kept].mean(), 0.0)


def _tested(value: float, margin: float, error: float, spread: float) -> Effect:
    """`error` is the standard error at the margin, `spread` that of the interval."""
    reach = CONFIDENCE * spread
    p = 0.5 * math.erfc((abs(value) - margin) / error / math.sqrt(2))
    return Effect(value, max(-1.0, value - reach), min(1.0, value + reach), margin, p)


def _auc_error(auc: float, a: int, b: int) -> float:
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    return math.sqrt((auc * (1 - auc) + (a - 1) * (first - auc**2) + (b - 1) * (second - auc**2)) / (a * b))
