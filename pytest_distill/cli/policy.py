"""`distill policy`: change control. A draft is free to edit; once frozen, the policy changes by a record that says why."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.contracts.bulk import PolicyChange

_RATIONALE = {
    "what": "what changed",
    "why": "why it changed",
    "affects": "which batches, gates or people it affects",
    "cost": "expected impact on cost",
    "quality": "expected impact on quality",
    "safety": "expected impact on safety",
    "rollback": "how it is taken back",
}


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("policy", parents=[common], help="freeze the policy, record its changes", description=__doc__)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    freeze = actions.add_parser("freeze", parents=[common], help="from here on the policy changes by record only")
    _approver(freeze)
    freeze.set_defaults(run=run_freeze)
    change = actions.add_parser("change", parents=[common], help="record the edited distill.toml as the next version")
    for name, text in _RATIONALE.items():
        change.add_argument(f"--{name}", metavar="TEXT", required=True, help=text)
    _approver(change)
    change.add_argument(
        "--test", metavar="ID", action="append", default=[], help="a past batch to judge under the new policy; may be given again"
    )
    change.add_argument(
        "--no-representative-batch", metavar="REASON", help="why no past batch is judged under it; recorded with the change"
    )
    change.set_defaults(run=run_change)
    diff = actions.add_parser("diff", parents=[common], help="what changed between two versions, or since the newest one")
    diff.add_argument("before", metavar="V", nargs="?", type=int, help="default: the newest version")
    diff.add_argument("after", metavar="V", nargs="?", type=int, help="default: distill.toml as it lies there")
    diff.set_defaults(run=run_diff)
    history = actions.add_parser("history", parents=[common], help="every recorded version, oldest first")
    add_json_option(history)
    history.set_defaults(run=run_history)
    rollback = actions.add_parser("rollback", parents=[common], help="put an earlier version back, and record that")
    rollback.add_argument("--to", metavar="V", type=int, help="default: the version before; after an unrecorded edit, the newest")
    rollback.add_argument("--why", metavar="TEXT", required=True)
    _approver(rollback)
    rollback.set_defaults(run=run_rollback)


def _approver(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--approver", metavar="WHO", required=True, help="the system owner that [bulk] names")


def run_freeze(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace
    from pytest_distill.policy import changes

    _say(args, changes.freeze(open_workspace(args), args.approver))


def run_change(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, say
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.policy import changes
    from pytest_distill.release.rejudge import rejudge

    workspace = open_workspace(args)
    if args.test and args.no_representative_batch:
        raise DistillError(Code.USAGE, "--test and --no-representative-batch contradict each other", "Leave one out.")
    rationale = changes.Rationale(**{name: getattr(args, name) for name in _RATIONALE}, approver=args.approver)
    tested = [rejudge(workspace, batch_id) for batch_id in args.test]
    for result in tested:
        flips = "; ".join(f"{gate}: {flip}" for gate, flip in result.flips.items()) or "no gate says anything else"
        say(args, f"{result.batch}: {result.before} -> {result.after}; {flips}")
    _say(args, changes.change(workspace, rationale, tested, untested_because=args.no_representative_batch))


def run_diff(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace
    from pytest_distill.policy import changes

    text = changes.diff(open_workspace(args), args.before, args.after)
    sys.stdout.write("".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text))


def run_history(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.policy import changes

    records = changes.history(open_workspace(args))
    if args.json:
        print_json([record.model_dump(mode="json") for record in records])
        return
    print_table(
        ("version", "at", "what", "why", "approver", "policy"),
        [(r.version, r.at, r.what, r.why, r.approver, r.policy_sha256[:12]) for r in records],
    )


def run_rollback(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace
    from pytest_distill.policy import changes

    workspace = open_workspace(args)
    target = f"version {args.to}" if args.to is not None else "the version before"
    rationale = changes.Rationale(
        what=f"rollback to {target}",
        why=args.why,
        affects="what the change that is taken back affected",
        cost="as before that change",
        quality="as before that change",
        safety="as before that change",
        rollback="distill policy rollback, to the version taken back",
        approver=args.approver,
    )
    _say(args, changes.rollback(workspace, rationale, args.to))


def _say(args: argparse.Namespace, record: PolicyChange) -> None:
    from pytest_distill.cli.common import say

    say(args, f"version {record.version} of the policy: {record.what}; approved by {record.approver}")
    say(args, "Batches judged before have to be judged again. Put policy/ under version control.")
    sys.stdout.write(f"{record.version}\n")
