"""`distill prune`: removes what may go. The audit trail stays forever, gate results five years, everything else two, at least."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("prune", parents=[common], help="remove what need not be kept any more", description=__doc__)
    parser.add_argument("batches", metavar="ID", nargs="*", help="only these batches with their runs; refused if one has to stay")
    parser.add_argument("--yes", action="store_true", help="do it; without it, only say what would go")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say
    from pytest_distill.release.incidents import removed
    from pytest_distill.release.retention import prune

    workspace = open_workspace(args, ad_hoc=True)
    for what in removed(workspace):
        say(args, f"warning: {what}, and is gone: somebody removed it; `distill incidents` has it")
    gone = prune(workspace, args.batches, really=args.yes)
    rows = [(held.path.relative_to(workspace.root).as_posix(), held.what, str(held.until)) for held in gone]
    if args.json:
        print_json([dict(zip(("where", "what", "kept_until"), row, strict=True)) for row in rows])
        return
    print_table(("removed" if args.yes else "may go", "what", "had to stay until"), rows)
    if gone and not args.yes:
        say(args, "Nothing was removed. `distill prune --yes` does it.")
