"""`distill runs`: the runs of stages in this workspace, and what each read, wrote and counted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

_HASH_SHOWN = 12


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("runs", parents=[common], help="runs of stages, newest first", description=__doc__)
    parser.add_argument("-n", metavar="N", dest="count", type=int, default=20, help="only the newest N (default: 20)")
    add_json_option(parser)
    parser.set_defaults(run=run_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    show = actions.add_parser("show", parents=[common], help="one run: its stages, their counts, files and errors")
    show.add_argument("id", metavar="ID", help="its number, or latest")
    add_json_option(show)
    show.set_defaults(run=run_show)


def run_list(args: argparse.Namespace) -> None:
    from itertools import islice

    from pytest_distill.cli.common import open_workspace, print_json, print_table, say
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.stages import summaries

    if args.count < 1:
        raise DistillError(Code.USAGE, f"-n {args.count} shows nothing", "Give a number from 1 on.")
    workspace = open_workspace(args, ad_hoc=True)
    found = list(islice(summaries.summaries(workspace), args.count))
    if args.json:
        print_json([summary.model_dump(mode="json") for summary in found])
        return
    if not found:
        say(args, "No stage has run in this workspace yet; `distill ingest` is one.")
        return
    rows = [
        (
            run.run_id,
            f"{run.pipeline} {run.subject}".strip(),
            "passed" if run.overall_passed else "failed",
            ", ".join(stage.stage for stage in run.stages),
            run.totals.in_,
            run.totals.out,
            run.totals.skipped,
            run.run_hash[:_HASH_SHOWN],
            run.started_at,
        )
        for run in found
    ]
    print_table(("run", "what", "passed", "stages", "in", "out", "skipped", "run hash", "started"), rows)


def run_show(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import console, open_workspace, print_json, print_table
    from pytest_distill.errors import one_line
    from pytest_distill.stages import summaries

    workspace = open_workspace(args, ad_hoc=True)
    folder = summaries.run_folder(workspace, args.id)
    summary = summaries.load(workspace, args.id)
    receipts = summaries.receipts(folder)
    report = summaries.drift_of(workspace, args.id)
    if args.json:
        document = {
            "summary": summary.model_dump(mode="json"),
            "receipts": [receipt.model_dump(mode="json") for receipt in receipts],
            "drift": report.model_dump(mode="json") if report else None,
        }
        print_json(document)
        return
    out = console()
    title = f"{summary.pipeline} {summary.subject}".strip()
    out.print(one_line(f"run {summary.run_id}, {title}: {'passed' if summary.overall_passed else 'did not pass'}"))
    out.print(f"  run hash {summary.run_hash}, {summary.duration_seconds:.1f} s", soft_wrap=True)
    head = ("stage", "passed", *summaries.COUNTS, "stands", "seconds")
    rows = [
        (
            receipt.stage,
            "passed" if receipt.validation.passed else "failed",
            *receipt.record_counts.model_dump(by_alias=True).values(),
            summaries.stands(receipt.materialised),
            f"{receipt.duration_seconds:.2f}",
        )
        for receipt in receipts
    ]
    print_table(head, rows)
    for receipt in receipts:
        for error in receipt.validation.errors:
            out.print(one_line(f"  {receipt.stage}: {error}"), soft_wrap=True)
    for stage in summary.not_run:
        out.print(one_line(f"  {stage.stage} did not run: {stage.why}"), soft_wrap=True)
    if args.verbose:
        files = [
            (receipt.stage, which, file.path, file.rows, file.sha256)
            for receipt in receipts
            for which, listed in (("in", receipt.inputs), ("out", receipt.outputs))
            for file in listed
        ]
        print_table(("stage", "", "file", "rows", "SHA-256"), files)
    if report is not None:
        out.print(f"  drift against run {report.prior_run_id}: {report.severity}", soft_wrap=True)
        for flag in report.flags:
            out.print(one_line(f"    {flag.severity}, {flag.stage}: {flag.message}"), soft_wrap=True)
