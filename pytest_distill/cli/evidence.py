"""`distill evidence build|score|health|playbooks`: what agents logged, as evidence, and how it went."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import common as shared

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

PIPELINE = "pytest_distill.pipelines.evidence"


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser("evidence", parents=[common], help="streams to scored evidence", description=__doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    build = actions.add_parser("build", parents=[common], help="source streams to evidence/YYYY/MM/DD/<source>.jsonl")
    add_streams_option(build)
    build.add_argument("--rebuild", action="store_true", help="make the evidence of changed transforms again")
    build.set_defaults(run=run_build)
    score = actions.add_parser("score", parents=[common], help="one score for every evidence row")
    score.set_defaults(run=run_score)
    health = actions.add_parser("health", parents=[common], help="provenance round trip, coverage, classes")
    add_streams_option(health)
    health.add_argument("--sample", type=int, default=30, metavar="N", help="rows traced back to their source (default: 30)")
    health.add_argument("--seed", type=int, default=0, metavar="S", help="which ones (default: 0)")
    health.set_defaults(run=run_health)
    playbooks = actions.add_parser("playbooks", parents=[common], help="what worked on each kind of task, as a rag batch")
    playbooks.set_defaults(run=run_playbooks)
    for action in (build, score, health, playbooks):
        shared.add_json_option(action)


def add_streams_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--streams", metavar="DIR", type=Path, help="folder of <stream>.jsonl (default: streams/ of the workspace)"
    )


@contextlib.contextmanager
def reporting(args: argparse.Namespace, what: str, unit: str) -> Iterator[Any]:
    from pytest_distill.stages.progress import progress

    with progress(what, unit, shown=args.progress and not args.quiet) as report:
        yield report


def stages() -> Any:
    return importlib.import_module(f"{PIPELINE}.stages")


def run_build(args: argparse.Namespace) -> int:
    workspace = shared.open_workspace(args)
    with reporting(args, "collect", "bytes") as report:
        built = stages().one(workspace, "collect", folder=args.streams, rebuild=args.rebuild, report=report)
    show_built(args, built)
    return 0


def show_built(args: argparse.Namespace, built: Any) -> None:
    if args.json:
        names = ("stream", "rows", "out", "deduped", "skipped", "stands")
        shared.print_json({"streams": [{name: getattr(one, name) for name in names} for one in built]})
        return
    for one in built:
        shared.say(args, f"{one.stream}: {one.rows:,} rows = {one.out:,} new + {one.deduped:,} known + {one.skipped:,} skipped")
    total, new, skipped = (sum(getattr(one, name) for one in built) for name in ("rows", "out", "skipped"))
    shared.say(args, f"collect: {total:,} rows read, {new:,} added, {skipped:,} skipped")
    if skipped:
        shared.say(args, "  why, row by row: evidence/skips/")


def run_score(args: argparse.Namespace) -> int:
    workspace = shared.open_workspace(args)
    with reporting(args, "score", "files") as report:
        scored = stages().one(workspace, "score", report=report)
    show_scored(args, scored)
    return 0


def show_scored(args: argparse.Namespace, scored: Any) -> None:
    if args.json:
        shared.print_json(scored._asdict())
        return
    found = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in scored.categories.items())
    shared.say(args, f"score: {scored.rows:,} rows, {scored.out:,} new or changed: {found}")
    shared.say(args, f"  {scored.ledger_entries:,} models and kinds of task in scored-runs/model-ledger.jsonl")


def run_health(args: argparse.Namespace) -> int:
    """Returns 1 when a sampled row does not trace back to its source."""
    workspace = shared.open_workspace(args)
    module = importlib.import_module(f"{PIPELINE}.health")
    folder = args.streams or importlib.import_module(f"{PIPELINE}.store").streams_folder(workspace)
    found = module.health(workspace, folder, sample=args.sample, seed=args.seed)
    if args.json:
        streams = [
            {
                "source": s.source, "class": s.source_class, "rows": s.rows, "skipped": s.skipped, "scoreable": s.scoreable,
                "coverage": s.coverage(),
            }
            for s in found.streams
        ]  # fmt: skip
        shared.print_json({"sampled": found.sampled, "broken": list(found.broken), "streams": streams})
        return int(bool(found.broken))
    shown = ("text", "instruction", "file", "model_name", "success_markers", "failure_markers", "observer_verdict")
    rows = [
        (s.source, s.source_class, s.rows, s.skipped, _share(s.scoreable, s.rows), *(_share(s.filled[n], s.rows) for n in shown))
        for s in found.streams
    ]
    shared.print_table(("stream", "class", "rows", "skipped", "scoreable", *shown), rows)
    shared.say(args, f"{found.scoreable:,} of {found.rows:,} rows can be scored by themselves")
    shared.say(
        args, f"provenance: {found.sampled - len(found.broken)} of {found.sampled} sampled rows trace back to their source"
    )
    for problem in found.broken:
        shared.say(args, f"  {problem}")
    return int(bool(found.broken))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""


def run_playbooks(args: argparse.Namespace) -> int:
    workspace = shared.open_workspace(args)
    module = importlib.import_module("pytest_distill.pipelines.exporters.playbooks")
    batch, made = module.export_playbooks(workspace)
    if args.json:
        shared.print_json({"batch": batch.id if batch else None, "playbooks": made})
        return 0
    shared.say(args, f"{made:,} playbooks" + (f" in the batch {batch.id}" if batch else ""))
    return 0
