"""`distill diff A B`: which rows were added, removed or changed between two batches."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

SHOWN = 10


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("diff", parents=[common], help="rows added, removed, changed", description=__doc__)
    parser.add_argument("before", metavar="A")
    parser.add_argument("after", metavar="B")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.batch.compare import compare
    from pytest_distill.cli.common import open_workspace, print_json, print_table

    workspace = open_workspace(args, ad_hoc=True)
    before, after = (open_batch(workspace.batch_folder(batch_id)) for batch_id in (args.before, args.after))
    found = compare(before, after)
    parts = {"added": found.added, "removed": found.removed, "changed": found.changed}
    columns = {"added": found.columns_added, "removed": found.columns_removed}
    if args.json:
        rows = {name: {"count": part.count, "ids": part.ids} for name, part in parts.items()}
        print_json({"by": found.by, **rows, "same": found.same, "columns": columns})
        return
    print_table(
        ("rows", "count", f"ids (the first {SHOWN})"),
        [*((name, part.count, ", ".join(part.ids[:SHOWN])) for name, part in parts.items()), ("the same", found.same, "")],
        title=f"{before.id} -> {after.id}, by {found.by}",
    )
    if named := [(name, ", ".join(names)) for name, names in columns.items() if names]:
        print_table(("columns", "names"), named)
