"""`distill shards verify | info | inspect | reindex | merge`: sets of token shards, checked, shown, mended and joined."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import common as shared

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

_SHOWN = 400  # characters of a document


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser("shards", parents=[common], help="check, show, mend and join shards", description=__doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    verify = actions.add_parser("verify", parents=[common], help="check every byte and every invariant of the format")
    verify.set_defaults(run=run_verify)
    info = actions.add_parser("info", parents=[common], help="what the manifest says")
    info.set_defaults(run=run_info)
    inspect = actions.add_parser("inspect", parents=[common], help="documents, decoded")
    inspect.add_argument("-n", type=_count, default=5, metavar="N", help="how many (default: 5)")
    inspect.add_argument("--first", type=_place, default=0, metavar="K", help="from the K-th document of the set on (from 0)")
    _add_tokenizer(inspect)
    inspect.set_defaults(run=run_inspect)
    reindex = actions.add_parser(
        "reindex", parents=[common], help="make missing or wrong .idx files again from the EOS in their shards"
    )
    reindex.set_defaults(run=run_reindex)
    for action in (verify, info, inspect, reindex):
        action.add_argument("folder", metavar="DIR", type=Path)
    merge = actions.add_parser("merge", parents=[common], help="join sets that were made with one tokenizer")
    merge.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="in the order in which their shards are numbered")
    merge.add_argument("--out", required=True, metavar="DIR", type=Path, help="a new folder")
    merge.add_argument("--dataset", required=True, metavar="NAME")
    merge.add_argument("--version", required=True, metavar="V")
    merge.set_defaults(run=run_merge)
    for action in (verify, info, inspect, reindex, merge):
        shared.add_json_option(action)


def _add_tokenizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokenizer", metavar="PATH|NAME", help="the one the set was made with; default: the policy's, or ours")
    parser.add_argument("--eos", metavar="TOKEN", help="its end of document, where it does not say")


def run_verify(args: argparse.Namespace) -> int:
    """One line for everything that is wrong, each with its code. Returns 0 when nothing is, else 1."""
    from pytest_distill.batch import shards

    found = shards.problems(args.folder)
    if args.json:
        problems = [{"code": error.code.value, "message": error.message, "hint": error.hint} for error in found]
        shared.print_json({"folder": str(args.folder), "whole": not found, "problems": problems})
    for error in found:
        sys.stderr.write(f"{error.line()}\n")
    if not found:
        manifest = shards.load_manifest(args.folder)
        tokens = f"{manifest.total_documents:,} documents, {manifest.total_tokens:,} tokens in {manifest.num_shards:,} shards"
        shared.say(args, f"{args.folder}: whole. {tokens}")
    return int(bool(found))


def run_info(args: argparse.Namespace) -> None:
    from pytest_distill.batch import shards

    manifest = shards.load_manifest(args.folder)
    if args.json:
        shared.print_json(manifest.model_dump(mode="json"))
        return
    version = f", version {manifest.tokenizer_version}" if manifest.tokenizer_version else ""
    info = manifest.source_info
    facts: list[tuple[str, object]] = [
        ("dataset", f"{manifest.dataset} {manifest.version}"),
        ("tokenizer", f"{manifest.tokenizer_name} ({manifest.tokenizer_hash}{version})"),
        ("vocabulary", f"{manifest.vocab_size:,} ids, documents end with {manifest.eos_token_id}, stored as {manifest.dtype}"),
        ("documents", manifest.total_documents),
        ("tokens", f"{manifest.total_tokens:,}, {manifest.total_tokens / manifest.total_documents:,.1f} a document"),
        ("shards", manifest.num_shards),
        ("read", f"{info.documents_read:,} documents, dropped: {info.documents_dropped or 'none'}"),
        ("from", ", ".join(source.name for source in info.sources)),
        ("made", f"{manifest.created_at} by {manifest.pipeline_version}, commit {manifest.git_sha or 'unknown'}"),
    ]
    shared.print_table(("", ""), facts)


def run_inspect(args: argparse.Namespace) -> None:
    """Decoded documents, control characters made visible. The tokenizer has to be the one that the set was made with."""
    import importlib

    from pytest_distill.batch import shards
    from pytest_distill.cli.tokenize import tokenizer_of

    tokenizers = importlib.import_module("pytest_distill.pipelines.tokenize.tokenizer")
    manifest = shards.verify(args.folder)
    tokenizer = tokenizers.load(tokenizer_of(args), eos=args.eos)
    tokenizers.same(tokenizer.stamp, manifest.stamp, str(args.folder))
    found: list[dict[str, Any]] = []
    before = 0
    for entry in manifest.shards:
        wanted = range(max(args.first - before, 0), min(args.first + args.n - before, entry.num_documents))
        if wanted:
            index = shards.parse_index((args.folder / entry.index_path).read_bytes(), entry.index_path)
            ids = shards.memory_map(args.folder / entry.path, entry, manifest.dtype)
            for number in wanted:
                document = ids[index.starts[number] : index.ends[number]].tolist()
                found.append(
                    {
                        "document": before + number,
                        "shard": entry.path,
                        "tokens": len(document),
                        "ids": document,
                        "text": tokenizer.decode(document[:-1]),
                    }
                )
        before += entry.num_documents
    if args.json:
        shared.print_json(found)
        return
    rows = [(row["document"], row["shard"], row["tokens"], _excerpt(row["text"])) for row in found]
    shared.print_table(("document", "shard", "tokens", "text"), rows)


def run_reindex(args: argparse.Namespace) -> None:
    import importlib

    made = importlib.import_module("pytest_distill.pipelines.tokenize.sets").reindex(args.folder)
    if args.json:
        shared.print_json({"folder": str(args.folder), "written": made})
    shared.say(args, f"{args.folder}: {', '.join(made) + ' written' if made else 'nothing was missing'}")


def run_merge(args: argparse.Namespace) -> None:
    import importlib

    sets = importlib.import_module("pytest_distill.pipelines.tokenize.sets")
    manifest = sets.merge(args.folders, args.out, dataset=args.dataset, version=args.version)
    if args.json:
        shared.print_json(manifest.model_dump(mode="json"))
    tokens = f"{manifest.total_documents:,} documents, {manifest.total_tokens:,} tokens in {manifest.num_shards:,} shards"
    shared.say(args, f"{tokens}: {args.out}")


def _excerpt(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _place(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def _count(text: str) -> int:
    if _place(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
