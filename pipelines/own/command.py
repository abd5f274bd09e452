"""A function of your own, from rows to rows: `module:function`. It is looked for in the workspace first.

It is called with the rows of BATCH, one dictionary each (with none, if no batch is named), and with the values of --set, --count
and --seed as keywords. What it gives, row by row, becomes the batch.
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("batch", metavar="BATCH", nargs="?", help="whose rows the function is given")
    parser.add_argument("--id", required=True, metavar="ID", help="the new batch's id")
    parser.add_argument("--kind", choices=("sft", "preference", "rag", "text"), help="default: that of BATCH, or sft")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a keyword, its value JSON or text")
    parser.add_argument("--count", type=int, metavar="N", help="rows that are planned; given to the function as count")
    parser.add_argument("--seed", type=int, metavar="S", help="given to the function as seed")
    parser.add_argument("--what", metavar="TEXT", help="what these rows are")
    parser.add_argument("--why", metavar="TEXT", help="why they exist")


def run(arguments: argparse.Namespace) -> int:
    """Returns 0; refusals are raised as DistillError."""
    from pytest_distill.pipelines.own.running import run_own

    return run_own(arguments, ("distill", *sys.argv[1:]))
