"""Rows that say what an earlier row said already."""

import polars as pl

from pytest_distill import gate


@gate(
    "duplicates.exact",
    rejects="duplicate_exact",
    limits={"max_duplicate_share": 0.5},
    applies={"kind": ["sft", "preference", "rag", "text"]},
)
def test_exact_duplicates(exact_duplicate_of, batch, quarantine, require, limits, full_text):
    """No row is the same as an earlier row; the first one stays."""
    copies = exact_duplicate_of.is_not_null()
    quarantine(copies, found=_note(batch.places(exact_duplicate_of)), text=full_text)
    require("share of exact duplicates", copies.mean(), at_most=limits.max_duplicate_share)


@gate(
    "duplicates.near",
    rejects="duplicate_near",
    limits={"max_duplicate_share": 0.5},
    applies={"kind": ["sft", "preference", "rag", "text"]},
)
def test_near_duplicates(near_duplicate_of, exact_duplicate_of, batch, quarantine, require, limits, full_text):
    """No row is nearly the same as an earlier row; the first one stays, and exact duplicates are another gate's matter."""
    of, jaccard = near_duplicate_of.struct.field("of"), near_duplicate_of.struct.field("jaccard")
    near = of.is_not_null()
    quarantine(near & exact_duplicate_of.is_null(), found=_note(batch.places(of), jaccard), text=full_text)
    require("share of near and exact duplicates", near.mean(), at_most=limits.max_duplicate_share)


def _note(place: pl.Series, jaccard: pl.Series | None = None) -> pl.Series:
    """Which earlier row it is, as text; null where there is none."""
    parts = [pl.lit("same as " if jaccard is None else "like "), place]
    if jaccard is not None:
        parts += [pl.lit(", Jaccard "), jaccard.round(2).cast(pl.String)]
    return pl.select(pl.concat_str(parts)).to_series()
