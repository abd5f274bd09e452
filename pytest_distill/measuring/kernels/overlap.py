"""How much of a known piece of text stands in a row: n-grams find the candidates, alignment judges them.

An n-gram hit alone says little: common phrases give false alarms, and one changed word in every n hides a copy. So rare
4-grams over tokens (numbers masked, punctuation and case gone) only nominate pieces, those that have enough of them on
about one diagonal; then the longest common subsequence of piece and row, inside a window as long as the piece, is weighed by
how rare each word is among the pieces. The result is the *coverage* of the piece, 0 to 1, and the longest *run* of
consecutive tokens they share.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pytest_distill.measuring.kernels.text import ONE, Bounds, Hashes

GRAM = 4
POSTINGS = 12  # pieces remembered for each n-gram; boilerplate needs no more to nominate a family of alike pieces
MIN_TOKENS = 8  # shorter items are common phrases, and left out
MIN_WORDS = 12  # items with fewer different words (numbers aside) say too little of their own: they count only verbatim
LONG = 384  # pieces longer than this are cut, so that part of a long passage is found too and alignment stays cheap
CUT = 256
FACTOR = np.uint64(0x9FB21C651E98DF25)
RAREST = 4.0
NUMBER = np.uint64(0x9E3779B97F4A7C15)  # stands for every number


Weights = NDArray[np.float64]


class Index(NamedTuple):
    """Pieces of text by their n-grams. Piece p has tokens `tokens[bounds[p] : bounds[p + 1]]` and belongs to item `owners[p]`."""

    tokens: Hashes
    verbatim: NDArray[np.bool_]  # pieces that count only when all of it stands in the row, numbers included
    weights: Weights
    grams: NDArray[np.int32]  # how many n-grams of the piece have a posting
    bounds: Bounds
    owners: Bounds
    bits: NDArray[np.uint8]  # a Bloom filter with one hash: most n-grams of a row end here
    slots: NDArray[np.int32]  # open addressing: index of the key, or -1
    keys: Hashes
    first: Bounds
    postings: NDArray[np.int32]  # (piece, position) pairs, those of key k at first[k] : first[k + 1]


class Overlaps(NamedTuple):
    """For each row: the best item (-1 where none came near), its coverage, the longest run, and the tokens it lies between."""

    item: Bounds
    coverage: Weights
    run: Bounds
    start: Bounds
    end: Bounds


@njit(nogil=True, cache=True)
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(32))


@njit(nogil=True, cache=True)
def _gram(hashes: Hashes, first: int, size: int) -> np.uint64:
    value = np.uint64(0)
    for at in range(first, first + size):
        value = value * FACTOR + (NUMBER if hashes[at] & ONE else hashes[at])
    return _mixed(value)


@njit(nogil=True, cache=True)
def _grams(
    hashes: Hashes, bounds: Bounds, size: int, keys: Hashes, pieces: NDArray[np.int32], positions: NDArray[np.int32]
) -> int:
    count = 0
    for piece in range(len(bounds) - 1):
        for at in range(bounds[piece], bounds[piece + 1] - size + 1):
            keys[count] = _gram(hashes, at, size)
            pieces[count] = piece
            positions[count] = at - bounds[piece]
            count += 1
    return count


@njit(nogil=True, cache=True)
def _fill(keys: Hashes, slots: NDArray[np.int32], bits: NDArray[np.uint8]) -> None:
    mask, wide = np.uint64(len(slots) - 1), np.uint64(len(bits) * 8 - 1)
    for index in range(len(keys)):
        bit = (keys[index] >> np.uint64(20)) & wide
        bits[bit >> np.uint64(3)] |= np.uint8(1) << np.uint8(bit & np.uint64(7))
        slot = keys[index] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = index


@njit(nogil=True, cache=True)
def _align(
    piece: Hashes, weights: Weights, row: Hashes, previous: Weights, current: Weights, runs: NDArray[np.int32]
) -> tuple[float, int]:
    """Weight of the heaviest common subsequence, and the most words in one common run (numbers carry it on, uncounted)."""
    width = len(row)
    previous[: width + 1] = 0.0
    runs[: width + 1] = 0
    longest = 0
    for i in range(len(piece)):
        token, weight = piece[i], weights[i]
        counted = 0 if token & ONE else 1
        current[0] = 0.0
        diagonal = 0
        for j in range(width):
            above = runs[j + 1]
            if token == row[j] or token & row[j] & ONE:
                current[j + 1] = previous[j] + weight
                runs[j + 1] = diagonal + counted
                longest = max(longest, diagonal + counted)
            else:
                current[j + 1] = max(previous[j + 1], current[j])
                runs[j + 1] = 0
            diagonal = above
        previous, current = current, previous
    return previous[width], longest


@njit(nogil=True, cache=True)
def _stands(row: Hashes, start: int, piece: Hashes) -> bool:
    """Whether all of `piece` stands in the row from `start` on, numbers included."""
    if start < 0 or start + len(piece) > len(row):
        return False
    at = 0
    while at < len(piece) and row[start + at] == piece[at]:
        at += 1
    return at == len(piece)


@njit(nogil=True, cache=True)
def _search(hashes: Hashes, bounds: Bounds, size: int, share: float, most: float, index: Index, found: Overlaps) -> None:
    mask, wide = np.uint64(len(index.slots) - 1), np.uint64(len(index.bits) * 8 - 1)
    lead = np.uint64(1)
    for _ in range(size - 1):
        lead *= FACTOR
    hits = np.zeros(len(index.bounds) - 1, np.int32)
    touched = np.empty(len(index.bounds) - 1, np.int32)
    log = np.empty((1024, 3), np.int32)  # piece, diagonal (row position - piece position), row position
    scratch, other, runs = np.empty(1, np.float64), np.empty(1, np.float64), np.empty(1, np.int32)
    for row in range(len(bounds) - 1):
        begin, stop = bounds[row], bounds[row + 1]
        seen, logged = 0, 0
        rolling = np.uint64(0)
        for at in range(begin - size + 1, stop - size + 1):
            token = hashes[at + size - 1]
            rolling = rolling * FACTOR + (NUMBER if token & ONE else token)
            if at < begin:
                continue
            key = _mixed(rolling)
            rolling -= (NUMBER if hashes[at] & ONE else hashes[at]) * lead
            bit = (key >> np.uint64(20)) & wide
            if not (index.bits[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7))) & np.uint8(1):
                continue
            slot = key & mask
            while index.slots[slot] >= 0 and index.keys[index.slots[slot]] != key:
                slot = (slot + np.uint64(1)) & mask
            if index.slots[slot] < 0:
                continue
            entry = index.slots[slot]
            for posting in range(index.first[entry], index.first[entry + 1]):
                piece = index.postings[posting, 0]
                if hits[piece] == 0:
                    touched[seen] = piece
                    seen += 1
                hits[piece] += 1
                if logged == len(log):
                    grown = np.empty((2 * logged, 3), np.int32)
                    grown[:logged] = log
                    log = grown
                log[logged, 0] = piece
                log[logged, 1] = at - begin - index.postings[posting, 1]
                log[logged, 2] = at - begin
                logged += 1
        for which in range(seen):
            piece = touched[which]
            first, last = index.bounds[piece], index.bounds[piece + 1]
            length = last - first
            needed = min(max(1.0, share * index.grams[piece]), most)
            enough = hits[piece] >= needed
            hits[piece] = 0
            if not enough:
                continue
            if index.verbatim[piece]:
                for entry in range(logged):
                    where = log[entry, 1]
                    if log[entry, 0] == piece and _stands(hashes[begin:stop], where, index.tokens[first:last]):
                        found.item[row], found.coverage[row] = index.owners[piece], 1.0
                        found.run[row] = max(found.run[row], length)
                        found.start[row], found.end[row] = where, where + length
                        break
                continue
            # Where do most hits lie on about one diagonal? Bins of an eighth of the piece, two neighbours at a time.
            reach = length // 8 + 4
            bins = np.zeros((stop - begin + length) // reach + 2, np.int32)
            for entry in range(logged):
                if log[entry, 0] == piece:
                    bins[(log[entry, 1] + length) // reach] += 1
            best, most_hits = 0, 0
            for low in range(len(bins) - 1):
                if bins[low] + bins[low + 1] > most_hits:
                    best, most_hits = low, bins[low] + bins[low + 1]
            if most_hits < needed:
                continue
            nearest = best * reach - length
            low, high = max(0, nearest - reach), min(stop - begin, nearest + 3 * reach + length)
            if high - low + 1 > len(scratch):
                scratch, other = np.empty(2 * (high - low + 1), np.float64), np.empty(2 * (high - low + 1), np.float64)
                runs = np.empty(2 * (high - low + 1), np.int32)
            window = hashes[begin + low : begin + high]
            weight, longest = _align(index.tokens[first:last], index.weights[first:last], window, scratch, other, runs)
            coverage = weight / index.weights[first:last].sum()
            found.run[row] = max(found.run[row], longest)
            if found.item[row] >= 0 and coverage <= found.coverage[row]:
                continue
            found.item[row], found.coverage[row] = index.owners[piece], coverage
            found.start[row], found.end[row] = stop - begin, 0
            for entry in range(logged):
                if log[entry, 0] == piece and nearest <= log[entry, 1] < nearest + 2 * reach:
                    found.start[row] = min(found.start[row], log[entry, 2])
                    found.end[row] = max(found.end[row], log[entry, 2] + size)


def build(hashes: Hashes, bounds: Bounds) -> Index:
    """The index over items given as tokens (see `text.tokens`). Items under MIN_TOKENS are left out: they own no piece."""
    cuts: list[tuple[int, int]] = []
    owners: list[int] = []
    verbatim: list[bool] = []
    for item in range(len(bounds) - 1):
        begin, end = int(bounds[item]), int(bounds[item + 1])
        if end - begin < MIN_TOKENS:
            continue
        parts = 1 if end - begin <= LONG else -(-(end - begin) // CUT)
        edges = [begin + (end - begin) * part // parts for part in range(parts + 1)]
        cuts += pairwise(edges)
        owners += [item] * parts
        verbatim += [_different(hashes[a:b]) < MIN_WORDS for a, b in pairwise(edges)]
    tokens = np.concatenate([hashes[a:b] for a, b in cuts]) if cuts else np.empty(0, np.uint64)
    bounds = np.cumsum([0, *(b - a for a, b in cuts)]).astype(np.int64)
    return _index(tokens, bounds, np.array(owners, np.int64), np.array(verbatim, np.bool_))


def _different(tokens: Hashes) -> int:
    """How many different words there are, numbers aside."""
    return len(np.unique(tokens[tokens & ONE == 0]))


def _index(tokens: Hashes, bounds: Bounds, owners: Bounds, verbatim: NDArray[np.bool_]) -> Index:
    keys, piece, position = np.empty(len(tokens), np.uint64), np.empty(len(tokens), np.int32), np.empty(len(tokens), np.int32)
    count = _grams(tokens, bounds, GRAM, keys, piece, position)
    order = np.argsort(keys[:count], kind="stable")
    keys, piece, position = keys[order], piece[order], position[order]
    fresh = np.concatenate([[True], (keys[1:] != keys[:-1]) | (piece[1:] != piece[:-1])])[:count]  # one posting a piece
    keys, piece, position = keys[fresh], piece[fresh], position[fresh]
    distinct, begins = np.unique(keys, return_index=True)
    rank = np.arange(len(keys)) - np.repeat(begins, np.diff(np.append(begins, len(keys))))
    few = rank < POSTINGS
    kept = np.bincount(np.searchsorted(distinct, keys[few]), minlength=len(distinct))
    slots = np.full(_power(4 * len(distinct)), -1, np.int32)
    bits = np.zeros(_power(4 * len(distinct)), np.uint8)  # 32 bits an n-gram: one in 32 strangers passes
    _fill(distinct, slots, bits)
    return Index(
        tokens=tokens,
        verbatim=verbatim,
        weights=_rarity(tokens, bounds),
        grams=np.bincount(piece[few], minlength=len(bounds) - 1).astype(np.int32),
        bounds=bounds,
        owners=owners,
        bits=bits,
        slots=slots,
        keys=distinct,
        first=np.concatenate([[0], np.cumsum(kept)]).astype(np.int64),
        postings=np.stack([piece[few], position[few]], axis=1),
    )


def _rarity(tokens: Hashes, bounds: Bounds) -> Weights:
    """1 + log((pieces + 1) / pieces with the token), the logarithm up to 4, for every token of every piece; 0 for numbers.

    Never near 0, so that a family of items that differ in one name each is not weighed by that name alone.
    """
    pieces = len(bounds) - 1
    owner = np.repeat(np.arange(pieces), np.diff(bounds))
    distinct, index = np.unique(tokens, return_inverse=True)
    pairs = np.unique(index.astype(np.int64) * pieces + owner)
    spread = np.bincount(pairs // max(pieces, 1), minlength=len(distinct))
    return np.where(tokens & ONE, 0.0, 1 + np.minimum(np.log((pieces + 1) / spread), RAREST)[index])


def search(index: Index, hashes: Hashes, bounds: Bounds, *, share: float = 0.15, most: float = 12.0) -> Overlaps:
    """The best item of each row. A piece is aligned when `share` of its n-grams, or `most` of them, lie close together."""
    rows = len(bounds) - 1
    counts = [np.zeros(rows, np.int64) for _ in range(4)]
    found = Overlaps(counts[0] - 1, np.zeros(rows), *counts[1:])
    if len(index.keys):
        _search(hashes, bounds, GRAM, share, most, index, found)
    return found


def _power(count: int) -> int:
    return 1 << max(6, int(max(count, 1) - 1).bit_length())
