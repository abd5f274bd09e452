"""Conditions on rows, as people type them: SQL over columns, measures and the lengths of texts.

    response_tokens > 200 AND quality.symbol_share < 0.1 AND instruction LIKE '%Python%'

An expression of SQL computes and compares; it opens no file and runs no code of the workspace.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from pytest_distill.errors import Code, DistillError, one_line

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.measuring.columns import Columns

LENGTHS = ("tokens", "words", "chars")  # of a text column: response_tokens, response_words, response_chars
HINT = "Such as: response_tokens > 200 AND source = 'web'."


def matching(condition: str, columns: Columns) -> pl.Series:
    """One truth value a row; a row of which it cannot be said does not match.

    Raises E-USAGE for what is no condition or names what there is not, E-MEASURE for a measure that cannot be computed.
    """
    import polars as pl

    batch = columns.scan.batch
    try:
        wanted = pl.sql_expr(condition)
    except pl.exceptions.PolarsError as error:
        raise DistillError(Code.USAGE, f"--where: {one_line(str(error))}", HINT) from error
    names = sorted(set(wanted.meta.root_names()))
    if not names:
        raise DistillError(Code.USAGE, f"--where: {condition!r} names no column", HINT)
    frame = pl.DataFrame([_column(name, columns).alias(name) for name in names])
    try:
        found = frame.select(wanted).to_series()
    except pl.exceptions.PolarsError as error:
        raise DistillError(Code.USAGE, f"--where: {one_line(str(error))}", HINT) from error
    if found.dtype != pl.Boolean:
        raise DistillError(Code.USAGE, f"--where: {condition!r} is neither true nor false", HINT)
    if len(found) != batch.rows:  # over all rows at once, such as AVG(score) > 1
        raise DistillError(Code.USAGE, f"--where: {condition!r} is not about single rows", HINT)
    return found.fill_null(value=False)


def _column(name: str, columns: Columns) -> pl.Series:
    import polars as pl

    batch = columns.scan.batch
    if name in batch.column_names:
        return batch.column(name)
    if name in columns.measures:
        return pl.concat(list(columns.parts(name)), rechunk=True)
    text, _, length = name.rpartition("_")
    if length in LENGTHS and any(column.name == text and column.type == "string" for column in batch.manifest.columns):
        return _length(batch.column(text), length, columns)
    texts = [f"{column.name}_{length}" for column in batch.manifest.columns if column.type == "string" for length in LENGTHS]
    near = difflib.get_close_matches(name, [*batch.column_names, *texts, *columns.measures], n=3)
    told = f"Did you mean {', '.join(near)}?" if near else f"Columns: {', '.join(batch.column_names)}; measures: `distill stats`."
    raise DistillError(Code.USAGE, f"--where: there is no column or measure {name!r}", told)


def _length(texts: pl.Series, length: str, columns: Columns) -> pl.Series:
    """A length of one column, measured as the suite measures answers; a null has none."""
    if length == "chars":
        return texts.str.len_chars()
    measure = columns.measures[f"answer_{length}"]
    config = {"config": columns.scan.policy.table(measure.config)} if measure.config else {}
    return measure.function(answer_text=texts.fill_null(""), **config).set(texts.is_null(), None)
