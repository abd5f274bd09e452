"""`distill compare-scorers A B…`: how far scorers agree on the same rows, as CSV and as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill.cli import common as shared

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "compare-scorers",
        parents=[common],
        help="how far scorers agree on the same rows",
        description="Spearman's correlation, weighted kappa and mean difference with its interval, for each dimension and pair "
        "of scored batches. Rows are matched by id, and have to hold the same texts.",
    )
    parser.add_argument("batches", metavar="ID", nargs="+", help="scored batches of the same rows, two or more")
    parser.add_argument("--column", action="append", metavar="C", help="texts that have to agree (default: those of the kind)")
    parser.add_argument(
        "--out", required=True, metavar="FILE.csv", type=Path, help="the table; the picture lies beside it, as .svg"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the intervals' resampling (default: 0)")
    shared.add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes table and picture. Returns 0; refusals are raised as DistillError."""
    import importlib

    from pytest_distill import storage
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.errors import Code, DistillError

    agreement = importlib.import_module("pytest_distill.pipelines.grading.agreement")
    plotting = importlib.import_module("pytest_distill.pipelines.grading.agreement_plot")
    scoring = importlib.import_module("pytest_distill.pipelines.grading.scoring")
    picture = args.out.with_suffix(".svg")
    if len(set(args.batches)) < 2 or len(set(args.batches)) < len(args.batches):
        raise DistillError(Code.USAGE, "a comparison needs two scored batches or more, each once", "Name them: A B.")
    if args.out.suffix != ".csv":
        raise DistillError(Code.USAGE, f"{args.out} does not end in .csv", "Name the table: --out scorers.csv.")
    if taken := next((path for path in (args.out, picture) if path.exists()), None):
        raise DistillError(Code.EXPORT_EXISTS, f"{taken} is there already", "Take another name, or remove it.")
    workspace = shared.open_workspace(args)
    batches = [open_batch(workspace.batch_folder(name)) for name in args.batches]
    found = agreement.compare(
        [agreement.scored(batch, scoring.columns_of(batch, args.column)) for batch in batches], seed=args.seed
    )
    storage.write_bytes(args.out, agreement.as_csv(found))
    storage.write_bytes(picture, plotting.plot(found))
    if args.json:
        shared.print_json(agreement.as_values(found))
    elif not args.quiet:
        head = ("a", "b", "dimension", "rows", "spearman", "kappa", "difference", "95% interval")
        shared.print_table(head, [_line(one) for one in found])
    shared.say(args, f"{args.out}, {picture}")
    return 0


def _line(one: object) -> tuple[object, ...]:
    def shown(name: str) -> str:
        value = getattr(one, name)
        return "" if value is None else f"{value:.3f}"

    interval = f"{shown('low')} to {shown('high')}" if shown("low") else ""
    names = [getattr(one, name) for name in ("a", "b", "dimension", "rows")]
    return (*names, shown("spearman"), shown("kappa"), shown("difference"), interval)
