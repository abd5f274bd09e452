"""Stage 1: instructions and responses of a base model, judged by its own log-probabilities, to a batch.

A run is made in units that are stored one by one: what was killed goes on with --resume, from the first unit that is missing.
"""

from __future__ import annotations

import argparse

from pytest_distill.cli import spending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", required=True, metavar="ID", help="the batch's id")
    parser.add_argument("--count", type=_positive, default=150, metavar="N", help="rows to keep (default: 150)")
    parser.add_argument(
        "--purpose", choices=("pilot", "scale", "holdout"), default="pilot", help="default: pilot, up to 200 rows"
    )
    parser.add_argument("--pilot", metavar="BATCH", help="the sealed pilot that a scale or hold-out run rests on")
    parser.add_argument(
        "--train", metavar="BATCH", action="append", default=[], help="a hold-out shares no instruction with these"
    )
    parser.add_argument("--seed", type=spending.count, default=0, metavar="S")
    parser.add_argument("--what", metavar="TEXT", help="what these rows are")
    parser.add_argument("--why", metavar="TEXT", help="why they exist")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was started")

    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME", help="a folder, a cached model, or a server's name of it (default: tiny)")
    model.add_argument("--revision", metavar="SHA", help="of a model in the cache")
    model.add_argument("--backend", choices=("transformers", "vllm", "server"), help="default: transformers, or the --server")
    model.add_argument(
        "--server", metavar="URL", help="an OpenAI-compatible server that has the model, such as http://localhost:8000/v1"
    )
    model.add_argument("--tokenizer", metavar="FOLDER", help="the tokenizer of the server's model")
    model.add_argument("--key-variable", metavar="NAME", help="the environment variable with the server's key")
    model.add_argument(
        "--device", default="cpu", metavar="D[,D…]", help="shards are pinned to these in turn: cuda:0,cuda:1 (default: cpu)"
    )
    model.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    model.add_argument(
        "--batch-size", type=_positive, default=32, metavar="B", help="inputs at a time; changes no text and no decision"
    )
    model.add_argument(
        "--workers", type=_positive, default=1, metavar="W", help="processes a device, each with the model (default: 1)"
    )

    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--temperature", type=float, default=0.4, help="of responses (default: 0.4)")
    recipe.add_argument("--max-new-tokens", type=_positive, default=80, metavar="N", help="of a response (default: 80)")
    recipe.add_argument(
        "--confidence-threshold", type=float, default=1.0, metavar="NATS", help="margin of both critics (default: 1.0)"
    )
    recipe.add_argument("--lists-per-unit", type=_positive, default=8, metavar="N", help="instruction lists a unit (default: 8)")

    shards = parser.add_argument_group("shards")
    shards.add_argument("--shards", type=_positive, default=1, metavar="N", help="parts of the run, each in a folder of its own")
    shards.add_argument("--shard", type=spending.count, metavar="I", help="make only this one, from 0; merge when all are there")
    shards.add_argument("--merge", action="store_true", help="make nothing: merge the finished shards into the batch")
    shards.add_argument(
        "--spare", type=spending.count, metavar="ROWS", help="more for each shard, for duplicates between shards (default: 5%%)"
    )

    limits = spending.add_limits(parser, "A run that reaches one stops, with exit status 1, and can be resumed.")
    limits.add_argument("--token-price", type=spending.amount, metavar="P", help="of a million tokens; default: as in [[models]]")
    spending.add_declaration(parser)


def run(arguments: argparse.Namespace) -> int:
    """Makes the shards that were asked for, and the batch when all are there. Returns 0; refusals are raised as DistillError."""
    from pytest_distill.pipelines.stage1.running import run_stage1

    return run_stage1(arguments, ("distill", *arguments.argv))


def _positive(text: str) -> int:
    if spending.count(text) == 0:
        raise argparse.ArgumentTypeError("0 is too few")
    return spending.count(text)
