"""`distill report ID`: a run as one page that opens anywhere, or as a Markdown summary for a pull request."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser("report", parents=[common], help="a run as one HTML page, or as Markdown", description=__doc__)
    parser.add_argument("batch", metavar="ID")
    parser.add_argument("--run", dest="number", metavar="N", type=int, help="which run (default: the newest)")
    parser.add_argument("--format", choices=("html", "markdown"), default="html", help="default: html")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="default: report.html in the run's folder; Markdown goes to stdout"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill import storage
    from pytest_distill.cli.common import open_workspace
    from pytest_distill.report.judged import load

    judged = load(open_workspace(args, ad_hoc=True), args.batch, args.number)
    if args.format == "markdown":
        from pytest_distill.report.markdown import summary

        text = summary(judged.record, private_rows=judged.private_rows)
        if args.out is None:
            sys.stdout.write(text)
            return
        storage.write_bytes(args.out, text.encode())
    else:
        from pytest_distill.report.page import write

        args.out = write(judged, args.out)
    sys.stdout.write(f"{args.out}\n")
