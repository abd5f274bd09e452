"""`distill fidelity calibrate|check`: whether rephrased texts still say what the originals said."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import common as shared
from pytest_distill.cli import spending

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.score import add_judge_options

    parser = subparsers.add_parser(
        "fidelity",
        parents=[common],
        help="whether rephrased texts keep what the originals say",
        description="A model of meaning and an exact comparison of numbers, denials, names, units and clauses decide; what they "
        "leave in doubt is for a verifier, or does not pass. The thresholds come from a calibration and nowhere else.",
    )
    what = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    calibrate = what.add_parser("calibrate", parents=[common], help="thresholds from labelled pairs, and how they do on the rest")
    calibrate.add_argument("pairs", type=Path, metavar="PAIRS", help='lines of {"original", "rephrased", "faithful"}')
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="the calibration; the policy names it")
    calibrate.add_argument("--seed", type=int, default=0, metavar="S", help="of the split in two halves (default: 0)")
    shared.add_json_option(calibrate)
    calibrate.set_defaults(run=run_calibrate)
    check = what.add_parser("check", parents=[common], help="a new batch with the faithful rows; the others in its quarantine")
    check.add_argument("batch", metavar="ID", help="the batch with both texts; it stays as it is")
    check.add_argument("--id", required=True, metavar="NEW", help="the new batch's id")
    check.add_argument("--original", required=True, metavar="COLUMN")
    check.add_argument("--rephrased", required=True, metavar="COLUMN")
    check.add_argument("--verify", action="store_true", help="ask the judge about what is in doubt")
    check.add_argument("--what", metavar="TEXT", help="what the new batch is")
    check.add_argument("--why", metavar="TEXT", help="why it exists")
    add_judge_options(check)
    spending.add_declaration(check)
    spending.add_limits(check, "The judge is not asked beyond them. What [budget] says holds too.")
    shared.add_json_option(check)
    check.set_defaults(run=run_check)


def run_calibrate(args: argparse.Namespace) -> int:
    """Writes the calibration and says how it does. Returns 0; refusals are raised as DistillError."""
    from pytest_distill import storage
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.measuring import embedding

    fidelity = importlib.import_module("pytest_distill.pipelines.grading.fidelity")
    if args.out.exists():
        raise DistillError(Code.USAGE, f"{args.out} is there already", "A calibration is never edited; name a new file.")
    workspace = shared.open_workspace(args)
    folder = embedding.folder_of(workspace.policy.embedding)
    pairs = fidelity.read_pairs(args.pairs)
    made = fidelity.calibrate(
        fidelity.Compared(pairs, fidelity.compare(pairs, folder)),
        model_sha256=storage.sha256_file(folder / embedding.WEIGHTS),
        data_sha256=storage.sha256_file(args.pairs),
        seed=args.seed,
    )
    made.write(args.out)
    if args.json:
        shared.print_json(made.model_dump(mode="json"))
    elif not args.quiet:
        held = made.held_out
        print(f"score: under {made.low:.3f} rejects, over {made.high:.3f} passes")  # noqa: T201
        print(f"held out, {held.count} pairs: F1 {held.f1:.3f}, {held.verify_share:.1%} in doubt and counted as not passed")  # noqa: T201
    shared.say(args, f'{args.out}; the policy names it: [grading] fidelity = "{args.out.name}"')
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Writes the derived batch. Returns 0; refusals are raised as DistillError."""
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.contracts.fidelity import FidelityCalibration
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.measuring import embedding
    from pytest_distill.policy.allowance import Task
    from pytest_distill.stages.receipts import with_receipt

    fidelity = importlib.import_module("pytest_distill.pipelines.grading.fidelity")
    workspace = shared.open_workspace(args)
    named = workspace.policy.grading.fidelity
    if named is None:
        raise DistillError(
            Code.FIDELITY,
            "the policy names no calibration of fidelity, and there is no default threshold",
            '`distill fidelity calibrate PAIRS --out FILE` makes one; then [grading] fidelity = "FILE".',
        )
    parent = open_batch(workspace.batch_folder(args.batch))
    task = Task(items=parent.rows, repeats=True, said=spending.declaration(args))
    parameters = {"original": args.original, "rephrased": args.rephrased}
    go_on = "No row was written: check again under a new limit, or without --verify."
    with (
        with_receipt(workspace, "fidelity", args.id, parameters=parameters) as stage,
        spending.metered(workspace, task, args, go_on=go_on, batch=args.id) as running,
    ):
        stage.reads(parent.folder, named.resolved)
        batch = fidelity.judge_batch(
            workspace,
            parent,
            args.id,
            columns=(args.original, args.rephrased),
            calibration=FidelityCalibration.load(named.resolved),
            folder=embedding.folder_of(workspace.policy.embedding),
            verifier=_verifier(args) if args.verify else None,
            running=running,
            what=args.what or f"{parent.id}, the rows whose {args.rephrased} keeps what {args.original} says",
            why=args.why or "not stated",
            command=("distill", *sys.argv[1:]),
        )
        stage.made(batch)
    if args.json:
        shared.print_json(
            {"batch": batch.id, "sha256": batch.sha256, "rows": batch.rows, "quarantined": parent.rows - batch.rows}
        )
    shared.say(args, f"{batch.id}: {batch.rows:,} of {parent.rows:,} rows are faithful; `distill show {batch.id}`")
    return 0


def _verifier(args: argparse.Namespace) -> Any:
    from pytest_distill.cli.score import judge_choice

    judging = importlib.import_module("pytest_distill.pipelines.models.judging")
    verifier = importlib.import_module("pytest_distill.pipelines.grading.verifier")
    judge = judging.open_judge(judge_choice(args))
    return lambda pairs: verifier.verify(pairs, judge)
