"""`distill audit`: everything from streams to replay, read again from disk, and ten figures against the audit before."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser(
        "audit",
        parents=[common],
        help="the whole chain from streams to replay",
        description="One family of checks for each phase: sources, formats, evidence, scores, exports, receipts, acceptance and "
        "replay. Ten figures are compared with the audit before; an audit that passes adds its own to the baseline.",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 when every check of every phase is ok; 1 otherwise, and then the baseline stays as it is."""
    import importlib

    from pytest_distill.cli.common import open_workspace, print_json, print_table, say
    from pytest_distill.contracts.audit import PHASES

    workspace = open_workspace(args)
    auditing = importlib.import_module("pytest_distill.pipelines.audit.audit")
    report = auditing.audit(workspace, _acceptance())
    if report.passed:
        importlib.import_module("pytest_distill.pipelines.audit.baseline").add(workspace, report.metrics)
    if args.json:
        print_json(report.model_dump(mode="json"))
        return int(not report.passed)
    rows = [
        (f"{check.phase} {PHASES[check.phase]}", check.name, "passed" if check.ok else "failed", check.detail)
        for check in report.checks
    ]
    print_table(("phase", "check", "", ""), rows)
    before = {delta.name: delta for delta in report.changes}
    figures = [
        (
            name,
            before[name].prior if name in before else "",
            value,
            f"{before[name].pct_change:+g}%" if name in before and before[name].pct_change is not None else "",
        )
        for name, value in report.metrics.items()
    ]
    print_table(("figure", "baseline", "now", "change"), figures)
    for warning in report.warnings:
        say(args, f"warning: {warning}")
    wrong = sum(not check.ok for check in report.checks)
    say(args, f"{len(report.checks)} checks, {wrong} failed" + ("; the baseline has one more entry" if report.passed else ""))
    return int(not report.passed)


def _acceptance() -> tuple[bool, str]:
    """Whether the invariants of this installation hold, by `distill acceptance` in a process of its own."""
    import json
    import subprocess
    import sys

    command = [sys.executable, "-P", "-m", "pytest_distill.cli.main", "acceptance", "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
        return done.returncode == 0 and found["holds"] is True, f"{found['passed']} of {found['invariants']} hold"
    except (ValueError, LookupError, TypeError):
        return False, f"the acceptance run left no answer (exit status {done.returncode})"
