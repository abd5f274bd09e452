"""`distill calibrate ID… --labels FILE --out FILE`: weights and thresholds of a scorer, from rows that people have labelled."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill.cli import common as shared

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "calibrate",
        parents=[common],
        help="weights and thresholds of a scorer, from labelled rows",
        description="Fits on a part of the labelled rows and reports on the rest. Labels that could have been computed from the "
        "scores, or that the scorer gave, are refused. The policy names the result: [grading] calibration.",
    )
    parser.add_argument("batches", metavar="ID", nargs="+", help="scored batches, all of one scorer")
    parser.add_argument("--labels", required=True, metavar="FILE", type=Path, help='lines of {"id", "label", "group"?, "by"?}')
    parser.add_argument("--labelled-by", required=True, metavar="WHO", help="who gave the labels")
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="a new file")
    parser.add_argument("--column", action="append", metavar="C", help="texts by which copies are known (default: the kind's)")
    parser.add_argument("--holdout", type=_share, default=0.3, metavar="S", help="share that takes no part (default: 0.3)")
    parser.add_argument("--folds", type=_number(2, 20), default=5, metavar="K", help="for thresholds (default: 5)")
    parser.add_argument("--bootstraps", type=_number(20, 10_000), default=200, metavar="B", help="default: 200")
    parser.add_argument("--precision", type=_share, default=0.9, metavar="P", help="that `high` is for (default: 0.9)")
    parser.add_argument(
        "--seed", type=_number(0, 2**31 - 1), default=0, metavar="S", help="of splits and resampling (default: 0)"
    )
    shared.add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the calibration and says how it does. Returns 0; refusals are raised as DistillError."""
    import importlib

    from pytest_distill.batch.batch import open_batch
    from pytest_distill.stages.receipts import with_receipt

    calibration = importlib.import_module("pytest_distill.pipelines.grading.calibration")
    scoring = importlib.import_module("pytest_distill.pipelines.grading.scoring")
    workspace = shared.open_workspace(args)
    batches = [open_batch(workspace.batch_folder(name)) for name in dict.fromkeys(args.batches)]
    columns = scoring.columns_of(batches[0], args.column)
    settings = calibration.Settings(args.holdout, args.folds, args.bootstraps, args.precision, args.seed)
    with with_receipt(workspace, "calibrate", args.out.name, parameters=settings._asdict()) as stage:
        stage.reads(*(batch.folder for batch in batches), args.labels)
        made = calibration.fitted(batches, args.labels, columns=columns, labelled_by=args.labelled_by, settings=settings)
        calibration.write(made, args.out, ("distill", *sys.argv[1:]))
        stage.writes(args.out)
        stage.count(in_=made.count + made.held_out.count, out=made.count)
    if args.json:
        shared.print_json(made.model_dump(mode="json"))
    elif not args.quiet:
        _show(made)
    shared.say(args, f'{args.out}; the policy names it: [grading] calibration = "{args.out.name}"')
    return 0


def _show(made: object) -> None:
    from pytest_distill.contracts.calibration import Calibration, Interval

    assert isinstance(made, Calibration)

    def interval(one: Interval | None) -> str:
        return "" if one is None else f"{one.low:.3f} to {one.high:.3f}"

    rows: list[tuple[str, str, str]] = [
        (f"weight of {name}", f"{weight:.3f}", interval(made.weight_intervals[name])) for name, weight in made.weights.items()
    ]
    for name, value in (("low", made.thresholds.low), ("high", made.thresholds.high)):
        rows += [
            (f"threshold {name}", f"{value:.3f}", interval(one)) for end, one in made.threshold_intervals.items() if end == name
        ]
    held = made.held_out
    for name in ("auc", "balanced_accuracy", "precision", "recall"):
        one = getattr(held, name)
        rows.append((f"held out: {name.replace('_', ' ')}", "" if one is None else f"{one.value:.3f}", interval(one)))
    rows.append(("held out: share rejected", f"{held.rejected_share:.3f}", ""))
    shared.print_table(("", f"fitted on {made.count:,}, held out {held.count:,}", "95% interval"), rows)


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return number


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return value
