"""`distill ingest FILE… --id ID`: files to a batch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import common as shared
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    from pytest_distill.batch.batch import Batch
    from pytest_distill.cli.common import Subparsers

_POSITIONS_SHOWN = 5


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "ingest",
        parents=[common],
        help="files to a batch",
        description="Reads JSONL, JSON arrays, CSV and Parquet (each also .gz or .zst) strictly into a new batch. "
        "Malformed rows go to quarantine with line, byte offset and reason; nothing is lost.",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--id", required=True, metavar="ID", help="the batch's id: letters, digits, '.', '_', '-'")
    parser.add_argument("--kind", choices=("sft", "preference", "rag", "text"), help="default: told from the columns")
    parser.add_argument(
        "--map", action="append", default=[], metavar="NEW=OLD", help="column NEW is called OLD in the files; repeatable"
    )
    parser.add_argument(
        "--chat",
        metavar="COLUMN",
        help="rows hold turns in COLUMN: a system's (or none), a user's, an assistant's; they become instruction and response, "
        "and rows with other turns go to quarantine",
    )
    parser.add_argument("--schema", type=Path, metavar="FILE", help="JSON Schema (draft 2020-12) that every row has to satisfy")
    parser.add_argument("--expect", type=_count, metavar="N", help="how many rows are planned; a gate compares")
    parser.add_argument("--what", metavar="TEXT", help="what these rows are")
    parser.add_argument("--why", metavar="TEXT", help="why they exist")
    parser.add_argument("--cost-class", choices=("low", "med", "high"), default="low")
    parser.add_argument("--justification", metavar="TEXT", help="needed from cost class med on")
    parser.add_argument("--authorized-by", metavar="WHO", help="needed for cost class high")
    shared.add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ingests and says what became of every row. Returns 0; refusals are raised as DistillError."""
    from pytest_distill.batch.ingest.ingest import ingest
    from pytest_distill.stages.receipts import with_receipt

    quiet = args.quiet or not args.progress or not sys.stderr.isatty()
    workspace = shared.open_workspace(args)
    with with_receipt(workspace, "ingest", args.id) as stage, _progress(args.files, quiet=quiet) as progress:
        batch = ingest(
            args.files,
            workspace,
            args.id,
            kind=args.kind,
            mapping=mapping_of(args.map),
            chat=args.chat,
            schema=args.schema,
            what=args.what,
            why=args.why,
            planned=args.expect,
            cost_class=args.cost_class,
            justification=args.justification,
            authorized_by=args.authorized_by,
            command=("distill", *sys.argv[1:]),
            progress=progress,
        )
        for path, source in zip(args.files, batch.manifest.sources, strict=True):
            stage.has_read(path, source.sha256)
        stage.made(batch)
    summary = summarize(batch)
    if args.json:
        shared.print_json(summary)
    for line in _lines(summary):
        shared.say(args, line)
    return 0


def mapping_of(pairs: list[str]) -> dict[str, str]:
    """`["response=output"]` as {"response": "output"}. Raises E-USAGE for anything else, or one new name twice."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        new, equals, old = pair.partition("=")
        if not (new and equals and old):
            raise DistillError(Code.USAGE, f"--map {pair!r} is not NEW=OLD", "Example: --map response=output.")
        if new in mapping:
            raise DistillError(Code.USAGE, f"--map gives {new!r} two columns", "One new name, one column of the files.")
        mapping[new] = old
    return mapping


def summarize(batch: Batch) -> dict[str, Any]:
    """What became of every row, as one JSON document: counts, files, and each reason with its first few places."""
    from pytest_distill.batch.quarantine import reasons

    counts = batch.manifest.counts
    return {
        "id": batch.id,
        "kind": batch.kind,
        "sha256": batch.sha256,
        "folder": str(batch.folder),
        "read": counts.read,
        "kept": counts.kept,
        "quarantined": counts.quarantined,
        "planned": counts.planned,
        "columns": [column.model_dump(mode="json") for column in batch.manifest.columns],
        "sources": [source.model_dump(mode="json") for source in batch.manifest.sources],
        "reasons": [reason._asdict() for reason in reasons(batch, places=_POSITIONS_SHOWN)],
    }


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    counts = f"{summary['read']:,} rows read = {summary['kept']:,} kept + {summary['quarantined']:,} quarantined"
    yield f"{summary['id']} ({summary['kind']}): {counts}"
    if summary["planned"] is not None and summary["planned"] != summary["kept"]:
        yield f"  planned were {summary['planned']:,}"
    for reason in summary["reasons"]:
        places = ", ".join(reason["places"]) + (", …" if reason["rows"] > len(reason["places"]) else "")
        yield f"  {reason['rows']:>7,}  {reason['reason']}: {places}"
        yield f"           first: {reason['message']}"
    if summary["quarantined"]:
        yield f"  their bytes and reasons: {Path(summary['folder']) / 'quarantine.parquet'}"
    yield f"  batch: {summary['folder']}"
    yield f"  judge it: pytest --distill-batch={summary['id']}"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


@contextmanager
def _progress(files: list[Path], *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """A bar over the files' bytes on stderr, or nothing."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    total = sum(path.stat().st_size for path in files if path.is_file())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda count: bar.advance(task, count)
