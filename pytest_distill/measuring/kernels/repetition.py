"""Repetition inside one text, from the hashes of its words: Gopher's n-gram figures, and loops.

Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher" (2021), table A1, as datatrove reads
it: the most frequent n-gram counts with the spaces inside it; repeated n-grams are counted without overlap, without spaces.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_distill.measuring.kernels.text import Bounds, Figures, Hashes, Lengths

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
FIGURES = (*(f"top_{n}" for n in TOP), *(f"duplicate_{n}" for n in DUPLICATE), "loop")
LARGEST, FIRST_TOP, FIRST_DUPLICATE = DUPLICATE[-1], TOP[0], DUPLICATE[0]
LOOP = len(FIGURES) - 1
LONGEST_PERIOD = 16
FACTOR = np.uint64(0x9FB21C651E98DF25)
MIX, SHIFT = np.uint64(0xBF58476D1CE4E5B9), np.uint64(29)


@njit(nogil=True, cache=True)
def _repetition(
    hashes: Hashes, lengths: Lengths, bounds: Bounds, seen: Hashes, owners: NDArray[np.int32], stamps: Bounds, grams: Hashes,
    counts: NDArray[np.int32], figures: Figures,
) -> None:  # fmt: skip
    mask = np.uint64(len(seen) - 1)
    stamp = 0
    for row in range(len(bounds) - 1):
        begin, words = bounds[row], bounds[row + 1] - bounds[row]
        grams[:words] = 0
        repeats = True  # where no n-gram repeats, no longer one does
        for n in range(1, LARGEST + 1):
            places = words - n + 1
            if places <= 0 or (not repeats and n >= FIRST_DUPLICATE):
                break
            for at in range(places):
                grams[at] = grams[at] * FACTOR + hashes[begin + at + n - 1]
            if n < FIRST_TOP:
                continue
            top = n < FIRST_DUPLICATE
            if repeats:
                repeats = False
                stamp += 1
                at = 0
                while at < places:
                    value = (grams[at] ^ (grams[at] >> SHIFT)) * MIX
                    slot = (value >> SHIFT) & mask
                    while stamps[slot] == stamp and seen[slot] != grams[at]:
                        slot = (slot + np.uint64(1)) & mask
                    step = 1
                    if stamps[slot] != stamp:
                        stamps[slot], seen[slot], owners[slot] = stamp, grams[at], at
                        counts[at] = 1
                    else:
                        repeats = True
                        if top:
                            counts[at] = 0
                            counts[owners[slot]] += 1
                        else:
                            for word in range(at, at + n):
                                figures[row, n - FIRST_TOP] += lengths[begin + word]
                            step = n
                    at += step
            if top:
                first = 0  # the first of the most frequent ones
                if repeats:
                    for at in range(1, places):
                        if counts[at] > counts[first]:
                            first = at
                chars = n - 1
                for word in range(first, first + n):
                    chars += lengths[begin + word]
                figures[row, n - FIRST_TOP] = chars * counts[first] if repeats else chars
        for period in range(1, LONGEST_PERIOD + 1):
            run = period
            for at in range(period, words):
                if hashes[begin + at] == hashes[begin + at - period]:
                    run += 1
                    if run >= 4 * period and run > figures[row, LOOP]:
                        figures[row, LOOP] = run
                else:
                    run = period


def repetition(hashes: Hashes, lengths: Lengths, bounds: Bounds) -> Figures:
    """For each row (columns as in FIGURES) the characters in its most frequent n-gram, n = 2 to 4, and in repeated n-grams,
    n = 5 to 10; and `loop`: the words of the longest stretch in which a phrase of up to 16 words comes four times or more
    in a row."""
    most = int(np.diff(bounds).max(initial=0))
    room = 1 << (2 * most + 8).bit_length()
    figures = np.zeros((len(bounds) - 1, len(FIGURES)), np.int64)
    _repetition(
        hashes, lengths, bounds, np.empty(room, np.uint64), np.empty(room, np.int32), np.zeros(room, np.int64),
        np.empty(most, np.uint64), np.empty(most, np.int32), figures,
    )  # fmt: skip
    return figures
