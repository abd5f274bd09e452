"""`distill incidents`: violations that were met, and what was done about them. A blocking one stops exports until closed."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("incidents", parents=[common], help="violations: review, close", description=__doc__)
    add_json_option(parser)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    opening = actions.add_parser("open", parents=[common], help="enter one that no command could notice")
    opening.add_argument("--kind", metavar="WORD", required=True, help="such as skipped-inspection")
    opening.add_argument("--what", metavar="TEXT", required=True, help="what happened")
    opening.add_argument("--batch", metavar="ID", help="the batch it is about")
    opening.add_argument("--blocking", action="store_true", help="nothing is exported until it is closed")
    opening.set_defaults(run=run_open)
    for name, text, note in (
        ("review", "the system owner says what happened and how it was corrected", "cause and correction"),
        ("close", "a reviewed incident is done", "what keeps it from happening again"),
    ):
        step = actions.add_parser(name, parents=[common], help=text)
        step.add_argument("number", metavar="N", type=int)
        step.add_argument("--who", metavar="WHO", required=True, help="the system owner that [bulk] names")
        step.add_argument("--note", metavar="TEXT", required=True, help=note)
        step.set_defaults(run=run_step, step=name)


def run(args: argparse.Namespace) -> None:
    import dataclasses

    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.release.incidents import incidents

    found = incidents(open_workspace(args, ad_hoc=True))
    if args.json:
        print_json([dataclasses.asdict(incident) for incident in found])
        return
    rows = [
        (i.number, i.state, "blocks" if i.blocking else "", i.opened, i.batch, i.kind, "\n".join((i.what, *i.notes)))
        for i in found
    ]
    print_table(("#", "state", "exports", "opened", "batch", "kind", "what"), rows)


def run_open(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace
    from pytest_distill.release.incidents import open_incident

    number = open_incident(open_workspace(args, ad_hoc=True), args.kind, args.what, blocking=args.blocking, batch=args.batch)
    sys.stdout.write(f"{number}\n")


def run_step(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, say
    from pytest_distill.release import incidents

    step = incidents.review if args.step == "review" else incidents.close
    step(open_workspace(args, ad_hoc=True), args.number, who=args.who, note=args.note)
    say(args, f"incident {args.number} is {args.step}{'ed' if args.step == 'review' else 'd'}")
