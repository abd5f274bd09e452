"""Findings: the offending piece of each row, or null. A linear-time prefilter over all rows, Python for the few that match."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl


def nothing_found(rows: int) -> pl.Series:
    """A finding that every row passes."""
    return pl.Series([None], dtype=pl.String).new_from_index(0, rows)


def first_match(texts: pl.Series, pattern: str) -> pl.Series:
    """The first match of `pattern` (Rust regex: linear time) in each text, null where there is none."""
    return pl.select(pl.lit(texts).str.extract(pattern, 0)).to_series()


def examined(examine: Callable[..., str | None], candidates: pl.Series, *columns: pl.Series) -> pl.Series:
    """`examine(*values)` for the rows marked in `candidates`, null for all others.

    `candidates` is a mask of the same length as every column; a null in it counts as no candidate.
    """
    rows = candidates.fill_null(value=False).arg_true()
    findings: list[str | None] = [None] * len(candidates)
    chosen = [column.gather(rows) for column in columns]
    for row, *values in zip(rows, *chosen, strict=True):
        findings[row] = examine(*values)
    return pl.Series(findings, dtype=pl.String)


def first_of(*findings: pl.Series) -> pl.Series:
    """The first finding that is not null, row by row."""
    return pl.select(pl.coalesce([pl.lit(finding) for finding in findings])).to_series()
