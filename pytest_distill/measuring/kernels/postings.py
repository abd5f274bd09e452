"""Which known items share terms with a row, and how much those terms weigh: an inverted index, read once for each row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Weights = NDArray[np.float32]
Numbers = NDArray[np.int64]


class Postings(NamedTuple):
    """Term t stands in the items `items[bounds[t] : bounds[t + 1]]` and weighs `weights[t]`; `totals` are the items' weights."""

    terms: dict[Hashable, int]
    items: Numbers
    bounds: Numbers
    weights: Weights
    unknown: float  # what a term weighs that no item holds
    totals: Weights


def build(items: Sequence[Iterable[Hashable]]) -> Postings:
    """The index of items given as sets of terms. A term weighs log((n + 1) / items with it) / log(n + 1): the rarest weigh 1."""
    places: dict[Hashable, list[int]] = {}
    for number, terms in enumerate(items):
        for term in terms:
            places.setdefault(term, []).append(number)
    scale = np.log(len(items) + 1) if items else 1.0
    weights = np.array([np.log((len(items) + 1) / len(found)) / scale for found in places.values()], np.float32)
    bounds = np.cumsum([0, *map(len, places.values())]).astype(np.int64)
    flat = np.array([item for found in places.values() for item in found], np.int64)
    totals = np.zeros(len(items), np.float32)
    np.add.at(totals, flat, np.repeat(weights, np.diff(bounds)))
    return Postings({term: place for place, term in enumerate(places)}, flat, bounds, weights, 1.0, totals)


def jaccard(index: Postings, rows: Sequence[Iterable[Hashable]]) -> Weights:
    """Weighted Jaccard similarity (rows, items) of each row's set of terms with each item's. 0 where both are empty."""
    known: list[int] = []
    bounds = [0]
    totals = np.zeros(len(rows), np.float32)
    for number, terms in enumerate(rows):
        for term in terms:
            place = index.terms.get(term)
            if place is None:
                totals[number] += index.unknown
            else:
                known.append(place)
                totals[number] += index.weights[place]
        bounds.append(len(known))
    common = np.zeros((len(rows), len(index.totals)), np.float32)
    _add(np.array(known, np.int64), np.array(bounds, np.int64), index.items, index.bounds, index.weights, common)
    union = totals[:, None] + index.totals[None, :] - common
    shares: Weights = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


@njit(cache=True)
def _add(known: Numbers, rows: Numbers, items: Numbers, bounds: Numbers, weights: Weights, common: Weights) -> None:
    for row in range(len(rows) - 1):
        for place in range(rows[row], rows[row + 1]):
            term = known[place]
            for at in range(bounds[term], bounds[term + 1]):
                common[row, items[at]] += weights[term]
