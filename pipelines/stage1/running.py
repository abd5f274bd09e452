"""`distill run stage1`: from its options to finished shards and their batch."""

from __future__ import annotations

import argparse
import gc
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pytest_distill import storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.cli import common as shared
from pytest_distill.cli import spending
from pytest_distill.contracts.manifest import Usage
from pytest_distill.contracts.receipts import Parameter
from pytest_distill.contracts.stage1 import PIPELINE, QC_SUMMARY, Budgets, QcSummary, Thresholds
from pytest_distill.contracts.stage1_run import Draw, Plan, Recipe
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models import metering
from pytest_distill.pipelines.models.metering import Limits, Meter, Session
from pytest_distill.pipelines.models.registry import DEFAULT, ModelChoice, Opened, open_model
from pytest_distill.pipelines.models.sentinels import refuse_unless_base, run_sentinels
from pytest_distill.pipelines.stage1 import plan as plans
from pytest_distill.pipelines.stage1.apart import KeptApart
from pytest_distill.pipelines.stage1.cleaning import DELIMITER
from pytest_distill.pipelines.stage1.deciding import Tally
from pytest_distill.pipelines.stage1.instruction_generator import LIST_SAMPLING
from pytest_distill.pipelines.stage1.makers import Here, Makers, Processes, Work
from pytest_distill.pipelines.stage1.making import Making, Watch, wanted_of
from pytest_distill.pipelines.stage1.merging import ShortOfRowsError, merge
from pytest_distill.pipelines.stage1.prompts import SPEC_VERSION, CompletionStylePrompts
from pytest_distill.pipelines.stage1.shards import Shard, run_folder
from pytest_distill.policy import allowance, bulk
from pytest_distill.policy.allowance import Task
from pytest_distill.policy.model import Policy
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release import escalation, incidents
from pytest_distill.stages.progress import Report, progress
from pytest_distill.stages.receipts import Stage, with_receipt
from pytest_distill.stages.stopping import stopping

SPARE = 0.05  # of a shard's part


def run_stage1(given: argparse.Namespace, command: Sequence[str]) -> int:
    workspace = shared.open_workspace(given)
    _check_usage(given, workspace.policy)
    bulk.refuse_single_tier(workspace, given.count)
    folder = run_folder(workspace, given.id)
    if workspace.batch_folder(given.id).exists():
        raise DistillError(
            Code.BATCH_EXISTS, f"there is a batch {given.id} already", "Batches are never edited; take another id."
        )
    every = [Shard(folder, number, given.shards) for number in range(given.shards)]
    with with_receipt(workspace, "stage1", given.id, parameters=_parameters(given)) as stage:
        batch = _made(given, workspace, every, command, stage)
        if batch is not None:
            stage.made(batch)
            escalation.returned(workspace, batch.manifest)
    if batch is None:
        _say_shard(given, every)
    else:
        _say_batch(given, batch)
    return 0


def _made(
    given: argparse.Namespace, workspace: Workspace, every: Sequence[Shard], command: Sequence[str], stage: Stage
) -> Batch | None:
    """The batch; None where only one shard of it was asked for."""
    if not given.merge:
        chosen = every if given.shard is None else [every[given.shard]]
        _refuse_started(given, chosen)
        parents = _parents(workspace, given)
        stage.reads(*(parent.folder for parent in parents))
        with ExitStack() as locks:
            for shard in chosen:
                locks.enter_context(storage.locked(shard.folder, wait=False))
            task = Task(items=given.count, generates=True, said=spending.declaration(given))
            locks.enter_context(incidents.noted(workspace, given.id))
            if bulk.is_bulk(given.count, workspace.policy):
                escalation.refuse_bulk(workspace, PIPELINE, plans.prompts_sha256(), task.said)
            running = locks.enter_context(metering.session(workspace, task, Limits(), batch=given.id))
            return _make(given, workspace, chosen, parents, command, running)
    return merge(workspace, every, command=command)


def _parameters(given: argparse.Namespace) -> dict[str, Parameter]:
    """What the receipt says that the stage ran with. A model is named without its folder: paths enter no digest."""
    names = ("purpose", "count", "seed", "shards", "shard", "merge", "backend", "revision")
    return {name: getattr(given, name) for name in names if hasattr(given, name)} | {"model": Path(given.model or DEFAULT).name}


def _check_usage(given: argparse.Namespace, policy: Policy) -> None:
    """What the options rule out, before anything is read. Raises E-USAGE, E-UNSEALED."""

    def refuse(what: str, hint: str, code: Code = Code.USAGE) -> None:
        raise DistillError(code, what, hint)

    if given.purpose != "pilot" and not given.pilot:
        refuse(f"a {given.purpose} run rests on a pilot that is sealed", "Name its batch: --pilot ID.", Code.UNSEALED)
    if given.purpose == "pilot" and given.count > plans.PILOT_ROWS:
        refuse(
            f"{given.count} rows are no pilot, which has 100 to {plans.PILOT_ROWS}",
            "Make a pilot, judge it, and go on with --purpose scale --pilot ID.",
            Code.UNSEALED,
        )
    if (given.purpose == "holdout") != bool(given.train):
        refuse("--train and --purpose holdout go together", "A hold-out names the batches it is kept apart from.")
    if given.shard is not None and given.shard >= given.shards:
        refuse(f"there is no shard {given.shard} of {given.shards}", f"They are 0 to {given.shards - 1}.")
    if given.server and not given.model:
        refuse("--server needs the name under which it has the model", "Example: --model Qwen/Qwen2.5-32B.")
    if given.merge and given.shard is not None:
        refuse("--merge makes no shard", "Leave --shard out.")
    priced = given.token_price is not None or allowance.known(policy, given.model or DEFAULT) is not None
    if given.max_cost is not None and not priced:
        refuse("--max-cost needs the model's price", "Set it in [[models]] of distill.toml, or say --token-price.")


def _refuse_started(given: argparse.Namespace, chosen: Sequence[Shard]) -> None:
    started = [shard for shard in chosen if shard.started]
    if started and not given.resume:
        raise DistillError(
            Code.RUN_EXISTS, f"{given.id} was started before ({started[0]})", "--resume goes on with it; or take another --id."
        )


def _parents(workspace: Workspace, given: argparse.Namespace) -> tuple[Batch, ...]:
    """The pilot, whose seal has to hold, and the training batches."""
    pilot = (plans.sealed_pilot(workspace, given.pilot),) if given.pilot else ()
    return (*pilot, *(open_batch(workspace.batch_folder(name)) for name in given.train))


def _make(
    given: argparse.Namespace,
    workspace: Workspace,
    chosen: Sequence[Shard],
    parents: Sequence[Batch],
    command: Sequence[str],
    running: Session,
) -> Batch | None:
    """Makes the chosen shards; the batch too if they are all there are."""
    devices = given.device.split(",")
    choice = _choice(given, devices[0])
    model = open_model(choice)
    recipe = _recipe(given, workspace, choice, model, parents)
    if given.pilot:
        plans.refuse_other_method(parents[0], recipe)
    settled = _settle(given, workspace, chosen, recipe, parents, model)
    apart = KeptApart(text for batch in parents if given.purpose == "holdout" for text in batch.column("instruction"))
    work = Work(recipe, settled[0].sha256, apart.texts)
    limits = running.limits = metering.budget(
        workspace, minutes=given.max_minutes, tokens=given.max_tokens, cost=given.max_cost, calls=given.max_calls
    )
    meter = running.meters[0]
    if given.token_price is not None:
        meter.price = given.token_price
    running.earlier = _stored(chosen, meter)
    spare = _spare(given)
    shown = given.progress and not given.quiet
    with stopping() as stop, progress(f"stage 1 {given.id}", "rows", shown=shown) as report, ExitStack() as stack:
        elsewhere = given.workers > 1 or len(devices) > 1
        if not elsewhere:
            makers: list[Makers] = [stack.enter_context(Here(model, work))]
        else:
            del model  # the processes load it
            gc.collect()
            pools = [Processes(replace(choice, device=device), work, given.workers) for device in devices]
            makers = [stack.enter_context(pool) for pool in pools]
        while True:
            _on_devices(Making(stop, limits, _watcher(report, settled, spare), meter, elsewhere), chosen, settled, makers, spare)
            if given.shard is not None:
                return None
            try:
                return merge(workspace, chosen, command=command)
            except ShortOfRowsError as short:
                if given.shards == 1:
                    raise
                spare += math.ceil(short.missing / given.shards)


def _on_devices(making: Making, shards: Sequence[Shard], settled: Sequence[Plan], makers: Sequence[Makers], spare: int) -> None:
    """Each device makes its shards one after the other; all devices are at work at once."""

    def work(device: int) -> None:
        for shard, plan in zip(shards, settled, strict=True):
            if shard.number % len(makers) == device:
                making.make(shard, plan, makers[device], wanted_of(plan, spare))

    if len(makers) == 1:
        work(0)
        return
    with ThreadPoolExecutor(len(makers)) as pool:
        for done in [pool.submit(work, device) for device in range(len(makers))]:
            done.result()


def _choice(given: argparse.Namespace, device: str) -> ModelChoice:
    return ModelChoice(
        model=given.model or DEFAULT,
        backend=given.backend or ("server" if given.server else "transformers"),
        revision=given.revision,
        device=device,
        dtype=given.dtype,
        batch_size=given.batch_size,
        url=given.server,
        tokenizer=given.tokenizer,
        key=_key(given.key_variable),
    )


def _key(variable: str | None) -> str | None:
    if variable is not None and variable not in os.environ:
        raise DistillError(Code.USAGE, f"there is no environment variable {variable}", "It has to hold the server's key.")
    return os.environ[variable] if variable is not None else None


def _recipe(
    given: argparse.Namespace, workspace: Workspace, choice: ModelChoice, model: Opened, parents: Sequence[Batch]
) -> Recipe:
    source = model.provenance
    lists = LIST_SAMPLING
    return Recipe(
        purpose=given.purpose,
        backend=choice.backend,
        dtype=choice.dtype,
        model_name=source.model_name,
        model_revision=source.model_revision,
        weights_sha256=source.weights_sha256,
        quantization=source.quantization,
        tokenizer_name=source.tokenizer_name,
        tokenizer_hash=source.tokenizer_hash,
        loader_version=source.loader_version,
        code_sha256=plans.code_sha256(),
        spec_version=SPEC_VERSION,
        prompts_sha256=plans.prompts_sha256(),
        libraries=plans.versions(),
        seed=given.seed,
        lists_per_unit=given.lists_per_unit,
        instructions=Draw(
            max_new_tokens=lists.max_new_tokens,
            temperature=lists.temperature,
            top_p=lists.top_p,
            repetition_penalty=lists.repetition_penalty,
            stop=lists.stop,
        ),
        responses=Draw(
            max_new_tokens=given.max_new_tokens,
            temperature=given.temperature,
            top_p=0.9,
            repetition_penalty=1.0,
            stop=(DELIMITER, "\nInstruction:"),
        ),
        thresholds=Thresholds(confidence_threshold=given.confidence_threshold),
        similarity=workspace.policy.duplicates.similarity,
        apart_from=tuple(batch.sha256 for batch in parents) if given.purpose == "holdout" else (),
    )


def _settle(
    given: argparse.Namespace,
    workspace: Workspace,
    chosen: Sequence[Shard],
    recipe: Recipe,
    parents: Sequence[Batch],
    model: Opened,
) -> list[Plan]:
    """The plan of every chosen shard: the one that is there, or a new one. The model is asked the sentinels either way.

    Raises E-SENTINEL, and E-FREEZE where a stored plan is not the one that these options make.
    """
    sentinels = run_sentinels(model.backend, CompletionStylePrompts().response)
    refuse_unless_base(sentinels)
    new = plans.session(
        given.id,
        given.purpose,
        given.shards,
        model.guard.report(),
        sentinels,
        recipe.loader_version,
        folder=workspace.root,
        device=given.device,
        budgets=Budgets(max_cost=given.max_cost),
        timeouts={} if given.max_minutes is None else {"max_minutes": given.max_minutes},
    )
    if new.notes:
        shared.say(given, f"note: {new.notes}")
    settled = []
    for shard in chosen:
        plan = Plan(
            batch=given.id,
            count=given.count,
            shards=given.shards,
            shard=shard.number,
            recipe=recipe,
            parents=tuple(batch.sha256 for batch in parents),
            what=given.what or f"Instructions and responses written by {recipe.model_name} ({given.purpose})",
            why=given.why or "To teach a model to follow instructions (stage 1)",
            said=spending.declaration(given),
            session=new,
        )
        if shard.started:
            stored = shard.plan()
            plans.refuse_changed(stored, plan, given.id)
            plan = stored
        else:
            shard.start(plan)
        settled.append(plan)
    return settled


def _stored(shards: Sequence[Shard], meter: Meter) -> Usage:
    """What the units that are there already used."""
    units = [unit for shard in shards for unit in shard.stored()]
    return meter.usage(*(sum(getattr(unit, name) for unit in units) for name in ("calls", "tokens_read", "tokens_written")))


def _spare(given: argparse.Namespace) -> int:
    if given.spare is not None:
        return int(given.spare)
    return 0 if given.shards == 1 else math.ceil(SPARE * given.count / given.shards)


def _watcher(report: Report, settled: Sequence[Plan], spare: int) -> Watch:
    """Adds up what the shards that are at work have, for the progress line."""
    wanted = float(sum(wanted_of(plan, spare) for plan in settled))
    tallies: dict[int, Tally] = {}

    def watch(shard: Shard, tally: Tally) -> None:
        tallies[shard.number] = tally
        kept = sum(min(one.kept, one.wanted) for one in tallies.values())
        report(float(kept), wanted, tally.words() if len(settled) == 1 else f"shard {shard.number}: {tally.words()}")

    return watch


def _say_shard(given: argparse.Namespace, every: Sequence[Shard]) -> None:
    plan, manifest = every[given.shard].plan(), every[given.shard].finished()
    candidates = sum(entry.candidates for entry in manifest.units)
    shared.say(given, f"{every[given.shard]} of {given.id}: {candidates:,} candidates, {manifest.wanted:,} rows or more are new")
    left = [shard for shard in every if not _is_finished(shard)]
    shared.say(given, f"  shard: {every[given.shard].folder}")
    again = f"distill run stage1 --id {plan.batch} --shards {plan.shards}"
    shared.say(given, f"  left: {', '.join(str(s.number) for s in left)}" if left else f"  all are there: {again} --merge")


def _is_finished(shard: Shard) -> bool:
    try:
        shard.finished()
    except DistillError:
        return False
    return True


def _say_batch(given: argparse.Namespace, batch: Batch) -> None:
    data = batch.attachment(QC_SUMMARY)
    assert data is not None
    summary = QcSummary.from_bytes(data, name=QC_SUMMARY)
    counts, rates = summary.counts, summary.rates
    lines = [
        f"{batch.id}: {counts.kept:,} rows kept of {counts.generated:,} candidates",
        f"  accepted: instructions {_percent(rates.instruction_acceptance)} of {counts.generated:,}, "
        f"pairs {_percent(rates.pair_acceptance)} of {counts.responses:,}",
        f"  token limit: {_percent(rates.token_limit)} of responses; median response: {summary.token_stats.median:g} "
        f"{summary.token_stats.unit}",
        *(f"  over its limit: {reason}" for reason in summary.failed_reasons),
        f"  batch: {batch.folder}",
        f"  judge it: pytest --distill-batch={batch.id}",
    ]
    for line in lines:
        shared.say(given, line)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
