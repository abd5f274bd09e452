"""`distill diff A B`: which rows were added, removed or changed between two batches, and which measures moved."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.batch.batch import Batch
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.policy.workspace import Workspace

SHOWN = 10
NUMERIC = ("int64", "float64", "bool")


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("diff", parents=[common], help="rows and measures that differ", description=__doc__)
    parser.add_argument("before", metavar="A")
    parser.add_argument("after", metavar="B")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.batch.compare import compare
    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.release.wording import value_text

    workspace = open_workspace(args, ad_hoc=True)
    before, after = (open_batch(workspace.batch_folder(batch_id)) for batch_id in (args.before, args.after))
    found = compare(before, after)
    parts = {"added": found.added, "removed": found.removed, "changed": found.changed}
    columns = {"added": found.columns_added, "removed": found.columns_removed}
    moved = measures(workspace, before, after)
    if args.json:
        rows = {name: {"count": part.count, "ids": part.ids} for name, part in parts.items()}
        print_json({"by": found.by, **rows, "same": found.same, "columns": columns, "measures": moved})
        return
    print_table(
        ("rows", "count", f"ids (the first {SHOWN})"),
        [*((name, part.count, ", ".join(part.ids[:SHOWN])) for name, part in parts.items()), ("the same", found.same, "")],
        title=f"{before.id} -> {after.id}, by {found.by}",
    )
    if named := [(name, ", ".join(names)) for name, names in columns.items() if names]:
        print_table(("columns", "names"), named)

    def sides(measure: dict[str, Any], name: str) -> str:
        a, b = (measure[side][name] for side in ("before", "after"))
        return "" if a is None or b is None else value_text(a) if a == b else f"{value_text(a)} -> {value_text(b)}"

    print_table(
        ("measure", "shift", "median", "mean", "p95"),
        [(m["measure"], value_text(round(m["shift"], 4)), *(sides(m, n) for n in ("median", "mean", "p95"))) for m in moved],
        title="measures, the largest shift first (0: the same distribution, 1: no overlap)",
    )


def measures(workspace: Workspace, before: Batch, after: Batch) -> list[dict[str, Any]]:
    """Numeric columns and standard measures that both have: spread on either side and how far they lie apart, that first."""
    from pytest_distill.measuring.statistics import shift, spread

    found = []
    old, new = _values(workspace, before), _values(workspace, after)
    for name in old.keys() & new.keys():
        apart = shift(old[name], new[name])
        if apart is not None:
            sides = {"before": spread(old[name])._asdict(), "after": spread(new[name])._asdict()}
            found.append({"measure": name, "shift": apart, **sides})
    return sorted(found, key=lambda facts: (-facts["shift"], facts["measure"]))


def _values(workspace: Workspace, batch: Batch) -> dict[str, pl.Series]:
    from pytest_distill.measuring.columns import Columns
    from pytest_distill.measuring.statistics import Missing, figures

    numbers = {column.name: batch.column(column.name) for column in batch.manifest.columns if column.type in NUMERIC}
    measured = {name: values for name, values in figures(Columns.of(workspace, batch)) if not isinstance(values, Missing)}
    return {**numbers, **measured}
