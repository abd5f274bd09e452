"""Paired comparisons: the exact McNemar test for yes and no, a bootstrap interval for figures, Wilson's for shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided p-value that the pairs that differ fall either way by chance (binomial with 1/2; McNemar 1947, exact form)."""
    pairs = first_only + second_only
    if pairs == 0:
        return 1.0
    tail = sum(math.comb(pairs, k) for k in range(min(first_only, second_only) + 1))
    return float(min(1.0, 2 * tail / 2**pairs))


def bootstrap_interval(differences: Sequence[float], *, seed: int, resamples: int = 10_000) -> tuple[float, float]:
    """The 95% percentile interval of the mean of paired differences (Efron 1979). Raises ValueError for none."""
    values = np.asarray(differences, np.float64)
    if not len(values):
        raise ValueError("no differences")
    drawn = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def wilson_interval(hits: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927). Raises ValueError for a share of nothing."""
    if not 0 <= hits <= of or of == 0:
        raise ValueError(f"no share: {hits} of {of}")
    z = 1.959963984540054
    share, spread = hits / of, z * z / of
    middle, half = share + spread / 2, z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))
