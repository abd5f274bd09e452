"""`distill stats ID`: what each column of a batch holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("stats", parents=[common], help="what each column of a batch holds", description=__doc__)
    parser.add_argument("batch", metavar="ID")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.release.wording import value_text

    batch = open_batch(open_workspace(args, ad_hoc=True).batch_folder(args.batch))
    # One column in memory at a time.
    found = [
        {"column": column.name, "type": column.type, **column_facts(batch.column(column.name))}
        for column in batch.manifest.columns
    ]
    if args.json:
        print_json({"batch": batch.id, "rows": batch.rows, "columns": found})
        return
    head = ("column", "type", "nulls", "blank", "distinct", "of", "min", "median", "mean", "p95", "max")
    figures = ("min", "median", "mean", "p95", "max")
    rows = [
        (*(c[name] for name in head[:6]), *("" if c[name] is None else value_text(c[name]) for name in figures)) for c in found
    ]
    print_table(head, rows, title=f"{batch.id}: {batch.rows:,} rows")


def column_facts(values: pl.Series) -> dict[str, Any]:
    """Nulls, blank texts, distinct values, and the spread of values, or of characters where they are texts (`of` says which)."""
    import polars as pl

    text = values.dtype == pl.String
    measured = values.str.len_chars() if text else values.cast(pl.Float64) if values.dtype == pl.Boolean else values
    finite = measured.drop_nulls()
    empty = not len(finite)
    return {
        "nulls": values.null_count(),
        "blank": int((values.str.strip_chars() == "").sum()) if text else None,
        "distinct": values.n_unique(),
        "of": "characters" if text else "values",
        "min": None if empty else finite.min(),
        "median": None if empty else finite.median(),
        "mean": None if empty else finite.mean(),
        "p95": None if empty else finite.quantile(0.95, interpolation="nearest"),
        "max": None if empty else finite.max(),
    }
