"""`distill escalation`: local output below the gold set. Frontier models diagnose, the specification changes."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.release.escalation import Escalation


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser(
        "escalation", parents=[common], help="output below gold: diagnose, revise, return", description=__doc__
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    opening = actions.add_parser("open", parents=[common], help="a batch is below the gold set, as somebody saw")
    opening.add_argument("batch", metavar="ID")
    opening.add_argument("--why", metavar="TEXT", required=True, help="in what it is below")
    opening.set_defaults(run=run_open)
    diagnosing = actions.add_parser("diagnose", parents=[common], help="a frontier model looks at a few rows, metered")
    diagnosing.add_argument("number", metavar="N", type=int)
    diagnosing.add_argument("--rows", metavar="K", type=int, default=5, help="of the batch, from its start (default: 5)")
    diagnosing.add_argument("--model", metavar="NAME", required=True, help="one that [[models]] allows the purpose diagnosis")
    diagnosing.add_argument("--server", metavar="URL", help="where it is served; left out: its weights are loaded here")
    diagnosing.add_argument("--tokenizer", metavar="FOLDER", help="of the served model")
    diagnosing.add_argument("--key-variable", metavar="NAME", help="the environment variable with the server's key")
    diagnosing.add_argument("--max-new-tokens", metavar="T", type=int, default=200, help="of the finding (default: 200)")
    diagnosing.add_argument("--justification", metavar="TEXT", help="default: the escalation")
    diagnosing.set_defaults(run=run_diagnose)
    listing = actions.add_parser("list", parents=[common], help="every escalation, oldest first")
    add_json_option(listing)
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", parents=[common], help="one escalation, its findings, and what has to come next")
    show.add_argument("number", metavar="N", type=int)
    add_json_option(show)
    show.set_defaults(run=run_show)


def run_open(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, say
    from pytest_distill.release import escalation

    workspace = open_workspace(args)
    opened = escalation.begin(workspace, open_batch(workspace.batch_folder(args.batch)).manifest, args.why)
    say(args, f"escalation {opened.number} of {opened.pipeline} is open. next: distill escalation diagnose {opened.number}")


def run_diagnose(args: argparse.Namespace) -> None:
    """The pipeline that asks the model is found by name: this package imports none."""
    from pytest_distill.cli.common import open_workspace

    importlib.import_module("pytest_distill.pipelines.escalation.diagnosing").diagnose(open_workspace(args), args)


def run_list(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.release.escalation import escalations

    found = escalations(open_workspace(args))
    if args.json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    print_table(
        ("#", "state", "pipeline", "batch", "rows seen", "why"),
        [(e.number, e.state, e.pipeline, e.batch, e.items, e.why) for e in found],
    )


def run_show(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.release.escalation import escalation

    found = escalation(open_workspace(args), args.number)
    if args.json:
        print_json(dataclasses.asdict(found))
        return
    facts = {name: value for name, value in dataclasses.asdict(found).items() if name != "findings"}
    findings = [(f"finding {place}", text) for place, text in enumerate(found.findings, start=1)]
    print_table(("", ""), [*facts.items(), *findings, ("next", _next(found))])


def _next(found: Escalation) -> str:
    return {
        "opened": f"distill escalation diagnose {found.number}",
        "diagnosed": "change the specification or prompt, then make the bulk again with the local model",
        "revised": "make the bulk again with the local model",
        "returned": "nothing",
    }[found.state]
