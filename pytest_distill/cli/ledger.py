"""`distill ledger`: the audit trail of the workspace, checked and shown."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
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
    _form(show)
    add_json_option(show)
    show.set_defaults(run=run_show)
    export = actions.add_parser("export", parents=[common], help="the whole chain, or its audit lines, to a file")
    export.add_argument("--out", metavar="FILE", type=Path, required=True, help="a file that does not exist yet")
    _form(export)
    export.set_defaults(run=run_export)


def _form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audit",
        action="store_true",
        help="one line for each seal: [timestamp] [batch] [what] [why] [where] [how] [gates]",
    )


def run_verify(args: argparse.Namespace) -> None:
    from pytest_distill import ledger
    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.release.runs import unknown_seals

    workspace = open_workspace(args, ad_hoc=True)
    head = ledger.verify(workspace.ledger)
    ledger.verify(workspace.incidents)
    if unknown := unknown_seals(workspace):
        raise DistillError(
            Code.LEDGER, f"its tail was cut or replaced: {unknown[0]}, which it does not hold", "Restore it from a copy."
        )
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
    if args.audit:
        sys.stdout.writelines(f"{entry.audit_line()}\n" for entry in entries if entry.event == "seal")
        return
    if args.json:
        print_json([entry.model_dump(mode="json") for entry in entries])
        return
    rows = [(e.seq, e.at, e.event, e.batch, ", ".join(f"{k}={v}" for k, v in e.facts.items())) for e in entries]
    print_table(("#", "at", "event", "batch", "facts"), rows)


def run_export(args: argparse.Namespace) -> None:
    from pytest_distill import ledger, storage
    from pytest_distill.cli.common import open_workspace, say
    from pytest_distill.errors import Code, DistillError

    path = open_workspace(args, ad_hoc=True).ledger
    entries = ledger.entries(path)
    if args.out.exists():
        raise DistillError(Code.EXPORT_EXISTS, f"{args.out} already exists", "Nothing is ever overwritten.")
    chosen = [e.audit_line().encode() for e in entries if e.event == "seal"] if args.audit else [e.to_line() for e in entries]
    storage.write_bytes(args.out, b"".join(line + b"\n" for line in chosen))
    say(args, f"{len(chosen):,} lines; the digest that vouches for the whole chain: {ledger.verify(path).sha256}")
