"""Raw files or a batch to a clean batch: normalised, in bounds, in the languages allowed, without duplicates.

Every record that is dropped stands in the batch's quarantine with its reason. A run that was stopped or killed goes on with
--resume, byte for byte as if nothing had happened. docs/preprocess.md lists the settings.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill.cli.common import add_engine_options

if TYPE_CHECKING:
    from pytest_distill.batch.batch import Batch
    from pytest_distill.pipelines.preprocess.run import Told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        metavar="FILE|BATCH",
        nargs="+",
        help="JSONL, JSON, CSV, Parquet, text (also .gz, .zst), a shell pattern, a datasets folder, or a batch's id",
    )
    parser.add_argument("--id", required=True, metavar="ID", help="the new batch's id")
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="bounds and diagnostics; default: those of the contract")
    parser.add_argument("--pipeline-version", metavar="V", help="bounds are frozen under this name; default: preprocess_v1")
    parser.add_argument("--kind", choices=("text", "sft"), help="what the rows are; default: text")
    parser.add_argument("--map", action="append", default=[], metavar="NEW=OLD", help="column NEW is called OLD; repeatable")
    parser.add_argument(
        "--text-files", choices=("document", "line"), help="what a document is in a .txt; default: the whole file"
    )
    parser.add_argument("--split", metavar="NAME", help="the split of a datasets folder that has several")
    parser.add_argument("--seed", type=int, metavar="N", help="of the permutations and the sample; default: 0")
    add_engine_options(parser, workers="processes (default: 1), or tasks of Ray (default: all that its cluster can do)")
    parser.add_argument("--resume", action="store_true", help="go on with the run of this id, if there is one")
    parser.add_argument("--what", metavar="TEXT", help="what these rows are")
    parser.add_argument("--why", metavar="TEXT", help="why they exist")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs to the end, or to the end of the unit at hand when told to stop. Refusals are raised as DistillError."""
    from pytest_distill.cli import common as shared
    from pytest_distill.cli.ingest import mapping_of
    from pytest_distill.engine.local import Processes
    from pytest_distill.pipelines.preprocess import config
    from pytest_distill.pipelines.preprocess.run import Told, preprocess
    from pytest_distill.stages.progress import progress
    from pytest_distill.stages.receipts import with_receipt
    from pytest_distill.stages.stopping import stopping

    workspace = shared.open_workspace(args)
    settings = config.load(
        args.config,
        languages=workspace.policy.language.allowed,
        kind=args.kind,
        pipeline_version=args.pipeline_version,
        text_files=args.text_files,
        split=args.split,
        seed=args.seed,
        mapping=mapping_of(args.map) or None,
    )
    parameters = {"pipeline_version": settings.pipeline_version}
    with (
        progress("cleaning", "docs", shown=args.progress and not args.quiet) as report,
        stopping() as stop,
        shared.engine_of(args, lambda: Processes(args.workers or 1)) as engine,
        with_receipt(workspace, config.PIPELINE, args.id, parameters=parameters) as receipt,
    ):
        told = Told(report)
        batch = preprocess(
            args.inputs,
            workspace,
            args.id,
            settings,
            engine=engine,
            resume=args.resume,
            what=args.what,
            why=args.why,
            command=_command(args),
            stop=stop,
            told=told,
        )
        for source in batch.manifest.sources:
            receipt.has_read(source.name, source.sha256)
        receipt.made(batch)
    _show(args, batch, told)
    return 0


def _command(args: argparse.Namespace) -> tuple[str, ...]:
    """What made the batch, without what makes no difference to its bytes (--engine, --workers, --resume)."""
    named = {"--config": args.config, "--pipeline-version": args.pipeline_version, "--kind": args.kind, "--seed": args.seed}
    named |= {"--text-files": args.text_files, "--split": args.split, "--what": args.what, "--why": args.why}
    options = [str(part) for name, value in named.items() if value is not None for part in (name, value)]
    maps = [part for pair in args.map for part in ("--map", pair)]
    return ("distill", "run", "preprocess", *args.inputs, "--id", args.id, *options, *maps)


def _show(args: argparse.Namespace, batch: Batch, told: Told) -> None:
    from pytest_distill.cli import common as shared
    from pytest_distill.contracts.preprocess import PreprocessSummary
    from pytest_distill.pipelines.preprocess.write import SUMMARY

    data = batch.attachment(SUMMARY)
    assert data is not None
    summary = PreprocessSummary.from_bytes(data, name=SUMMARY)
    if args.json:
        value = {"id": batch.id, "sha256": batch.sha256, "folder": str(batch.folder), "tags": told.tags}
        shared.print_json(value | summary.model_dump(mode="json"))
    dropped = sum(summary.dropped.values())
    shared.say(args, f"{batch.id} ({batch.kind}): {summary.read:,} records = {summary.kept:,} kept + {dropped:,} dropped")
    for reason, count in sorted(summary.dropped.items(), key=lambda item: (-item[1], item[0])):
        shared.say(args, f"  {count:>9,}  {reason}")
    for name, figures in summary.diagnostics.items():
        if figures.rows:
            rule = "over the bound are dropped" if figures.promoted else f"{figures.over:,} over {figures.bound:g}, logged only"
            shared.say(args, f"  {name}: median {figures.median:.3g}, p95 {figures.p95:.3g}, max {figures.max:.3g}; {rule}")
    shared.say(
        args, "  " + ", ".join(f"{tag} {value:,.4g}" for tag, value in told.tags.items()) if told.tags else "  was done already"
    )
    shared.say(args, f"  batch: {batch.folder}")
    shared.say(args, f"  judge it: pytest --distill-batch={batch.id}")
