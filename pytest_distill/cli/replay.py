"""`distill replay`: a task, shown what worked before, to a local model; its output checked by code, and logged as evidence."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import spending

if TYPE_CHECKING:
    from pytest_distill.batch.batch import Batch
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.policy.model import Policy
    from pytest_distill.policy.workspace import Workspace

_PIPELINE = "pytest_distill.pipelines.replay"
_MODELS = "pytest_distill.pipelines.models"
_TASKS = 50
_LIMITS = "The model is not called beyond them. What [budget] says holds too."
# What a ceiling leaves behind.
_GO_ON = "The local model's output is in the log: the same command goes on under a new limit."
_GO_ON_STUDY = "Tasks that are done are kept: the same command goes on under a new limit."


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "replay",
        parents=[common],
        help="a task, with what worked before, to a local model",
        description="Retrieves what worked on similar tasks, shows it to a local model, checks the output by deterministic code "
        "and appends the run to streams/replay_runs.jsonl, where `distill evidence build` finds it.",
    )
    parser.add_argument("--task", metavar="TEXT", help="what is to be done")
    parser.add_argument(
        "--local-only", action="store_true", help="refuse a model that is not on this machine, and escalate never"
    )
    parser.add_argument("--allow-escalation", action="store_true", help="ask the frontier model where the local output fails")
    parser.add_argument("--no-retrieval", action="store_true", help="show nothing: a baseline")
    _add_model(parser)
    escalation = parser.add_argument_group("escalation", "What comes of it is never evidence.")
    escalation.add_argument("--frontier", metavar="NAME", help="listed in [[models]] with its purposes and its price")
    escalation.add_argument("--frontier-server", metavar="URL", help="its server, such as https://example.org/v1")
    escalation.add_argument("--frontier-tokenizer", metavar="DIR", help="the folder of its tokenizer")
    escalation.add_argument("--frontier-key-variable", metavar="NAME", help="the environment variable that holds the key")
    spending.add_declaration(parser)
    spending.add_limits(parser, _LIMITS)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    study = actions.add_parser(
        "study",
        parents=[common],
        help="with retrieval against without, over a set of tasks",
        description="Runs every task twice, with and without retrieval, and compares the pairs: an exact McNemar test, bootstrap "
        "intervals of the differences, and the share of runs that failed locally over time.",
    )
    study.add_argument(
        "--tasks",
        metavar="FILE|ID",
        help='JSONL lines {"task": "…", "reference": "…"}, or a batch of kind sft (default: the newest)',
    )
    study.add_argument("--count", type=_positive, default=_TASKS, metavar="N", help=f"tasks of a batch (default: {_TASKS})")
    study.add_argument("--out", type=Path, metavar="FILE", help="write the study there too, as JSON")
    _add_model(study)
    spending.add_limits(study, _LIMITS)
    study.set_defaults(run=run_study)


def _add_model(parser: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    add_json_option(parser)
    group = parser.add_argument_group("model and corpus")
    group.add_argument("--model", default="tiny", metavar="NAME", help="a folder, a name of the local cache, or tiny (default)")
    group.add_argument("--backend", default="transformers", choices=("transformers", "vllm", "server"))
    group.add_argument("--server", metavar="URL", help="of the backend server")
    group.add_argument("--tokenizer", metavar="DIR", help="of the backend server")
    group.add_argument("--device", default="cpu", metavar="NAME")
    group.add_argument("--seed", type=int, default=0, metavar="N")
    group.add_argument("--temperature", type=_amount, default=0.0, metavar="T", help="default: 0, greedy")
    group.add_argument("--room", type=_positive, default=640, metavar="TOKENS", help="of the prompt (default: 640)")
    group.add_argument("--max-new-tokens", type=_positive, default=256, metavar="N")
    group.add_argument("--min-words", type=_positive, default=3, metavar="N", help="of an output (default: 3)")
    group.add_argument("--corpus", metavar="ID", help="the batch to retrieve from (default: the newest of kind rag)")


def run(args: argparse.Namespace) -> int:
    """0 when the output, or the frontier model's, passed; 1 when none did. Raises E-FRONTIER, E-COST-CLASS before any model is
    opened, E-BUDGET with the local run in the log."""
    from pytest_distill.cli.common import open_workspace, print_json, say
    from pytest_distill.errors import Code, DistillError, one_line
    from pytest_distill.policy.allowance import Task
    from pytest_distill.stages.receipts import with_receipt

    if not (args.task or "").strip():
        raise DistillError(Code.USAGE, "no task", 'Say what is to be done: --task "…".')
    if args.local_only and args.allow_escalation:
        raise DistillError(Code.USAGE, "--local-only and --allow-escalation contradict each other", "Leave one out.")
    replaying = importlib.import_module(f"{_PIPELINE}.replay")
    workspace = open_workspace(args)
    settings = _settings(args)
    if args.allow_escalation:
        _check_frontier(args, workspace.policy)
    batch = None if args.no_retrieval else _rag(workspace, args.corpus)
    subject = replaying.task_hash(args.task)[:12]  # runs of one task are compared
    said = spending.declaration(args)
    # Task by task is a repetition too: what was escalated before counts, so that a loop around this command is bulk.
    before = sum(run.escalation is not None for run in replaying.logged(workspace)) if args.allow_escalation else 0
    with (
        with_receipt(workspace, "replay", subject, parameters=_parameters(args)) as stage,
        spending.metered(workspace, Task(items=before + 1, said=said), args, go_on=_GO_ON) as running,
    ):
        frontier = _frontier(args) if args.allow_escalation else None  # first: refused before the local model is asked
        corpus = _corpus(stage, batch)
        model = _local(args, workspace.policy)
        stage.parameters["model"] = model.use.revision
        done = replaying.replay([args.task], corpus, model, settings)[0]
        try:
            if frontier is not None and not done.validation.passed:
                done = replaying.escalated(done, frontier, running.meters[0], settings, purpose=said.purpose)
        finally:  # a ceiling or a server may end it here: what the local model said is kept
            path = replaying.log(workspace, [done])
            _count(stage, [done])
    used = done.escalation if done.escalation is not None else done
    if args.json:
        print_json(done.model_dump(mode="json"))
    else:
        print(used.output)  # noqa: T201 - the answer
        for finding in used.validation.findings:
            say(args, f"{finding.code}: {finding.message}" + (f" ({finding.found})" if finding.found else ""))
        shown = ", ".join(item.title or item.rag_id for item in done.bundle.items) or "nothing"
        say(args, one_line(f"shown: {shown}"))
        if done.escalation is not None:
            tokens = done.escalation.prompt_tokens + done.escalation.completion_tokens
            say(args, f"escalated for {done.escalation.reason}: {tokens:,} tokens, cost {done.escalation.cost:g}")
        say(args, f"{'accepted' if done.accepted else 'not accepted'} as evidence; logged in {path}")
    return 0 if used.validation.passed else 1


def run_study(args: argparse.Namespace) -> int:
    from pytest_distill import storage
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say
    from pytest_distill.policy.allowance import Task
    from pytest_distill.stages.progress import progress
    from pytest_distill.stages.receipts import with_receipt
    from pytest_distill.stages.stopping import stopping

    studying = importlib.import_module(f"{_PIPELINE}.study")
    replaying = importlib.import_module(f"{_PIPELINE}.replay")
    workspace = open_workspace(args)
    settings = _settings(args)
    batch = _rag(workspace, args.corpus)
    with (
        with_receipt(workspace, "replay-study", parameters=_parameters(args)) as stage,
        spending.metered(workspace, Task(repeats=True), args, go_on=_GO_ON_STUDY),
    ):
        corpus = _corpus(stage, batch)
        tasks = _tasks(stage, workspace, args)
        model = _local(args, workspace.policy)
        stage.parameters["model"] = model.use.revision
        with stopping() as stop, progress("studying", "tasks", shown=args.progress and not args.quiet) as report:

            def keep(runs: Any) -> None:
                replaying.log(workspace, runs)
                _count(stage, runs)

            def told(*words: Any) -> None:
                report(*words)
                stop.check()

            before = studying.kept(workspace.state, tasks, corpus, model, settings)
            with storage.locked(before.folder, wait=False):
                pairs = studying.run(tasks, corpus, model, settings, keep=keep, report=told, before=before)
        found = studying.study(pairs, corpus, model, settings, replaying.logged(workspace))
        if args.out is not None:
            found.write(args.out)
            stage.writes(args.out)
        before.done()
    if args.json:
        print_json(found.model_dump(mode="json"))
        return 0
    rows = [
        (
            each.figure,
            f"{each.with_retrieval:.3f}",
            f"{each.without_retrieval:.3f}",
            f"{each.difference:+.3f}",
            f"{each.interval[0]:+.3f} to {each.interval[1]:+.3f}",
            "" if each.p_value is None else f"{each.p_value:.3g}",
        )
        for each in found.compared
    ]
    print_table(("figure", "with", "without", "difference", "95% interval", "exact p"), rows, title=f"{found.tasks} tasks")
    windows = [
        (f"{w.first} to {w.first + w.runs - 1}", w.wanted, f"{w.share:.0%}", f"{w.interval[0]:.0%} to {w.interval[1]:.0%}")
        for w in found.escalation
    ]
    print_table(("runs with retrieval", "failed locally", "share", "95% interval"), windows, title="escalation wanted, over time")
    say(args, "The interval leaves out 0 where the difference is more than chance among such tasks.")
    return 0


def _settings(args: argparse.Namespace) -> Any:
    replaying = importlib.import_module(f"{_PIPELINE}.replay")
    limits = importlib.import_module(f"{_PIPELINE}.validate").Limits(min_words=args.min_words)
    return replaying.Settings(
        room=args.room, max_new_tokens=args.max_new_tokens, temperature=args.temperature, seed=args.seed, limits=limits
    )


def _local(args: argparse.Namespace, policy: Policy) -> Any:
    """The local model. Raises E-FRONTIER for another, E-USAGE where --local-only is said and the server is another machine."""
    from urllib.parse import urlsplit

    from pytest_distill.errors import Code, DistillError
    from pytest_distill.policy.allowance import tier

    registry = importlib.import_module(f"{_MODELS}.registry")
    replaying = importlib.import_module(f"{_PIPELINE}.replay")
    host = urlsplit(args.server or "").hostname
    if getattr(args, "local_only", False) and host not in (None, "localhost", "127.0.0.1", "::1"):
        raise DistillError(Code.USAGE, f"{host} is not this machine, and --local-only was said", "Name a local server.")
    if tier(policy, args.model, args.server) == "frontier":  # whatever is declared: what it says would become evidence
        raise DistillError(
            Code.FRONTIER,
            f"{args.model} is a frontier model, and a replay is a local model's",
            "Name a local one: --model; a frontier model is asked by --allow-escalation --frontier NAME.",
        )
    choice = registry.ModelChoice(
        model=args.model, backend=args.backend, device=args.device, url=args.server, tokenizer=args.tokenizer
    )
    opened = registry.open_model(choice)
    return replaying.Model(opened.backend, opened.provenance.use())


def _check_frontier(args: argparse.Namespace, policy: Policy) -> None:
    """What the options leave out. Raises E-USAGE."""
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.policy.allowance import known

    needed = {
        "--frontier": args.frontier,
        "--frontier-server": args.frontier_server,
        "--frontier-tokenizer": args.frontier_tokenizer,
    }
    if missing := [name for name, value in needed.items() if value is None]:
        message = f"--allow-escalation needs {', '.join(missing)}"
        raise DistillError(Code.USAGE, message, "A frontier model is served; its prompts are counted by its own tokenizer.")
    entry = known(policy, args.frontier)
    if args.max_cost is not None and not (entry and entry.price):
        message = f"--max-cost needs the price of {args.frontier}"
        raise DistillError(Code.USAGE, message, "Set it in [[models]] of distill.toml.")


def _frontier(args: argparse.Namespace) -> Any:
    import os

    from pytest_distill.errors import Code, DistillError

    registry = importlib.import_module(f"{_MODELS}.registry")
    replaying = importlib.import_module(f"{_PIPELINE}.replay")
    key = None
    if args.frontier_key_variable is not None:
        key = os.environ.get(args.frontier_key_variable)
        if not key:
            raise DistillError(Code.USAGE, f"the variable {args.frontier_key_variable} is not set", "It has to hold the key.")
    choice = registry.ModelChoice(
        model=args.frontier, backend="server", url=args.frontier_server, tokenizer=args.frontier_tokenizer, key=key, batch_size=1
    )
    opened = registry.open_model(choice)
    return replaying.Model(opened.backend, opened.provenance.use())


def _tasks(stage: Any, workspace: Workspace, args: argparse.Namespace) -> Any:
    """Those of a file, or of a batch."""
    studying = importlib.import_module(f"{_PIPELINE}.study")
    if args.tasks is not None and Path(args.tasks).is_file():
        stage.reads(Path(args.tasks))
        return studying.read_tasks(Path(args.tasks))
    batch = _batch(workspace, args.tasks, "sft", "`distill run-all` makes one from evidence; or name a file: --tasks FILE.")
    stage.reads(batch.folder)
    return studying.tasks_of(batch, args.count, seed=args.seed)


def _batch(workspace: Workspace, batch_id: str | None, kind: str, hint: str) -> Batch:
    """The batch that was named, or the newest of a kind. Raises E-BATCH-NOTFOUND."""
    from pytest_distill.batch.batch import CREATED, MANIFEST, open_batch
    from pytest_distill.contracts.manifest import Created, Manifest
    from pytest_distill.errors import Code, DistillError

    if batch_id is not None:
        return open_batch(workspace.batch_folder(batch_id))
    found = [
        (Created.load(path.with_name(CREATED)).created_at, path.parent.name)
        for path in sorted(workspace.batches.glob(f"*/{MANIFEST}"))
        if Manifest.load(path).kind == kind
    ]
    if not found:
        raise DistillError(Code.BATCH_NOTFOUND, f"there is no batch of kind {kind}", hint)
    return open_batch(workspace.batch_folder(max(found)[1]))


def _rag(workspace: Workspace, batch_id: str | None) -> Batch:
    hint = "`distill run-all` makes one from evidence, `distill ingest --kind rag` one of your own documents."
    return _batch(workspace, batch_id, "rag", hint)


def _corpus(stage: Any, batch: Batch | None) -> Any:
    if batch is None:
        return None
    stage.reads(batch.folder)
    return importlib.import_module(f"{_PIPELINE}.corpus").of_batch(batch)


def _count(stage: Any, runs: Any) -> None:
    accepted = sum(run.accepted for run in runs)
    failed = sum(not run.validation.passed for run in runs)
    stage.count(in_=len(runs), out=len(runs), accepted=accepted, rejected=failed, quarantined=len(runs) - accepted - failed)


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    names = ("backend", "seed", "temperature", "room", "max_new_tokens", "min_words", "task", "no_retrieval", "count")
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount")
    return value
