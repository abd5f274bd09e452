"""Replay's retrieval against comparing the task with every document: `python -P benchmarks/retrieval.py [DOCUMENTS …]`.

Both answer the same queries in one run, and their answers have to be equal. The inverted index is exact, so there is no recall to
report; an approximate index would first have to be measured against it.
"""

from __future__ import annotations

import random
import re
import sys
import time

import polars as pl

from pytest_distill.pipelines.replay.retrieve import Index

SIZES = (446, 10_000, 100_000)
WORDS, VOCABULARY, QUERIES, COUNT = 60, 5000, 15, 8
_WORD = re.compile(r"[^\W\d_]+|\d+")


def texts(count: int) -> list[str]:
    """Documents of 60 words, drawn by Zipf's law: a few words are in nearly every document."""
    drawn = random.Random(1)
    vocabulary = ["".join(drawn.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(VOCABULARY)]
    weights = [1 / (rank + 1) for rank in range(VOCABULARY)]
    return [" ".join(words) for words in (drawn.choices(vocabulary, weights, k=WORDS) for _ in range(count))]


def compared(query: str, sets: list[set[str]]) -> list[int]:
    asked = set(_WORD.findall(query.casefold()))
    scored = [(-len(asked & each) / len(asked | each), row) for row, each in enumerate(sets) if asked & each]
    return [row for _, row in sorted(scored)[:COUNT]]


def main() -> None:
    for size in [int(given) for given in sys.argv[1:]] or SIZES:
        documents = texts(size)
        queries = [" ".join(text.split()[:15]) for text in texts(size + QUERIES)[-QUERIES:]]
        sets = [set(_WORD.findall(text.casefold())) for text in documents]
        Index(pl.Series(documents[:2]))  # compiles
        began = time.perf_counter()
        index = Index(pl.Series(documents))
        built = time.perf_counter() - began
        ours, theirs = [], []
        for query in queries:
            began = time.perf_counter()
            found = [hit.row for hit in index.search(query, COUNT)]
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            wanted = compared(query, sets)
            theirs.append(time.perf_counter() - began)
            assert found == wanted, "the answers differ"
        mine, other = min(ours), min(theirs)  # the least disturbed ones
        print(
            f"{size:>9,} documents: index built in {built:.2f} s; a query {mine * 1e3:.2f} ms, comparing with every document "
            f"{other * 1e3:.1f} ms: {other / mine:.0f} times"
        )


if __name__ == "__main__":
    main()
