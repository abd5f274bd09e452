"""Which rows are near duplicates of an earlier kept row: an exact set-similarity join over shingle hashes.

Prefix filtering (Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", 2007) with the positional filter of PPJoin
(Xiao, Wang, Lin, Yu, 2008). Two sets whose Jaccard similarity reaches t must share a member among the first
|x| - ceil(t |x|) + 1 of each, in any order that is the same for all sets; with rare members first, few rows do by chance.
So only prefixes are indexed, every candidate is then compared member by member, and nothing is estimated: where MinHash
with LSH misses some pairs, this finds all of them, in less time and memory.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_distill.measuring.kernels.buffers import Flat
from pytest_distill.measuring.kernels.text import Bounds, Hashes, words

FACTOR = np.uint64(0x9FB21C651E98DF25)  # odd: n-gram hashes are polynomials in it, modulo 2**64
TOP, LOW = np.uint64(56), np.uint64((1 << 56) - 1)
SLACK = 1e-9  # keeps rounding in the size bounds on the safe side; the decision itself compares the true quotient


class _Kept(NamedTuple):
    """The kept sets and the index over their prefixes. Arrays have room for all rows; pages never used take no memory."""

    used: Bounds  # number of kept sets, number of index nodes
    rows: Bounds
    starts: Bounds
    members: Hashes
    heads: NDArray[np.int32]  # chains of nodes by the low bits of the member
    keys: Hashes
    nodes: NDArray[np.int32]  # next node, kept set, position of the member in it
    shared: NDArray[np.int32]  # scratch, all 0 between rows: members found in common so far
    candidates: NDArray[np.int32]
    of: Bounds
    jaccard: NDArray[np.float64]


@njit(nogil=True, cache=True)
def _shingle(hashes: Hashes, first: int, last: int, size: int) -> np.uint64:
    """The shingle that starts at word `first`; a text shorter than a shingle is one, marked with its length."""
    if last - first >= size:
        value = np.uint64(0)
        for word in range(first, first + size):
            value = value * FACTOR + hashes[word]
    else:
        value = np.uint64(last - first)
        for word in range(first, last):
            value = value * FACTOR + (hashes[word] ^ FACTOR)
    value = (value ^ (value >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(32))


@njit(nogil=True, cache=True)
def _count(hashes: Hashes, bounds: Bounds, size: int, frequency: NDArray[np.uint8]) -> None:
    mask = np.uint64(len(frequency) - 1)
    for row in range(len(bounds) - 1):
        first, last = bounds[row], bounds[row + 1]
        shingles = last - first - size + 1 if last - first >= size else min(1, last - first)
        for at in range(shingles):
            slot = _shingle(hashes, first + at, last, size) & mask
            if frequency[slot] != 255:
                frequency[slot] += 1


@njit(nogil=True, cache=True)
def _sets(hashes: Hashes, bounds: Bounds, size: int, frequency: NDArray[np.uint8], members: Hashes, starts: Bounds) -> None:
    """Each row's set, sorted rare members first: the frequency goes into the top byte of the member itself."""
    mask = np.uint64(len(frequency) - 1)
    count = 0
    for row in range(len(bounds) - 1):
        starts[row] = count
        first, last = bounds[row], bounds[row + 1]
        shingles = last - first - size + 1 if last - first >= size else min(1, last - first)
        begin = count
        for at in range(shingles):
            value = _shingle(hashes, first + at, last, size)
            members[begin + at] = (np.uint64(frequency[value & mask]) << TOP) | (value & LOW)
        members[begin : begin + shingles].sort()
        for at in range(begin, begin + shingles):
            if at == begin or members[at] != members[count - 1]:
                members[count] = members[at]
                count += 1
    starts[len(bounds) - 1] = count


@njit(nogil=True, cache=True)
def _common(left: Hashes, right: Hashes, needed: float) -> int:
    """Members in common of two sorted sets; may stop early, with less than `needed`, when that is out of reach."""
    i, j, common = 0, 0, 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            common += 1
            i += 1
            j += 1
        elif left[i] < right[j]:
            i += 1
            if common + len(left) - i < needed:
                break
        else:
            j += 1
            if common + len(right) - j < needed:
                break
    return common


@njit(nogil=True, cache=True)
def _join(members: Hashes, starts: Bounds, first_row: int, threshold: float, kept: _Kept) -> None:
    mask = np.uint64(len(kept.heads) - 1)
    share = threshold / (1 + threshold)  # of both sizes together: what sets of Jaccard similarity `threshold` have in common
    for at_row in range(len(starts) - 1):
        row, mine = first_row + at_row, members[starts[at_row] : starts[at_row + 1]]
        size = len(mine)
        if size == 0:
            continue
        prefix = size - int(np.ceil(threshold * size - SLACK)) + 1
        smallest, largest = threshold * size - SLACK, size / threshold + SLACK
        found = 0
        for at in range(prefix):
            node = kept.heads[mine[at] & mask]
            while node >= 0:
                if kept.keys[node] == mine[at]:
                    other = kept.nodes[node, 1]
                    other_size = kept.starts[other + 1] - kept.starts[other]
                    if smallest <= other_size <= largest and kept.shared[other] >= 0:
                        if kept.shared[other] == 0:
                            kept.candidates[found] = other
                            found += 1
                        rest = min(size - at, other_size - kept.nodes[node, 2])  # at most these can still be shared
                        if kept.shared[other] + rest >= share * (size + other_size) - SLACK:
                            kept.shared[other] += 1
                        else:
                            kept.shared[other] = -1  # out of reach for good
                node = kept.nodes[node, 0]
        nearest, similarity = -1, 0.0
        for index in range(found):
            other = kept.candidates[index]
            possible = kept.shared[other] > 0
            kept.shared[other] = 0
            if not possible:
                continue
            theirs = kept.members[kept.starts[other] : kept.starts[other + 1]]
            common = _common(mine, theirs, share * (size + len(theirs)) - SLACK)
            jaccard = common / (size + len(theirs) - common)
            if jaccard >= threshold and (jaccard > similarity or (jaccard == similarity and other < nearest)):
                nearest, similarity = other, jaccard
        if nearest >= 0:
            kept.of[row], kept.jaccard[row] = kept.rows[nearest], similarity
            continue
        new = kept.used[0]
        kept.used[0] += 1
        kept.rows[new] = row
        kept.members[kept.starts[new] : kept.starts[new] + size] = mine
        kept.starts[new + 1] = kept.starts[new] + size
        for at in range(prefix):
            node = kept.used[1]
            kept.used[1] += 1
            slot = mine[at] & mask
            kept.keys[node] = mine[at]
            kept.nodes[node, 0], kept.nodes[node, 1], kept.nodes[node, 2] = kept.heads[slot], new, at
            kept.heads[slot] = node


def near_duplicates(texts: Flat, *, size: int, threshold: float, threads: int = 1) -> tuple[Bounds, NDArray[np.float64]]:
    """For each row the position of the most similar earlier kept row (-1 for kept rows), and the Jaccard similarity to it.

    Rows are taken in order. A row is dropped when the Jaccard similarity of its set of word `size`-grams to that of a row kept
    before is `threshold` or more, else kept. Shorter texts are one shingle, the whole of their words; texts without words are
    always kept. Memory: 8 bytes a shingle of kept rows, and about 20 bytes for each (1 - threshold) of all shingles.
    """
    frequency = np.zeros(_power(min(texts.bytes // 4, 1 << 26)), np.uint8)
    lengths = []
    for _, block in texts.blocks():
        hashes, bounds = words(block)
        _count(hashes, bounds, size, frequency)
        lengths.append(np.diff(bounds))
    counts = np.concatenate(lengths) if lengths else np.empty(0, np.int64)
    shingles = np.where(counts >= size, counts - size + 1, np.minimum(counts, 1))
    prefixes = int(np.sum(shingles - np.ceil(threshold * shingles - SLACK) + (shingles > 0)))
    rows = len(texts)
    kept = _Kept(
        used=np.zeros(2, np.int64),
        rows=np.empty(rows, np.int64),
        starts=np.zeros(rows + 1, np.int64),
        members=np.empty(int(shingles.sum()), np.uint64),
        heads=np.full(_power(prefixes), -1, np.int32),
        keys=np.empty(prefixes, np.uint64),
        nodes=np.empty((prefixes, 3), np.int32),
        shared=np.zeros(rows, np.int32),
        candidates=np.empty(rows, np.int32),
        of=np.full(rows, -1, np.int64),
        jaccard=np.zeros(rows),
    )

    def prepared(block: Flat) -> tuple[Hashes, Bounds]:
        hashes, bounds = words(block)
        members, starts = np.empty(len(hashes), np.uint64), np.empty(len(block) + 1, np.int64)
        _sets(hashes, bounds, size, frequency, members, starts)
        return members, starts

    blocks = list(texts.blocks())
    with ThreadPoolExecutor(threads) as pool:
        for (first, _), (members, starts) in zip(blocks, pool.map(prepared, (block for _, block in blocks)), strict=True):
            _join(members, starts, first, threshold, kept)
    return kept.of, kept.jaccard


def _power(count: int) -> int:
    return 1 << max(10, int(max(count, 1) - 1).bit_length())
