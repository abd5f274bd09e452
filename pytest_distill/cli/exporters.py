"""`distill export-rag | export-sft | export-preference`: scored evidence to a batch of samples; `distill run-all`: all of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import common as shared
from pytest_distill.cli import evidence

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

_HELP = {
    "export-rag": "accepted and partially accepted runs as documents to retrieve",
    "export-sft": "accepted runs as instructions and responses",
    "export-preference": "pairs of a better and a worse answer to one task",
}
_END = "What it writes is a batch: pytest --distill-batch=ID judges it, and only a sealed one leaves with `distill export`."


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    for name, text in _HELP.items():
        parser = subparsers.add_parser(name, parents=[common], help=text, description=f"{text.capitalize()}. {_END}")
        parser.add_argument("--id", metavar="ID", help="the batch's id (default: from what it is made of)")
        parser.add_argument("--dry-run", action="store_true", help="look at everything, write nothing")
        _add_options(parser, name)
        shared.add_json_option(parser)
        parser.set_defaults(run=run_export, exporter=name)
    parser = subparsers.add_parser(
        "run-all", parents=[common], help="streams to evidence, scores and all three batches",
        description="Runs collect, score and the three exporters in one run, each with a receipt. "
        "A stage never runs on stale or missing output of another.",
    )  # fmt: skip
    evidence.add_streams_option(parser)
    parser.add_argument("--rebuild", action="store_true", help="make the evidence of changed transforms again")
    _add_options(parser, "export-sft")
    _add_options(parser, "export-rag", files=False)
    shared.add_json_option(parser)
    parser.set_defaults(run=run_all)


def _add_options(parser: argparse.ArgumentParser, name: str, *, files: bool = True) -> None:
    if name == "export-sft":
        parser.add_argument("--include-partial", action="store_true", help="partially accepted runs too, marked as such (sft)")
    if name == "export-rag":
        parser.add_argument("--include-review", action="store_true", help="runs that need a human too, marked as such (rag)")
    if files:
        parser.add_argument(
            "--known-files",
            metavar="FILE",
            type=Path,
            help="a list of the repository's files: texts that name others are left out",
        )


def options(args: argparse.Namespace) -> Any:
    import importlib

    from pytest_distill.errors import Code, DistillError

    known: frozenset[str] = frozenset()
    if args.known_files is not None:
        try:
            known = frozenset(filter(None, args.known_files.read_text("utf-8").splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise DistillError(Code.SOURCE, f"{args.known_files} cannot be read: {error}", "One file name a line.") from error
    return importlib.import_module("pytest_distill.pipelines.exporters.export").Options(
        include_partial=getattr(args, "include_partial", False),
        include_review=getattr(args, "include_review", False),
        dry_run=getattr(args, "dry_run", False),
        known_files=known,
        batch_id=getattr(args, "id", None),
    )


def run_export(args: argparse.Namespace) -> int:
    workspace = shared.open_workspace(args)
    with evidence.reporting(args, args.exporter, "rows") as report:
        found = evidence.stages().one(workspace, args.exporter, options(args), report=report)
    if args.json:
        shared.print_json(summary(found))
    else:
        show(args, found)
    return 0


def summary(found: Any) -> dict[str, Any]:
    return {
        "exporter": found.exporter,
        "considered": found.considered,
        "samples": found.samples,
        "added": found.added,
        "quarantined": found.quarantined,
        "reasons": found.reasons,
        "batch": found.batch.id if found.batch else None,
    }


def show(args: argparse.Namespace, found: Any) -> None:
    unit = "pairs" if found.exporter == "export-preference" else "runs"
    shared.say(
        args, f"{found.exporter}: {found.considered:,} {unit} = {found.samples:,} samples + {found.quarantined:,} left out"
    )
    for reason, count in sorted(found.reasons.items(), key=lambda each: (-each[1], each[0])):
        shared.say(args, f"  {count:>9,}  {reason}")
    if found.batch is None:
        shared.say(args, "  nothing was written")
        return
    shared.say(args, f"  batch {found.batch.id}{'' if found.added else ' (it stood already)'}")
    shared.say(args, f"  judge it: pytest --distill-batch={found.batch.id}")


def run_all(args: argparse.Namespace) -> int:
    """Returns 0 when every stage completed, also where rows were skipped (`overall_passed` says that); 1 on an alert of drift."""
    from pytest_distill.stages import summaries

    workspace = shared.open_workspace(args)
    with evidence.reporting(args, "run-all", "units") as report:
        ran = evidence.stages().run_all(
            workspace, folder=args.streams, options=options(args), rebuild=args.rebuild, report=report
        )  # fmt: skip
    drift = summaries.drift_of(workspace, ran.summary.run_id)
    status = int(drift is not None and drift.severity == "alert")
    if args.json:
        document = {
            "summary": ran.summary.model_dump(mode="json"),
            "exports": [summary(found) for found in ran.exported],
            "drift": drift.model_dump(mode="json") if drift else None,
        }
        shared.print_json(document)
        return status
    args.json = False
    evidence.show_built(args, ran.built)
    evidence.show_scored(args, ran.scored)
    for found in ran.exported:
        show(args, found)
    passed = "passed" if ran.summary.overall_passed else "did not pass: rows were skipped, or a stage has errors"
    shared.say(args, f"run {ran.summary.run_id} {passed}; distill runs show {ran.summary.run_id}")
    if drift is not None:
        shared.say(args, f"drift against run {drift.prior_run_id}: {drift.severity}")
        for flag in drift.flags:
            shared.say(args, f"  {flag.severity}, {flag.stage}: {flag.message}")
    return status
