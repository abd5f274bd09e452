"""Connected components by union-find; a component is known by its first row."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Labels = NDArray[np.int64]


@njit(cache=True)
def _root(parents: Labels, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@njit(cache=True)
def join(parents: Labels, near: NDArray[np.bool_], first: int, others: Labels, bounds: Labels) -> None:
    """Neighbours of the rows from `first` on come into one component, and count as near. `bounds`: where each row's are."""
    for at in range(len(bounds) - 1):
        row = first + at
        for place in range(bounds[at], bounds[at + 1]):
            other = others[place]
            if other == row or other < 0:
                continue
            near[row] = near[other] = True
            a, b = _root(parents, row), _root(parents, other)
            if a < b:
                parents[b] = a
            else:
                parents[a] = b


@njit(cache=True)
def roots(parents: Labels) -> Labels:
    """The first row of each row's component."""
    found = np.empty(len(parents), np.int64)
    for row in range(len(parents)):
        found[row] = _root(parents, row)
    return found
