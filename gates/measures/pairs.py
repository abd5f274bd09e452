"""Preference pairs whose answers are the same."""

from __future__ import annotations

import polars as pl

from pytest_distill import measure


@measure(version=1)
def same_pair(answer_text: pl.Series, rejected_text: pl.Series) -> pl.Series:
    """The answer of a pair whose chosen and rejected answers differ in white space and case at most; null for all others."""
    pairs = pl.DataFrame({"chosen": answer_text, "rejected": rejected_text})
    bare = [pl.col(name).str.to_lowercase().str.replace_all(r"[\s\p{Z}\p{Cf}]+", "") for name in pairs.columns]
    return pairs.select(pl.when(bare[0] == bare[1]).then("chosen")).to_series()
