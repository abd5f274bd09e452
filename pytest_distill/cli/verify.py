"""`distill verify DIR`: anyone checks an export. Needs no workspace."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("verify", parents=[common], help="check an export", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument(
        "--key", metavar="PUB.pem", type=Path, help="the signer's public key; without it only consistency is checked"
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    import dataclasses

    from pytest_distill.cli.common import print_json, print_table, say
    from pytest_distill.release.verify import verify

    found = verify(args.folder, args.key)
    if args.json:
        print_json(dataclasses.asdict(found))
        return
    signature = (
        "checked: made with this key" if found.signature_checked else "NOT checked: no --key given" if found.signed else "none"
    )
    facts = [
        ("batch", f"{found.batch_id} ({found.batch_sha256})"),
        ("run", found.run_id),
        ("rows", found.rows),
        ("gates", f"{found.gates}, {len(found.waived)} waived{': ' if found.waived else ''}{', '.join(found.waived)}"),
        ("files", len(found.files)),
        ("signature", signature),
    ]
    print_table(("verified", str(args.folder)), facts)
    if not found.signature_checked:
        say(args, "Without a checked signature this says that the export is whole and consistent, not who made it.")
