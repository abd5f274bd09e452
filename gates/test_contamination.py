"""Rows that hold items of a forbidden benchmark."""

import polars as pl

from pytest_distill import gate


@gate(
    "contamination.ngram",
    rejects="contamination",
    applies={"kind": ["sft", "preference", "rag", "text"], "policy": "contamination.benchmarks"},
    # Measured on GSM8K: test questions with all numbers and a word in twelve changed have a coverage of 0.74 and more; of the
    # 7,473 questions of the training split, which differ but sound alike, 5 are over one of the two bounds.
    limits={"min_coverage": 0.78, "min_run": 30},
)
def test_contamination(contamination, quarantine, limits):
    """No row holds an item of a forbidden benchmark, nor an edited copy of one."""
    figure = contamination.struct.field
    over = (figure("coverage") >= limits.min_coverage) | (figure("run") >= limits.min_run)
    found = pl.select(pl.concat_str(figure("item"), pl.lit(": "), figure("piece"))).to_series()
    quarantine(over, found=found)
