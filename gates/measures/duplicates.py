"""Rows that say what an earlier row said already, over the whole batch: word for word, or nearly so."""

from __future__ import annotations

import os

import polars as pl

from pytest_distill import measure
from pytest_distill.measuring.folding import collapsed, folded
from pytest_distill.policy.model import Duplicates

SHINGLE = 5  # words


@measure(version=1, scope="batch")
def exact_duplicate_of(full_text: pl.Series) -> pl.Series:
    """Position of the first row with the same text, null for first rows and for blank ones.

    Prompt and answer count together, so equal short answers to different prompts are none. Case, the way a letter is composed
    and the amount of whitespace make no difference.
    """
    frame = pl.DataFrame({"text": collapsed(full_text)}).with_row_index("row")
    first = pl.col("row").first().over("text").cast(pl.Int64)
    copy = (pl.col("row") != first) & (pl.col("text") != "")
    return frame.select(pl.when(copy).then(first)).to_series()


@measure(version=1, scope="batch", config="duplicates")
def near_duplicate_of(full_text: pl.Series, config: Duplicates) -> pl.Series:
    """Struct: `of`, position of the most similar row kept before (null where there is none), and `jaccard`, the similarity to it.

    In order, a row is a near duplicate when the Jaccard similarity of its set of word 5-grams to that of an earlier row that is
    none reaches `duplicates.similarity`. The answer is exact (see `kernels.join`): every pair at or above the bound is found,
    and no other. Texts under five words are compared as a whole. Exact duplicates are near duplicates too, with 1.0.
    """
    from pytest_distill.measuring.kernels.buffers import flat
    from pytest_distill.measuring.kernels.join import near_duplicates

    threads = os.cpu_count() or 1
    of, jaccard = near_duplicates(flat(folded(full_text)), size=SHINGLE, threshold=config.similarity, threads=threads)
    frame = pl.DataFrame({"of": of, "jaccard": jaccard})
    return frame.select(pl.when(pl.col("of") >= 0).then("of").alias("of"), "jaccard").to_struct("near_duplicate_of")
