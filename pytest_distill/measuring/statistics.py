"""For people who compare: the spread of a column, the measures of a batch that have one, and how far two columns lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_distill.errors import DistillError, one_line

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.measuring.columns import Columns

# Standard measures as `measure` or `measure.field`: numbers, and texts that say what was found, which count as found or not.
# Those that compare all rows of a batch are only looked up.
FIGURES = (
    "answer_tokens",
    "prompt_tokens",
    "answer_words",
    "language_confidence",
    "quality.duplicate_5",
    "quality.top_2",
    "quality.repeated_lines",
    "quality.symbol_share",
    "refusal",
    "near_duplicate_of.jaccard",
    "contamination.coverage",
)


class Spread(NamedTuple):
    """Five figures of the values that are there; None where there is none."""

    min: float | None
    median: float | None
    mean: float | None
    p95: float | None
    max: float | None


class Missing(NamedTuple):
    """A measure that has no figures here, and why."""

    why: str


def spread(values: pl.Series) -> Spread:
    """Of numbers and of truth values, which count as 0 and 1. Nulls and NaN are left out."""
    known = _known(values)
    if not len(known):
        return Spread(None, None, None, None, None)
    return Spread(known.min(), known.median(), known.mean(), known.quantile(0.95, interpolation="nearest"), known.max())  # type: ignore[arg-type]


def shift(before: pl.Series, after: pl.Series) -> float | None:
    """How far apart two columns lie: the largest distance of their cumulative distributions (two-sample Kolmogorov-Smirnov).

    0: the same values in the same shares; 1: no overlap. None where either has no value.
    """
    a, b = (np.sort(_known(values).to_numpy()) for values in (before, after))
    if not len(a) or not len(b):
        return None
    at = np.concatenate([a, b])
    apart = np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b))
    return float(apart.max())


def figures(columns: Columns) -> Iterator[tuple[str, pl.Series | Missing]]:
    """Every measure of `FIGURES` that this batch can have, with its values in batch order: numbers or truth values."""
    import polars as pl

    for figure in FIGURES:
        name, _, field = figure.partition(".")
        try:
            node = columns.node(name)
        except DistillError:
            continue  # rows of this kind have no such measure
        if node.measure.scope == "batch" and not columns.known(node):
            yield figure, Missing("compares all rows: there once the batch was judged")
            continue
        try:
            whole = pl.concat(list(columns.parts(name)), rechunk=True)
        except DistillError as error:
            yield figure, Missing(one_line(error.message))
            continue
        values = whole.struct.field(field) if field else whole
        yield figure, values.is_not_null() if values.dtype == pl.String else values


def _known(values: pl.Series) -> pl.Series:
    import polars as pl

    return values.cast(pl.Float64).fill_nan(None).drop_nulls()
