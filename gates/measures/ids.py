"""Ids that are missing or used twice."""

from __future__ import annotations

import polars as pl

from pytest_distill import measure


@measure(version=1, scope="batch")
def repeated_id(id: pl.Series) -> pl.Series:  # noqa: A002 - the column's name
    """The id of every row that has the id of an earlier row, "no id" for a row without one, null for all others.

    Ids are compared as they are written: ids of any type are welcome, and 1 and "1" never meet in one column.
    """
    frame = pl.DataFrame({"id": id.cast(pl.String)})
    again = ~pl.col("id").is_first_distinct()
    return frame.select(pl.when(pl.col("id").is_null()).then(pl.lit("no id")).when(again).then("id")).to_series()
