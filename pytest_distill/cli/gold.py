"""`distill gold`: the small reference set that bulk has to match: who made it, with which model, versioned and frozen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("gold", parents=[common], help="the reference set that bulk has to match", description=__doc__)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    adding = actions.add_parser("add", parents=[common], help="rows of a JSONL file: instruction, response, case")
    adding.add_argument("file", metavar="FILE", type=Path)
    adding.add_argument("--who", metavar="WHO", required=True, help="who wrote or checked the rows")
    adding.add_argument("--model", metavar="NAME", help="the model that wrote or checked them; left out: people alone")
    adding.set_defaults(run=run_add)
    check = actions.add_parser("check", parents=[common], help="what it holds, and what is missing; exit 1 when something is")
    add_json_option(check)
    check.set_defaults(run=run_check)
    freeze = actions.add_parser(
        "freeze", parents=[common], help="from here on the set is the standard; later rows make a new version"
    )
    freeze.set_defaults(run=run_freeze)


def run_add(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, say
    from pytest_distill.policy import gold

    draft = gold.add(open_workspace(args), args.file, who=args.who, model=args.model)
    say(args, f"draft of version {draft.version}: {sum(file.rows for file in draft.files)} rows. next: distill gold check")


def run_check(args: argparse.Namespace) -> int:
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.policy import gold

    workspace = open_workspace(args)
    found = gold.load(workspace)
    if found is None:
        raise DistillError(Code.GOLD, "the workspace has no gold set", "distill gold add FILE --who WHO")
    shares, missing = gold.shares(workspace, found), gold.problems(workspace, found)
    if args.json:
        print_json({**found.model_dump(mode="json"), "shares": shares, "missing": missing})
    else:
        print_table(("file", "rows", "who", "model"), [(f.path, f.rows, f.who, f.model) for f in found.files])
        print_table(("of all rows", "share"), [(case, f"{shares[case]:.1%}") for case in gold.CASES])
        for text in missing:
            say(args, f"missing: {text}")
        say(args, f"version {found.version}, {'frozen ' + found.frozen_at if found.frozen_at else 'a draft'}")
    return int(bool(missing))


def run_freeze(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, say
    from pytest_distill.policy import gold

    done = gold.freeze(open_workspace(args))
    say(args, f"version {done.version} of the gold set is frozen. Put gold/ under version control.")
