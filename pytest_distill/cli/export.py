"""`distill export ID`: a sealed batch leaves as JSONL, Parquet, or in the layout that Hugging Face datasets load."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser("export", parents=[common], help="leave, if sealed", description=__doc__)
    parser.add_argument("batch", metavar="ID")
    parser.add_argument("--format", choices=("jsonl", "parquet", "hf"), required=True)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--sign", metavar="KEY.pem", type=Path, help="ECDSA P-256 private key; needs the extra [sign]")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, say
    from pytest_distill.contracts.run import RunRecord
    from pytest_distill.release.export import export
    from pytest_distill.release.verdict import PUBLIC_EVIDENCE

    out = export(open_workspace(args, ad_hoc=True), args.batch, args.out, args.format, args.sign)
    record = RunRecord.load(out / PUBLIC_EVIDENCE)
    for waiver in (gate.waiver for gate in record.gates if gate.status == "waived" and gate.waiver):
        say(args, f"waived: {waiver.gate} until {waiver.expires}, by {waiver.who}: {waiver.reason}")
    rows = record.rows
    say(args, f"{rows.remaining:,} rows exported + {rows.quarantined:,} in quarantine = {rows.batch:,} rows of {args.batch}")
    say(args, "signed" if args.sign else "not signed")
    say(args, f"next: distill verify {shlex.quote(str(out))}{' --key PUB.pem' if args.sign else ''}")
    sys.stdout.write(f"{out}\n")
