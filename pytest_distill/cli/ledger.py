"""`distill ledger`: the audit trail of the workspace, checked and shown."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("ledger", parents=[common], help="the audit trail", description=__doc__)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    verify = actions.add_parser("verify", parents=[common], help="check the whole chain")
    add_json_option(verify)
    verify.set_defaults(run=run_verify)
    show = actions.add_parser("show", parents=[common], help="its entries, oldest first")
    show.add_argument("--batch", metavar="ID", help="only entries about this batch")
    show.add_argument("-n", metavar="N", dest="count", type=int, help="only the last N")
    add_json_option(show)
    show.set_defaults(run=run_show)


def run_verify(args: argparse.Namespace) -> None:
    from pytest_distill import ledger
    from pytest_distill.cli.common import open_workspace, print_json, print_table

    head = ledger.verify(open_workspace(args, ad_hoc=True).ledger)
    if args.json:
        print_json({"entries": head.seq, "sha256": head.sha256})
    else:
        print_table(("entries", "SHA-256 that vouches for all of them"), [(head.seq, head.sha256)])


def run_show(args: argparse.Namespace) -> None:
    from pytest_distill import ledger
    from pytest_distill.cli.common import open_workspace, print_json, print_table

    entries = [entry for entry in ledger.entries(open_workspace(args, ad_hoc=True).ledger) if args.batch in (None, entry.batch)]
    if args.count is not None:
        entries = entries[max(0, len(entries) - args.count) :]
    if args.json:
        print_json([entry.model_dump(mode="json") for entry in entries])
        return
    rows = [(e.seq, e.at, e.event, e.batch, ", ".join(f"{k}={v}" for k, v in e.facts.items())) for e in entries]
    print_table(("#", "at", "event", "batch", "facts"), rows)
