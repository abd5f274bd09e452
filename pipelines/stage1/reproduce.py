"""A batch of stage 1 made again, from the plan that it carries: the same recipe, the same session, the same bytes."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from pytest_distill import storage
from pytest_distill.batch.batch import CREATED, MANIFEST, Batch, open_batch
from pytest_distill.contracts.manifest import Created
from pytest_distill.contracts.stage1_run import PLAN, Plan, ShardManifest, shard_manifest_name
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.registry import SHIPPED
from pytest_distill.pipelines.stage1 import command
from pytest_distill.pipelines.stage1.plan import code_sha256, prompts_sha256, versions
from pytest_distill.pipelines.stage1.running import run_stage1
from pytest_distill.pipelines.stage1.shards import Shard, run_folder
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import POLICY_FILE, Workspace


def again(workspace: Workspace, batch: Batch, scratch: Path, given: argparse.Namespace) -> Batch:
    """Makes it in a workspace in `scratch`. Raises E-REPRODUCE where that is impossible, with what is another one than then."""
    plan = recorded(batch)
    refuse_changed_tools(batch.id, plan)
    _furnish(workspace, scratch, batch)
    copy = workspaces.load(scratch)
    folder = run_folder(copy, plan.batch)
    for number in range(plan.shards):
        shard = Shard(folder, number, plan.shards)
        shard.start(plan.model_copy(update={"shard": number}))
    options = _options(batch, plan, given, scratch, _parents(workspace, plan))
    try:
        run_stage1(options, ("distill", "reproduce", batch.id))
    except DistillError as error:
        if error.code in (Code.MODEL, Code.FREEZE, Code.YIELD):
            raise DistillError(Code.REPRODUCE, f"{batch.id} cannot be made again: {error.message}", error.hint) from error
        raise
    return open_batch(copy.batch_folder(batch.id))


def recorded(batch: Batch) -> Plan:
    """The plan in the batch. Raises E-REPRODUCE for one without, and for a served model, whose bytes nobody knows."""
    data = batch.attachment(PLAN)
    if data is None:
        raise DistillError(Code.REPRODUCE, f"{batch.id} carries no {PLAN}", "It was made by an older release.")
    plan = Plan.from_bytes(data, name=PLAN)
    if plan.recipe.weights_sha256 is None:
        raise DistillError(
            Code.REPRODUCE,
            f"{batch.id} was made by {plan.recipe.model_name} on a server: no digest stands for its weights",
            "Only what was made of weights that were loaded here can be made again.",
        )
    return plan


def refuse_changed_tools(name: str, plan: Plan) -> None:
    """Raises E-REPRODUCE, naming each, when libraries, source or prompts are not those of the plan."""
    now = {**versions(), "source of stage 1": code_sha256()[:12], "prompts": prompts_sha256()[:12]}
    recipe = plan.recipe
    then = {**recipe.libraries, "source of stage 1": recipe.code_sha256[:12], "prompts": recipe.prompts_sha256[:12]}
    parts = [part for part in sorted({*then, *now}) if then.get(part) != now.get(part)]
    changed = [f"{part} {then.get(part)} then, {now.get(part)} now" for part in parts]
    if changed:
        raise DistillError(Code.REPRODUCE, f"{name} was made with other tools: {'; '.join(changed)}", "Install those of then.")


def _furnish(workspace: Workspace, scratch: Path, batch: Batch) -> None:
    """Everything of the workspace but the batch itself; ledger and seals as copies, so that nothing is written into it."""
    left_out = {workspace.state.name, workspace.batches.name}
    storage.link_into(scratch, [path for path in workspace.root.iterdir() if path.name not in left_out])
    if not (scratch / POLICY_FILE).exists() and not (scratch / "pyproject.toml").exists():
        raise DistillError(Code.REPRODUCE, "the workspace has no policy to make it under", f"Write a {POLICY_FILE}.")
    batches, state = scratch / workspace.batches.name, scratch / workspace.state.name
    batches.mkdir()
    state.mkdir()
    storage.link_into(batches, [path for path in workspace.batches.iterdir() if path.is_dir() and path.name != batch.id])
    storage.link_into(state, [workspace.runs] if workspace.runs.is_dir() else [])
    for path in (workspace.ledger, workspace.ledger.with_name(f"{workspace.ledger.name}.head")):
        if path.is_file():
            storage.write_scratch(scratch / workspace.state.name / path.name, path.read_bytes())


def _parents(workspace: Workspace, plan: Plan) -> list[str]:
    """The ids of the batches that the plan names by digest. Raises E-REPRODUCE when one is not here any more."""
    folders = [path for path in sorted(workspace.batches.iterdir()) if (path / MANIFEST).is_file()] if plan.parents else []
    known = {open_batch(path).sha256: path.name for path in folders}
    missing = [sha256[:12] for sha256 in plan.parents if sha256 not in known]
    if missing:
        raise DistillError(Code.REPRODUCE, f"a batch that it rests on is not here: {missing[0]}…", "Put it back into batches/.")
    return [known[sha256] for sha256 in plan.parents]


def _options(batch: Batch, plan: Plan, given: argparse.Namespace, scratch: Path, parents: list[str]) -> argparse.Namespace:
    """The options of the recorded command, those that the plan settles put right, and no limits."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    typed = Created.load(batch.folder / CREATED).command
    rest = list(typed[typed.index("stage1") + 1 :]) if "stage1" in typed else []
    options, _ = parser.parse_known_args(["--id", batch.id, *rest])
    recipe, purpose = plan.recipe, plan.recipe.purpose
    rests = parents[1:] if purpose == "holdout" else []
    manifest = batch.attachment(shard_manifest_name(0))
    wanted = ShardManifest.from_bytes(manifest, name=shard_manifest_name(0)).wanted if manifest else 0
    settled = {
        "id": plan.batch, "count": plan.count, "purpose": purpose, "seed": recipe.seed, "shards": plan.shards, "shard": None,
        "merge": False, "resume": True, "pilot": parents[0] if parents else None, "train": rests, "what": plan.what,
        "why": plan.why, "backend": recipe.backend, "dtype": recipe.dtype, "revision": None, "server": None,
        "temperature": recipe.responses.temperature, "max_new_tokens": recipe.responses.max_new_tokens,
        "confidence_threshold": recipe.thresholds.confidence_threshold, "lists_per_unit": recipe.lists_per_unit,
        "spare": wanted - math.ceil(plan.count / plan.shards), "max_minutes": None, "max_calls": None, "max_tokens": None,
        "max_cost": None, "token_price": None, "cost_class": plan.said.cost_class, "justification": plan.said.justification,
        "authorized_by": plan.said.authorization.by if plan.said.authorization else None,
        "authorized_on": plan.said.authorization.date if plan.said.authorization else None,
        "frontier_purpose": plan.said.purpose, "workspace": scratch, "progress": False, "quiet": True, "verbose": False,
        "pipeline": "stage1",
    }  # fmt: skip
    if given.model is not None:
        settled["model"] = given.model
    elif options.model is None or not Path(options.model).is_dir():
        settled["model"] = recipe.model_name if recipe.model_name in SHIPPED or options.model is None else options.model
    vars(options).update(settled)
    return options
