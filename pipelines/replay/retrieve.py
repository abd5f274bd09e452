"""Retrieval by Jaccard similarity of words, exact at any size: an inverted index over 64-bit word hashes.

    J(Q, D) = |Q ∩ D| / |Q ∪ D|

of the sets of words of the task and of a document (its title and its content). Only documents that share a word with the task are
touched; their common words are counted by one `bincount` over the postings of the task's words. An approximate index (HNSW) would
have to be searched for what it missed; here that question does not come up. `benchmarks/retrieval.py` has the figures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pytest_distill.measuring.folding import folded_beyond_ascii
from pytest_distill.measuring.kernels.buffers import flat
from pytest_distill.measuring.kernels.text import tokens


class Found(NamedTuple):
    """A row of the corpus and its similarity to the query."""

    row: int
    similarity: float


class Index:
    """`texts`: (rows,) strings without nulls. Holds 12 bytes for each different word of each row."""

    def __init__(self, texts: pl.Series) -> None:
        hashes: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        rows: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        for first, block in flat(folded_beyond_ascii(texts)).blocks():
            found, _, _, bounds = tokens(block)
            owners = np.repeat(np.arange(len(block), dtype=np.int32), np.diff(bounds))
            order = np.lexsort((found, owners))
            found, owners = found[order], owners[order]
            new = np.ones(len(found), np.bool_)
            new[1:] = (found[1:] != found[:-1]) | (owners[1:] != owners[:-1])
            hashes.append(found[new])
            rows.append(owners[new] + np.int32(first))
        every, owners = np.concatenate(hashes), np.concatenate(rows)
        order = np.argsort(every, kind="stable")
        self._sizes = np.bincount(owners, minlength=len(texts)).astype(np.int32)
        self._keys, starts = np.unique(every[order], return_index=True)
        self._starts = np.append(starts, len(every))
        self._postings = owners[order]

    def __len__(self) -> int:
        return len(self._sizes)

    def search(self, query: str, count: int) -> list[Found]:
        """The `count` most similar rows, best first, equal ones in their order; never rows without a common word."""
        asked = pl.Series([query])
        words = np.unique(tokens(flat(asked if query.isascii() else folded_beyond_ascii(asked)))[0])
        places = np.searchsorted(self._keys, words)
        inside = places < len(self._keys)
        known = places[inside][self._keys[places[inside]] == words[inside]]
        if not len(known) or count < 1:
            return []
        postings = np.concatenate([self._postings[self._starts[place] : self._starts[place + 1]] for place in known])
        common = np.bincount(postings, minlength=len(self))
        rows = np.flatnonzero(common)
        similarity = common[rows] / (len(words) + self._sizes[rows] - common[rows])
        if len(rows) > count:
            least = np.partition(similarity, -count)[-count]
            rows, similarity = rows[similarity >= least], similarity[similarity >= least]
        best = np.lexsort((rows, -similarity))[:count]
        return [Found(int(rows[place]), float(similarity[place])) for place in best]
