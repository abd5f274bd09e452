"""`distill tokenize FILE…|BATCH`: texts to shards of token ids, and on request to a batch of kind tokens."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import common as shared

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.stages.receipts import Stage


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "tokenize",
        parents=[common],
        help="texts to shards of token ids",
        description="Writes .npy shards, .idx and a manifest. Reads JSONL, JSON, CSV, Parquet and .txt (a document a line), "
        "each also .gz or .zst, or a sealed batch. Stopped at any moment, --resume goes on; the bytes are the same.",
    )
    parser.add_argument("sources", metavar="FILE|BATCH", nargs="+", help="files in order, or the id of one sealed batch")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the first part of every shard's name")
    parser.add_argument("--version", required=True, metavar="V", help="the second part")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="a new folder")
    parser.add_argument("--text-field", default="text", metavar="F", help="the column of the texts (default: text)")
    parser.add_argument(
        "--tokenizer",
        metavar="PATH|NAME",
        help="a tokenizer.json or its folder, a .tiktoken file, a tiktoken encoding, or a model in the Hugging Face cache; "
        "default: the policy's, else the small one we ship",
    )
    parser.add_argument("--eos", metavar="TOKEN", help="the token that ends a document, where the tokenizer does not say")
    parser.add_argument("--dtype", choices=("uint32", "uint16"), default="uint32")
    parser.add_argument("--shard-tokens", type=_count, default=1 << 25, metavar="N", help="most tokens of one (default: 2^25)")
    shared.add_engine_options(parser, workers="threads, or tasks of Ray; default: all cores")
    parser.add_argument("--pipeline-version", default="data_v1", metavar="V", help="new values need a new one (default: data_v1)")
    parser.add_argument("--resume", action="store_true", help="go on with the run that was stopped in DIR")
    parser.add_argument("--id", metavar="ID", help="make a batch of kind tokens too, which gates can judge")
    shared.add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tokenizes and says what was derived and written. Returns 0; refusals are raised as DistillError."""
    import importlib
    import time

    from pytest_distill.engine.local import Threads, cores

    # The tokenizers' own threads, before the library starts them.
    os.environ.setdefault("RAYON_NUM_THREADS", str(args.workers or cores()))
    from pytest_distill.contracts.tokens import DATASET
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.stages.progress import progress
    from pytest_distill.stages.stopping import stopping

    pipeline = "pytest_distill.pipelines.tokenize"
    tokenizers, runs, inputs = (importlib.import_module(f"{pipeline}.{name}") for name in ("tokenizer", "run", "sources"))
    for option, value in (("--dataset", args.dataset), ("--version", args.version)):
        if not DATASET.fullmatch(value):
            raise DistillError(Code.USAGE, f"{option} {value!r} is no name", "Letters, digits, '.', '_' and '-', at most 80.")
    if args.id is not None and not args.resume and shared.open_workspace(args).batch_folder(args.id).exists():
        raise DistillError(Code.BATCH_EXISTS, f"there is a batch {args.id} already", "Batches are never edited; take another id.")
    tokenizer = tokenizers.load(tokenizer_of(args), eos=args.eos)
    shared.say(args, described(tokenizer))
    found = inputs.sources(args.sources, lambda: shared.open_workspace(args), args.text_field)
    order = runs.Order(
        dataset=args.dataset,
        version=args.version,
        text_field=args.text_field,
        dtype=args.dtype,
        shard_tokens=args.shard_tokens,
        pipeline_version=args.pipeline_version,
    )
    started = time.perf_counter()
    shown = args.progress and not args.quiet
    with shared.engine_of(args, lambda: Threads(args.workers)) as engine, stopping() as stop:
        with _receipt(args) as receipt, progress("tokenizing", "MB", shown=shown) as report:
            manifest = runs.tokenize(
                found, tokenizer, args.out, order, engine=engine, resume=args.resume, stop=stop, report=report
            )
            if receipt is not None:
                info = manifest.source_info
                receipt.parameters["tokenizer_hash"] = tokenizer.stamp.tokenizer_hash
                for source in found.identity:
                    receipt.has_read(source.name, source.sha256)
                receipt.writes(*sorted(path for path in args.out.iterdir() if path.suffix in (".npy", ".idx")))
                receipt.count(
                    in_=info.documents_read, out=manifest.total_documents, rejected=sum(info.documents_dropped.values())
                )
                receipt.stands(documents=manifest.total_documents, tokens=manifest.total_tokens)
        seconds = time.perf_counter() - started
        summary: dict[str, Any] = {"folder": str(args.out), "seconds": round(seconds, 3), **manifest.model_dump(mode="json")}
        if args.id is not None:
            batches = importlib.import_module(f"{pipeline}.batch")
            options = {"engine": engine, "resume": args.resume, "stop": stop, "command": _command(args)}
            made = batches.tokens_batch(shared.open_workspace(args), args.id, args.out, found, tokenizer, **options)
            summary["batch"] = made.id
    if args.json:
        shared.print_json(summary)
    info = manifest.source_info
    dropped = "".join(f", {count:,} dropped ({reason})" for reason, count in info.documents_dropped.items())
    shared.say(args, f"{info.documents_read:,} documents read: {manifest.total_documents:,} tokenized{dropped}")
    rate = f"{manifest.total_documents / max(seconds, 1e-9):,.0f} docs/s, {found.size / 1e6 / max(seconds, 1e-9):,.1f} MB/s"
    shared.say(args, f"{manifest.total_tokens:,} tokens in {manifest.num_shards:,} shards, {rate}: {args.out}")
    if args.id is not None:
        shared.say(args, f"judge them: pytest --distill-batch={args.id}")
    return 0


def _command(args: argparse.Namespace) -> tuple[str, ...]:
    """What made the batch, without what makes no difference to its bytes (--workers, --engine, --resume)."""
    named = {"--tokenizer": args.tokenizer, "--eos": args.eos, "--id": args.id}
    options = [str(part) for name, value in named.items() if value is not None for part in (name, value)]
    fixed = ("dataset", "version", "out", "text_field", "dtype", "shard_tokens", "pipeline_version")
    values = [str(part) for name in fixed for part in (f"--{name.replace('_', '-')}", getattr(args, name))]
    return ("distill", "tokenize", *args.sources, *values, *options)


@contextlib.contextmanager
def _receipt(args: argparse.Namespace) -> Iterator[Stage | None]:
    """A receipt in the workspace; None where there is none, because shards can be made anywhere."""
    from pytest_distill.policy import workspace
    from pytest_distill.stages.receipts import with_receipt

    if args.workspace is None and workspace.find(Path.cwd()) is None:
        yield None
        return
    names = ("dataset", "version", "text_field", "eos", "dtype", "shard_tokens", "pipeline_version")
    parameters = {name: getattr(args, name) for name in names}
    with with_receipt(shared.open_workspace(args), "tokenize", f"{args.dataset}-{args.version}", parameters=parameters) as stage:
        yield stage


def tokenizer_of(args: argparse.Namespace) -> str | None:
    """The tokenizer that was named; else that of the workspace's policy, where there is one; else None, the shipped one."""
    if args.tokenizer is not None:
        return str(args.tokenizer)
    from pytest_distill.policy import workspace

    if args.workspace is None and workspace.find(Path.cwd()) is None:
        return None
    table = shared.open_workspace(args).policy.tokenizer
    return str(table.path.resolved) if table.path else None


def described(tokenizer: Any) -> str:
    """What was derived from a tokenizer, in one line."""
    stamp = tokenizer.stamp
    version = f", version {stamp.tokenizer_version}" if stamp.tokenizer_version else ""
    return (
        f"tokenizer {stamp.tokenizer_name} ({stamp.tokenizer_hash}{version}): "
        f"vocabulary {stamp.vocab_size:,}, documents end with {tokenizer.eos} = {stamp.eos_token_id}"
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
