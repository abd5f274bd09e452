"""`distill score ID --id NEW`: what a judge says of every row, as a new batch with the column `scores`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import common as shared
from pytest_distill.cli import spending

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "score",
        parents=[common],
        help="have a judge score every row of a batch",
        description="Five scores and a domain for each row, in a new batch; rows without a valid score go to its quarantine. "
        "Stopped at any moment, --resume goes on; the bytes are the same.",
    )
    parser.add_argument("batch", metavar="ID", help="the batch to score; it stays as it is")
    parser.add_argument("--id", required=True, metavar="NEW", help="the new batch's id")
    parser.add_argument("--column", action="append", metavar="C", help="what the judge is shown (default: the kind's texts)")
    parser.add_argument("--seed", type=_count, default=0, metavar="S", help="of attempts after the first, which is greedy")
    parser.add_argument(
        "--retries", type=_count, default=2, metavar="N", help="attempts after a first that gave none (default: 2)"
    )
    parser.add_argument("--temperature", type=_amount, default=0.7, metavar="T", help="of these (default: 0.7)")
    parser.add_argument("--max-new-tokens", type=_positive, default=256, metavar="N", help="of a reply (default: 256)")
    parser.add_argument(
        "--unit-rows", type=_positive, default=64, metavar="N", help="rows that are stored together (default: 64)"
    )
    parser.add_argument("--what", metavar="TEXT", help="what the new batch is")
    parser.add_argument("--why", metavar="TEXT", help="why it exists")
    parser.add_argument("--resume", action="store_true", help="go on with a scoring that was started")
    add_judge_options(parser)
    spending.add_declaration(parser)
    shared.add_json_option(parser)
    parser.set_defaults(run=run)


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which model judges; `judge_choice` reads them."""
    group = parser.add_argument_group("judge")
    group.add_argument("--model", metavar="NAME", help="a folder, a cached model, or a server's name of it (default: tiny)")
    group.add_argument("--revision", metavar="SHA", help="of a model in the cache")
    group.add_argument("--backend", choices=("transformers", "vllm", "server"), help="default: transformers, or the --server")
    group.add_argument("--server", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:8000/v1")
    group.add_argument("--key-variable", metavar="NAME", help="the environment variable with the server's key")
    group.add_argument("--device", default="cpu", metavar="D", help="such as cuda:0 (default: cpu)")
    group.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    group.add_argument("--batch-size", type=_positive, default=16, metavar="B", help="prompts at a time (default: 16)")


def judge_choice(args: argparse.Namespace) -> Any:
    """A `ModelChoice` from the options of `add_judge_options`. Raises E-USAGE."""
    import importlib

    from pytest_distill.errors import Code, DistillError

    registry = importlib.import_module("pytest_distill.pipelines.models.registry")
    if args.server and not args.model:
        raise DistillError(
            Code.USAGE, "--server needs the name under which it has the model", "Example: --model Qwen/Qwen2.5-32B-Instruct."
        )
    if args.key_variable is not None and args.key_variable not in os.environ:
        raise DistillError(
            Code.USAGE, f"there is no environment variable {args.key_variable}", "It has to hold the server's key."
        )
    return registry.ModelChoice(
        model=args.model or registry.DEFAULT,
        backend=args.backend or ("server" if args.server else "transformers"),
        revision=args.revision,
        device=args.device,
        dtype=args.dtype,
        batch_size=args.batch_size,
        url=args.server,
        key=os.environ[args.key_variable] if args.key_variable is not None else None,
    )


def run(args: argparse.Namespace) -> int:
    """Scores what is not scored yet, and writes the batch. Returns 0; refusals are raised as DistillError."""
    import importlib

    from pytest_distill import storage
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.contracts.grading import SCORING, ScoringSummary
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.policy.allowance import Task
    from pytest_distill.release import incidents
    from pytest_distill.stages.progress import progress
    from pytest_distill.stages.receipts import with_receipt
    from pytest_distill.stages.stopping import stopping

    scoring = importlib.import_module("pytest_distill.pipelines.grading.scoring")
    judging = importlib.import_module("pytest_distill.pipelines.models.judging")
    metering = importlib.import_module("pytest_distill.pipelines.models.metering")
    workspace = shared.open_workspace(args)
    parent = open_batch(workspace.batch_folder(args.batch))
    if workspace.batch_folder(args.id).exists():
        raise DistillError(Code.BATCH_EXISTS, f"there is a batch {args.id} already", "Batches are never edited; take another id.")
    work = scoring.ScoringRun(workspace, args.id)
    if work.started and not args.resume:
        raise DistillError(
            Code.RUN_EXISTS, f"the scoring {args.id} was started before", "--resume goes on with it; or take another --id."
        )
    columns = scoring.columns_of(parent, args.column)
    said = spending.declaration(args)
    task = Task(items=parent.rows, repeats=True, said=said)
    with incidents.noted(workspace, args.id), metering.session(workspace, task, batch=args.id):
        judge = judging.open_judge(judge_choice(args))
        order = scoring.Order(
            columns=columns,
            seed=args.seed,
            retries=args.retries,
            max_new_tokens=args.max_new_tokens,
            temperature=args.temperature,
            unit_rows=args.unit_rows,
        )
        plan = scoring.plan_of(args.id, parent, judge.ran, order)
        what = args.what or f"{parent.id}, scored by {judge.ran.model_name}"
        parameters = {"scorer": plan.scorer.model, "version": plan.scorer.version, "rubric": plan.scorer.rubric_version}
        shown = args.progress and not args.quiet
        with (
            storage.locked(work.folder, wait=False),
            with_receipt(workspace, "score", args.id, parameters=parameters) as stage,
            stopping() as stop,
            progress(f"scoring {parent.id}", "rows", shown=shown) as report,
        ):
            stage.reads(parent.folder)
            units = tuple(scoring.score(work, plan, parent, judge, stop=stop, report=report))
            batch = scoring.scored_batch(
                workspace,
                plan,
                parent,
                units,
                judge.ran.use(),
                said=said,
                what=what,
                why=args.why or "not stated",
                command=("distill", *sys.argv[1:]),
            )
            stage.made(batch)
    summary = ScoringSummary.from_bytes(batch.attachment(SCORING) or b"", name=SCORING)
    if args.json:
        shared.print_json({"batch": batch.id, "sha256": batch.sha256, **summary.model_dump(mode="json")})
    failures = "".join(f", {count:,} {code}" for code, count in summary.failures.items())
    shared.say(args, f"{batch.id}: {summary.scored:,} of {summary.rows:,} rows scored{failures}")
    shared.say(args, f"  by {plan.scorer.model}, {plan.scorer.version}; {summary.tokens_written:,} tokens written")
    shared.say(args, f"  batch: {batch.folder}")
    return 0


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _positive(text: str) -> int:
    if _count(text) == 0:
        raise argparse.ArgumentTypeError("0 is too few")
    return int(text)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no temperature")
    return value
