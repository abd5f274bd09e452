"""How surprising a document is to a model of its own corpus: an n-gram model over bytes, trained on a sample of the rows.

Interpolated Witten-Bell smoothing (Witten and Bell, "The zero-frequency problem", 1991; Chen and Goodman 1999, section 2.4).
Counts are hashed into tables of fixed size, so memory does not grow with the corpus; texts count by their first bytes. Figures
are compared within a domain, as z-scores of their logarithm: code surprises a model of prose, and that is no fault of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_distill.measuring.kernels.buffers import Flat
from pytest_distill.measuring.kernels.text import Bounds, Bytes

ORDER = 5
SLOTS = 1 << 22
READ = 2048  # bytes of a document that are scored, and learned from
LEARNED = 64 << 20  # bytes a model learns from at most
FEWEST = 30  # rows of a domain below which it has no spread of its own
FACTOR = np.uint64(0x9FB21C651E98DF25)
MIX = np.uint64(0xBF58476D1CE4E5B9)
Counts = NDArray[np.uint32]
Figures = NDArray[np.float64]


class Model(NamedTuple):
    """Counts by hash: `grams` of each n-gram, `totals` and `kinds` (how many different bytes follow) of each context."""

    grams: Counts
    totals: Counts
    kinds: Counts


@njit(nogil=True, cache=True)
def _slot(value: np.uint64) -> np.int64:
    value = (value ^ (value >> np.uint64(29))) * MIX
    return np.int64((value ^ (value >> np.uint64(32))) & np.uint64(SLOTS - 1))


@njit(nogil=True, cache=True)
def _train(data: Bytes, offsets: Bounds, rows: Bounds, grams: Counts, totals: Counts, kinds: Counts) -> None:
    for turn in range(len(rows)):
        start = offsets[rows[turn]]
        end = min(offsets[rows[turn] + 1], start + READ)
        for at in range(start, end):
            context = np.uint64(0)
            for length in range(min(ORDER, at - start + 1)):
                if length:
                    context = (context + np.uint64(data[at - length]) + np.uint64(1)) * FACTOR
                place = _slot(context)
                gram = _slot((context + np.uint64(data[at]) + np.uint64(257)) * FACTOR + np.uint64(1))
                kinds[place] += grams[gram] == 0 or totals[place] == 0  # a collision must not leave a context without any
                grams[gram] += 1
                totals[place] += 1


@njit(nogil=True, cache=True)
def _score(data: Bytes, offsets: Bounds, rows: Bounds, grams: Counts, totals: Counts, kinds: Counts, out: Figures) -> None:
    for turn in range(len(rows)):
        start = offsets[rows[turn]]
        end = min(offsets[rows[turn] + 1], start + READ)
        surprise = 0.0
        for at in range(start, end):
            probability, context = 1.0 / 256.0, np.uint64(0)
            for length in range(min(ORDER, at - start + 1)):
                if length:
                    context = (context + np.uint64(data[at - length]) + np.uint64(1)) * FACTOR
                place = _slot(context)
                if totals[place] == 0:
                    break
                gram = grams[_slot((context + np.uint64(data[at]) + np.uint64(257)) * FACTOR + np.uint64(1))]
                probability = (gram + kinds[place] * probability) / (totals[place] + kinds[place])
            surprise -= np.log(probability)
        out[turn] = surprise / max(1, end - start)


def train(texts: Flat, rows: Bounds) -> Model:
    """A model of the texts at `rows`, the first LEARNED bytes of them."""
    sizes = np.minimum(texts.offsets[rows + 1] - texts.offsets[rows], READ)
    enough = int(np.searchsorted(np.cumsum(sizes), LEARNED, side="right"))
    model = Model(*(np.zeros(SLOTS, np.uint32) for _ in range(3)))
    _train(texts.data, texts.offsets, rows[:enough], *model)
    return model


def surprise(texts: Flat, rows: Bounds, model: Model, *, threads: int = 1) -> Figures:
    """Nats a byte of each of the texts at `rows`; perplexity is e to this power. A text without bytes has 0."""
    found = np.zeros(len(rows))
    parts = [slice(first, first + 1024) for first in range(0, len(rows), 1024)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(_score, texts.data, texts.offsets, rows[part], *model, found[part]) for part in parts]:
            done.result()
    return found


def within_domains(figures: Figures, domains: Sequence[str]) -> Figures:
    """z-scores of each figure among those of its domain; of a domain with few rows, or with no spread, among all."""
    places: dict[str, list[int]] = {}
    for at, domain in enumerate(domains):
        places.setdefault(domain, []).append(at)
    scores = np.zeros(len(figures))
    for rows in places.values():
        own = figures[rows]
        base = own if len(rows) >= FEWEST and own.std() > 0 else figures
        spread = base.std()
        scores[rows] = (own - base.mean()) / spread if spread > 0 else 0.0
    return scores
