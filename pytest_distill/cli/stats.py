"""`distill stats ID`: what each column of a batch holds, and what the standard suite measures of its rows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.cli.common import Subparsers

SPREAD = ("min", "median", "mean", "p95", "max")


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("stats", parents=[common], help="what the columns and measures hold", description=__doc__)
    parser.add_argument("batch", metavar="ID")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say
    from pytest_distill.measuring.columns import Columns
    from pytest_distill.measuring.statistics import Missing, figures, spread

    workspace = open_workspace(args, ad_hoc=True)
    batch = open_batch(workspace.batch_folder(args.batch))
    # One column in memory at a time.
    found = [
        {"column": column.name, "type": column.type, **column_facts(batch.column(column.name))}
        for column in batch.manifest.columns
    ]
    measured, missing = [], {}
    for name, values in figures(Columns.of(workspace, batch)):
        if isinstance(values, Missing):
            missing[name] = values.why
        else:
            measured.append({"measure": name, "nulls": values.null_count(), **spread(values)._asdict()})
    if args.json:
        print_json({"batch": batch.id, "rows": batch.rows, "columns": found, "measures": measured, "not_measured": missing})
        return
    head = ("column", "type", "nulls", "blank", "distinct", "of")
    print_table(
        (*head, *SPREAD), [(*(c[name] for name in head), *_spread(c)) for c in found], title=f"{batch.id}: {batch.rows:,} rows"
    )
    if measured:
        print_table(("measure", "nulls", *SPREAD), [(m["measure"], m["nulls"], *_spread(m)) for m in measured])
    for name, why in missing.items():
        say(args, f"{name}: {why}")


def _spread(facts: dict[str, Any]) -> list[str]:
    from pytest_distill.release.wording import value_text

    return ["" if facts[name] is None else value_text(facts[name]) for name in SPREAD]


def column_facts(values: pl.Series) -> dict[str, Any]:
    """Nulls, blank texts, distinct values, and the spread of values, or of characters where they are texts (`of` says which)."""
    import polars as pl

    from pytest_distill.measuring.statistics import spread

    text = values.dtype == pl.String
    return {
        "nulls": values.null_count(),
        "blank": int((values.str.strip_chars() == "").sum()) if text else None,
        "distinct": values.n_unique(),
        "of": "characters" if text else "values",
        **spread(values.str.len_chars() if text else values)._asdict(),
    }
