"""`distill drift A B`: how run B differs from run A. Exit 1 on an alert: the same input gave another output."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser(
        "drift",
        parents=[common],
        help="how one run of stages differs from another",
        description="Compares two runs of stages: what they read, what stands in their outputs, and which errors are new. "
        "Exit 1 on an alert: a stage that read the same left something else.",
    )
    parser.add_argument("prior", metavar="A", help="the earlier run: its number")
    parser.add_argument("run_id", metavar="B", nargs="?", default="latest", help="the later run (default: latest)")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pytest_distill.cli.common import console, open_workspace, print_json, print_table
    from pytest_distill.errors import one_line
    from pytest_distill.stages import drift, summaries

    workspace = open_workspace(args, ad_hoc=True)
    prior, now = summaries.load(workspace, args.prior), summaries.load(workspace, args.run_id)
    report = drift.compare(prior, now, warn_percent=workspace.policy.drift.warn_percent)
    status = int(report.severity == "alert")
    if args.json:
        print_json(report.model_dump(mode="json"))
        return status
    out = console()
    same = "the run hashes are equal" if report.run_hash_match else "the run hashes differ"
    out.print(f"run {report.run_id} against run {report.prior_run_id}: {report.severity}, {same}", soft_wrap=True)
    for flag in report.flags:
        out.print(one_line(f"  {flag.severity}, {flag.stage}: {flag.message}"), soft_wrap=True)
    words = {True: "same", False: "other", None: "unknown"}
    print_table(
        ("stage", "input", "output"),
        [(stage.stage, words[stage.input_hash_match], words[stage.output_hash_match]) for stage in report.stages],
    )
    changed = [
        (stage.stage, delta.name, delta.prior, delta.now, "" if delta.pct_change is None else f"{delta.pct_change:+g}%")
        for stage in report.stages
        for delta in stage.deltas
        if args.verbose or delta.prior != delta.now
    ]
    if changed:
        print_table(("stage", "figure", "prior", "now", "change"), changed)
    return status
