"""Near duplicates of documents: MinHash finds who may be alike, the sets themselves decide.

Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec, Rajaraman, Ullman, "Mining of Massive
Datasets", chapter 3. A document is the set of its character n-grams. Signatures only nominate: two documents are near
duplicates when the Jaccard similarity of their sets, counted in full, reaches the bound. A text shorter than one n-gram has
an empty set, which is like nothing.

Texts and signatures are read where they lie (memory-mapped files will do); in memory are 20 to 24 bytes for each band of each
document.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_distill.measuring.kernels.buffers import Flat
from pytest_distill.measuring.kernels.text import Bounds, Bytes, Hashes

Signatures = NDArray[np.uint32]
Nodes = NDArray[np.int32]
Salts = NDArray[np.uint32]  # (2, permutations): what each permutation adds and multiplies with

FACTOR = np.uint64(0x9FB21C651E98DF25)
MIX = np.uint64(0xBF58476D1CE4E5B9)
ROWS = 7  # of a signature in one band; 128 permutations make 18 bands, which miss 0.6% of pairs at 0.82 and 0.0003% at 0.95
DOUBT = 0.15  # an estimate this far below the bound (4 standard errors of 128 permutations) is not worth counting


class Found(NamedTuple):
    """For each document the position of the kept one it is most like (-1: it is kept), and the Jaccard similarity to it."""

    of: Bounds
    jaccard: NDArray[np.float64]


def salts(permutations: int, generator: np.random.Generator) -> Salts:
    """The permutations of a run, drawn from its generator; multipliers are odd, so each is a permutation of 32 bits."""
    drawn = generator.integers(0, 2**32, size=(2, permutations), dtype=np.uint32)
    drawn[1] |= np.uint32(1)
    return drawn


# numba's cache does not notice a change in another file, so each file of kernels has its own.
@njit(nogil=True, cache=True)
def _decode(data: Bytes, at: int) -> tuple[np.int64, int]:
    """Code point and width of the character at `at` of valid UTF-8."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return ((lead & 0x1F) << 6) | (np.int64(data[at + 1]) & 0x3F), 2
    if lead < 0xF0:
        return ((lead & 0x0F) << 12) | ((np.int64(data[at + 1]) & 0x3F) << 6) | (np.int64(data[at + 2]) & 0x3F), 3
    high = ((lead & 0x07) << 18) | ((np.int64(data[at + 1]) & 0x3F) << 12)
    return high | ((np.int64(data[at + 2]) & 0x3F) << 6) | (np.int64(data[at + 3]) & 0x3F), 4


@njit(nogil=True, cache=True)
def _shingles(data: Bytes, at: int, end: int, size: int, out: Hashes) -> int:
    """Hashes of all n-grams of characters, in order, equal ones included. Returns how many."""
    lead = np.uint64(1)
    for _ in range(size):
        lead *= FACTOR
    tail, chars = at, 0
    value = np.uint64(0)
    while at < end:
        point, width = _decode(data, at)
        value = value * FACTOR + (np.uint64(point) + np.uint64(1)) * MIX
        at += width
        chars += 1
        if chars > size:
            point, width = _decode(data, tail)
            value -= (np.uint64(point) + np.uint64(1)) * MIX * lead
            tail += width
        if chars >= size:
            mixed = (value ^ (value >> np.uint64(31))) * MIX
            out[chars - size] = mixed ^ (mixed >> np.uint64(29))
    return max(0, chars - size + 1)


@njit(nogil=True, cache=True)
def _sign(data: Bytes, offsets: Bounds, size: int, salt: Salts, scratch: Hashes, signatures: Signatures, counts: Bounds) -> None:
    adds, factors = salt[0], salt[1]
    for row in range(len(offsets) - 1):
        count = _shingles(data, offsets[row], offsets[row + 1], size, scratch)
        signature = signatures[row]
        signature[:] = 0xFFFFFFFF
        for index in range(count):
            low = np.uint32(scratch[index])
            high = np.uint32(scratch[index] >> np.uint64(32))
            for k in range(len(signature)):
                value = np.uint32((low ^ adds[k]) * factors[k])
                value = np.uint32(value ^ (value >> np.uint32(15)) ^ high)
                signature[k] = min(signature[k], value)
        found = scratch[:count]
        found.sort()
        distinct = 0
        for index in range(count):
            distinct += index == 0 or found[index] != found[index - 1]
        counts[row] = distinct


def sign(texts: Flat, size: int, salt: Salts) -> tuple[Signatures, Bounds]:
    """Each text's signature, and how many different n-grams it has (none: its signature says nothing)."""
    longest = int(np.diff(texts.offsets).max(initial=0))
    signatures = np.empty((len(texts), salt.shape[1]), np.uint32)
    counts = np.empty(len(texts), np.int64)
    _sign(texts.data, texts.offsets, size, salt, np.empty(longest, np.uint64), signatures, counts)
    signatures.setflags(write=False)  # as a file mapped into memory is: one compiled version of each kernel
    return signatures, counts


@njit(nogil=True, cache=True)
def _slot(keys: Hashes, stamps: Bounds, stamp: int, value: np.uint64) -> np.int64:
    """Where a value stands in the table of one document, or the free slot for it."""
    mask = np.uint64(len(keys) - 1)
    slot = value & mask
    while stamps[slot] == stamp and keys[slot] != value:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@njit(nogil=True, cache=True)
def _band(signature: Signatures, band: int) -> np.uint64:
    value = np.uint64(band + 1)
    for index in range(band * ROWS, (band + 1) * ROWS):
        value = (value ^ np.uint64(signature[index])) * FACTOR
        value ^= value >> np.uint64(32)
    return value


@njit(nogil=True, cache=True)
def _common(
    data: Bytes, at: int, end: int, size: int, scratch: Hashes, keys: Hashes, stamps: Bounds, stamp: int, marks: Bounds, mark: int
) -> int:
    """How many different n-grams of a text are in the table of another."""
    count, common = _shingles(data, at, end, size, scratch), 0
    for index in range(count):
        slot = _slot(keys, stamps, stamp, scratch[index])
        if stamps[slot] == stamp and marks[slot] != mark:
            marks[slot] = mark
            common += 1
    return common


@njit(nogil=True, cache=True)
def _join(
    data: Bytes, offsets: Bounds, order: Bounds, signatures: Signatures, counts: Bounds, size: int, threshold: float,
    heads: Nodes, nodes: Nodes, hashes: Hashes, scratch: Hashes, keys: Hashes, stamps: Bounds, marks: Bounds,
    of: Bounds, jaccard: NDArray[np.float64],
) -> None:  # fmt: skip
    bands = signatures.shape[1] // ROWS
    mask = np.uint64(len(heads) - 1)
    asked = np.full(len(counts), -1, np.int64)
    used, mark = 0, 0
    for turn in range(len(order)):
        row = order[turn]
        if counts[row] == 0:
            continue
        mine, filled = signatures[row], False
        nearest, similarity = -1, 0.0
        for band in range(bands):
            key = _band(mine, band)
            node = heads[key & mask]
            while node >= 0:
                other = nodes[node, 1]
                if hashes[node] == key and asked[other] != row:
                    asked[other] = row
                    # Sets whose sizes differ this much cannot be alike enough, whatever they share.
                    smaller, larger = min(counts[row], counts[other]), max(counts[row], counts[other])
                    if smaller >= threshold * larger:
                        equal = 0
                        theirs = signatures[other]
                        for k in range(len(mine)):
                            equal += mine[k] == theirs[k]
                        if equal >= (threshold - DOUBT) * len(mine):
                            if not filled:
                                filled = True
                                for index in range(_shingles(data, offsets[row], offsets[row + 1], size, scratch)):
                                    slot = _slot(keys, stamps, row, scratch[index])
                                    keys[slot], stamps[slot] = scratch[index], row
                            mark += 1
                            common = _common(
                                data, offsets[other], offsets[other + 1], size, scratch, keys, stamps, row, marks, mark
                            )
                            found = common / (counts[row] + counts[other] - common)
                            if found >= threshold and found > similarity:
                                nearest, similarity = other, found
                node = nodes[node, 0]
        if nearest >= 0:
            of[row], jaccard[row] = nearest, similarity
            continue
        for band in range(bands):
            key = _band(mine, band)
            head = key & mask
            nodes[used, 0], nodes[used, 1], hashes[used] = heads[head], row, key
            heads[head] = used
            used += 1


def near_duplicates(texts: Flat, order: Bounds, signatures: Signatures, counts: Bounds, *, size: int, threshold: float) -> Found:
    """Takes the documents of `order` in that order: each stays unless it is near one that stayed before.

    `signatures` and `counts` are from `sign`, over all texts. Documents that are not in `order` are left alone.
    """
    longest = int(np.diff(texts.offsets).max(initial=0))
    nodes = len(order) * (signatures.shape[1] // ROWS)
    table = _power(2 * longest)
    found = Found(np.full(len(texts), -1, np.int64), np.zeros(len(texts)))
    _join(
        texts.data, texts.offsets, order, signatures, counts, size, threshold,
        np.full(_power(nodes), -1, np.int32), np.empty((nodes, 2), np.int32), np.empty(nodes, np.uint64),
        np.empty(longest, np.uint64), np.empty(table, np.uint64), np.full(table, -1, np.int64), np.zeros(table, np.int64),
        *found,
    )  # fmt: skip
    return found


def _power(count: int) -> int:
    return 1 << max(4, int(max(count, 1) - 1).bit_length())
