"""Rows that hold items of a forbidden benchmark."""

import polars as pl

from pytest_distill import gate
from pytest_distill.gates.measures.rephrased import bound


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


@gate(
    "contamination.meaning",
    rejects="contamination",
    applies={
        "kind": ["sft", "preference", "rag", "text"],
        "policy": ["contamination.benchmarks", "contamination.semantic"],
    },
    limits={"min_score": 0.0},
)
def test_contamination_by_meaning(rephrased, quarantine, limits):
    """No row holds an item of a forbidden benchmark in other words: same meaning, and the same numbers, names and examples."""
    figure = rephrased.struct.field
    why = "{} (score {}, cosine {}): {}"
    found = pl.format(why, figure("item"), figure("score").round(2), figure("cosine").round(2), figure("piece"))
    quarantine(figure("score") >= bound(limits.min_score), found=pl.select(found).to_series())
