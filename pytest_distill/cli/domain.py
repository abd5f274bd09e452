"""`distill domain`: which of sixteen domains a text belongs to. A linear head on the hidden states of a frozen model."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.contracts.domain import DomainClassifier

PIPELINE = "pytest_distill.pipelines.grading.domain"


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("domain", parents=[common], help="domains of rows, by a trained head", description=__doc__)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    train = actions.add_parser(
        "train",
        parents=[common],
        help="a classifier from labelled batches",
        description="Trains the head, judges it on rows that were held out (near duplicates and groups are never parted), and "
        "writes classifier.pt (safetensors) and classifier.json. The defaults of layer, epochs and lr are the data contract's, "
        "which trains on 100,000 rows: with few, take more epochs or a larger lr.",
    )
    train.add_argument("batches", metavar="ID", nargs="+", help="batches with a column of domains")
    train.add_argument("--label", metavar="COLUMN", default="label", help="the column of domains (default: label)")
    train.add_argument("--group", metavar="COLUMN", help="rows of one value stay in one part: document, author, source")
    train.add_argument("--backbone", metavar="NAME", default="minilm", help="tiny, minilm, or a model of yours (default: minilm)")
    train.add_argument("--layer", type=_positive, default=24, metavar="N", help="whose hidden states, from 1 (default: 24)")
    train.add_argument("--epochs", type=_positive, default=1, metavar="N", help="default: 1")
    train.add_argument("--lr", type=float, default=1e-4, metavar="X", help="default: 1e-4")
    train.add_argument("--batch-size", type=_positive, default=32, metavar="B", help="rows a step (default: 32)")
    train.add_argument("--max-tokens", type=_positive, default=256, metavar="N", help="of each text (default: 256)")
    train.add_argument("--held-out", type=float, default=0.2, metavar="SHARE", help="of the rows (default: 0.2)")
    train.add_argument("--seed", type=int, default=0, metavar="S")
    train.add_argument("--min-f1", type=float, default=0.0, metavar="F1", help="exit 1, and write nothing, for a macro F1 below")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    add_json_option(train)
    train.set_defaults(run=run_train)

    predict = actions.add_parser("predict", parents=[common], help="a derived batch with a domain in every row")
    predict.add_argument("batch", metavar="ID")
    predict.add_argument("--id", required=True, metavar="NEW", help="the id of the derived batch")
    predict.add_argument("--classifier", type=Path, required=True, metavar="DIR", help="what `distill domain train` wrote")
    predict.add_argument("--backbone", metavar="NAME", help="default: the name that the classifier was trained with")
    add_json_option(predict)
    predict.set_defaults(run=run_predict)


def run_train(args: argparse.Namespace) -> int:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say
    from pytest_distill.errors import Code, DistillError

    if not 0 < args.held_out < 0.9 or not args.lr > 0 or args.seed < 0:
        raise DistillError(Code.USAGE, "--held-out is a share under 0.9, --lr above 0, --seed from 0 on")
    if args.out.exists():
        raise DistillError(Code.USAGE, f"{args.out} exists", "Name a new folder.")
    workspace = open_workspace(args)
    rows = _door("stamping").labelled([open_batch(workspace.batch_folder(name)) for name in args.batches], args.label, args.group)
    recipe = _door("training").Recipe(
        layer=args.layer,
        epochs=args.epochs,
        lr=args.lr,
        batch_size=args.batch_size,
        seed=args.seed,
        held_out=args.held_out,
        max_tokens=args.max_tokens,
    )
    classifier = _door("training").train(rows, _backbone(args.backbone), recipe)
    record: DomainClassifier = classifier.record
    good = record.metrics.macro_f1 >= args.min_f1
    if good:
        _door("head").write(args.out, classifier)
    if args.json:
        print_json(record.model_dump(mode="json"))
    else:
        print_table(
            ("domain", "precision", "recall", "F1", "held-out rows"),
            [(d.domain, f"{d.precision:.3f}", f"{d.recall:.3f}", f"{d.f1:.3f}", d.rows) for d in record.metrics.domains],
        )
    found = record.metrics
    held = record.training.rows_held_out
    say(args, f"macro F1 {found.macro_f1:.3f} on {held:,} held-out rows; the commonest domain alone: {found.majority_f1:.3f}")
    say(args, f"calibration error {found.ece_uncalibrated:.3f}, at temperature {record.temperature:g} {found.ece:.3f}")
    if not good:
        raise DistillError(
            Code.DOMAIN, f"macro F1 {found.macro_f1:.3f} is below {args.min_f1:g}: nothing was written", "Label more rows."
        )
    say(args, f"written: {args.out}")
    return 0


def run_predict(args: argparse.Namespace) -> None:
    from collections import Counter

    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say

    workspace = open_workspace(args)
    batch = open_batch(workspace.batch_folder(args.batch))
    classifier = _door("head").load(args.classifier)
    backbone = _backbone(args.backbone or classifier.record.backbone.name)
    made = _door("stamping").stamp(workspace, batch, args.id, classifier, backbone, command=("distill", *sys.argv[1:]))
    named = Counter(made.column("domain").str.json_path_match("$.name").to_list())
    if args.json:
        print_json({"batch": made.id, "sha256": made.sha256, "rows": made.rows, "domains": dict(sorted(named.items()))})
    else:
        print_table(("domain", "rows"), named.most_common())
    say(args, f"{made.rows} rows with a domain, {made.manifest.counts.quarantined} blank ones in quarantine: {made.id}")


def _backbone(name: str) -> Any:
    return importlib.import_module("pytest_distill.pipelines.models.hidden").open_backbone(name)


def _door(module: str) -> Any:
    """A module of the pipeline. Raises E-EXTRA-MISSING without torch."""
    from pytest_distill.errors import Code, DistillError

    try:
        return importlib.import_module(f"{PIPELINE}.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pytest_distill"):
            raise
        raise DistillError(
            Code.EXTRA, f"{error.name} is not installed", "pip install 'pytest-distill[embed]' (torch first, for your machine)."
        ) from error


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
