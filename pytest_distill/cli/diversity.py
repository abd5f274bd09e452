"""`distill diversity calibrate`: from which cosine on two rows are neighbours, for the gate grading.diversity-density."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("diversity", parents=[common], help="how densely rows lie by meaning", description=__doc__)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    calibrate = actions.add_parser("calibrate", parents=[common], help="the radius, from labelled pairs or from a good batch")
    given = calibrate.add_mutually_exclusive_group(required=True)
    given.add_argument("--pairs", metavar="FILE", type=Path, help='JSON lines {"a", "b", "duplicate"}')
    given.add_argument("--reference", metavar="ID", help="a batch whose density is fine")
    calibrate.add_argument(
        "--quantile", type=float, default=0.95, metavar="Q", help="of the reference's rows lie outside (default: 0.95)"
    )
    calibrate.add_argument("--seed", type=int, default=0, metavar="S")
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file; name it in [diversity]")
    add_json_option(calibrate)
    calibrate.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    import importlib

    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, say
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.measuring import embedding

    if args.out.exists():
        raise DistillError(Code.USAGE, f"{args.out} exists", "Name a new file.")
    if not 0 < args.quantile < 1 or args.seed < 0:
        raise DistillError(Code.USAGE, "--quantile lies between 0 and 1, --seed is 0 or more")
    workspace = open_workspace(args)
    table = workspace.policy.embedding
    model, dtype = embedding.folder_of(table), embedding.dtype_of(table)
    door = importlib.import_module("pytest_distill.pipelines.grading.diversity")
    if args.pairs is not None:
        found = door.from_pairs(args.pairs, model, dtype=dtype, seed=args.seed)
    else:
        batch = open_batch(workspace.batch_folder(args.reference))
        texts = importlib.import_module("pytest_distill.pipelines.grading.texts").texts_of(batch)
        found = door.from_reference(texts, batch.sha256, model, quantile=args.quantile, dtype=dtype, seed=args.seed)
    found.write(args.out)
    if args.json:
        print_json(found.model_dump(mode="json"))
    quality = f", F1 {found.f1:.3f} on pairs that were held out" if found.f1 is not None else ""
    say(args, f"radius {found.radius:g} ({found.low:g} to {found.high:g}){quality}: {args.out}")
