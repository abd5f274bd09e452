"""A function of your own, from rows to rows: `module:function`. It is looked for in the workspace first.

It is called with the rows of BATCH, one dictionary each (with none, if no batch is named), and with the values of --set, --count
and --seed as keywords. What it gives, row by row, becomes the batch. Models that it opens with `open_model` are allowed, counted
and limited as the policy says.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from pytest_distill.cli import spending
from pytest_distill.contracts.manifest import BulkKind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("batch", metavar="BATCH", nargs="?", help="whose rows the function is given")
    parser.add_argument("--id", required=True, metavar="ID", help="the new batch's id")
    parser.add_argument("--kind", choices=("sft", "preference", "rag", "text"), help="default: that of BATCH, or sft")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a keyword, its value JSON or text")
    parser.add_argument("--count", type=int, metavar="N", help="rows that are planned; given to the function as count")
    parser.add_argument("--seed", type=int, metavar="S", help="given to the function as seed")
    parser.add_argument("--what", metavar="TEXT", help="what these rows are")
    parser.add_argument("--why", metavar="TEXT", help="why they exist")
    parser.add_argument("--spec", metavar="FILE", type=Path, help="the prompt or specification that the function follows")
    parser.add_argument("--spec-version", metavar="V", help="its version (default: the first digits of its digest)")
    parser.add_argument("--bulk-kind", choices=get_args(BulkKind), help="which of the contract's seven kinds of work it is")
    spending.add_limits(parser, "Of the models that the function opens. At one the run stops, and nothing is written.")
    spending.add_declaration(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0; refusals are raised as DistillError."""
    from pytest_distill.pipelines.own.running import run_own

    return run_own(arguments, ("distill", *arguments.argv))
