"""Figures that preprocessing wrote beside the rows, against the bounds of the policy."""

from __future__ import annotations

import polars as pl

from pytest_distill import measure
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.model import Diagnostics


@measure(version=1, config="diagnostics")
def diagnostic_over(
    config: Diagnostics,
    diagnostic_repetition: pl.Series | None = None,
    diagnostic_symbols: pl.Series | None = None,
    diagnostic_special_characters: pl.Series | None = None,
    diagnostic_personal_data: pl.Series | None = None,
    diagnostic_perplexity_z: pl.Series | None = None,
    diagnostic_toxicity: pl.Series | None = None,
) -> pl.Series:
    """The figures of a row that are over their bound, or not known, in words; null where there is none.

    Raises E-MEASURE where the policy bounds a figure that the batch has no column of: nobody measured it.
    """
    columns = {
        "repetition": diagnostic_repetition,
        "symbols": diagnostic_symbols,
        "special_characters": diagnostic_special_characters,
        "personal_data": diagnostic_personal_data,
        "perplexity": diagnostic_perplexity_z,
        "toxicity": diagnostic_toxicity,
    }
    said = []
    for name, bound in config.max.items():
        column = columns[name]
        if column is None:
            raise DistillError(Code.MEASURE, f"the policy bounds {name}, which preprocessing of this batch has not measured")
        value = column.cast(pl.Float64).fill_nan(None)
        over = pl.format("{} {} > {}", pl.lit(name), pl.lit(value.round(4)), pl.lit(f"{bound:g}"))
        unknown = pl.lit(f"{name} is not known")
        said.append(pl.when(pl.lit(value.is_null())).then(unknown).when(pl.lit(value > bound)).then(over))
    joined = pl.select(pl.concat_str(said, separator="; ", ignore_nulls=True)).to_series()
    return joined.replace("", None)
