"""From finished shards to a batch: every unit of every shard, in one order, decided and counted over the union.

The shards stay where they are. No model is needed here, and no figure is taken from a shard: duplicates, surplus and the quality
summary are those of the union.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_distill import clock
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.manifest import CostClass, ModelUse
from pytest_distill.contracts.stage1 import Candidate, Generation, Metadata, Status
from pytest_distill.contracts.stage1_run import PLAN, Plan, Prospect, Unit, shard_manifest_name
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.metering import Meter
from pytest_distill.pipelines.stage1.batch import write_stage1_batch
from pytest_distill.pipelines.stage1.deciding import statuses
from pytest_distill.pipelines.stage1.plan import SCRIPT, parameters, refuse_changed
from pytest_distill.pipelines.stage1.shards import Shard
from pytest_distill.policy import allowance
from pytest_distill.policy.workspace import Workspace


class ShortOfRowsError(DistillError):
    """The union keeps fewer rows than were asked for: shards had duplicates of each other. `missing` says how many."""

    def __init__(self, kept: int, plan: Plan) -> None:
        self.missing = plan.count - kept
        super().__init__(
            Code.YIELD,
            f"the union of the shards keeps {kept} of {plan.count} rows, because some said what another shard's said",
            f"Let each make {-(-self.missing // plan.shards)} more, with --spare ROWS --resume, and merge again.",
        )


def merge(workspace: Workspace, shards: Sequence[Shard], *, command: Sequence[str]) -> Batch:
    """Writes the batch. Raises E-SHARD for a shard that is missing, unfinished or of another run, E-YIELD for too few rows."""
    plans = [shard.plan() for shard in shards]
    for shard, plan in zip(shards, plans, strict=True):
        if plan.sha256 != plans[0].sha256:
            _refuse_foreign(plans[0], plan, shard)
    manifests = [shard.finished() for shard in shards]
    units = [unit for shard, plan, manifest in zip(shards, plans, manifests, strict=True) for unit in shard.units(manifest, plan)]
    units.sort(key=lambda unit: unit.number)
    plan = plans[0]
    prospects = [one for unit in units for one in unit.prospects]
    decided = statuses(prospects, count=plan.count, similarity=plan.recipe.similarity)
    if decided.count("kept") < plan.count:
        raise ShortOfRowsError(decided.count("kept"), plan)
    checked = plan.session.guards.inputs_checked + sum(unit.inputs_checked for unit in units)
    guards = plan.session.guards.model_copy(update={"inputs_checked": checked})
    recipe = plan.recipe
    model = _metered(workspace, plan, units)
    with clock.pinned(plan.session.session_start):
        return write_stage1_batch(
            workspace,
            plan.batch,
            list(_candidates(units, decided, plan)),
            plan.session.model_copy(update={"guards": guards}),
            what=plan.what,
            why=plan.why,
            thresholds=recipe.thresholds,
            unit=f"tokens of {recipe.model_name}",
            planned=plan.count,
            seed=recipe.seed,
            models=(model,),
            parameters={**parameters(recipe), "shards": plan.shards},
            parents=plan.parents,
            spec_version=recipe.spec_version,
            spec_sha256=recipe.prompts_sha256,
            cost_class=CostClass(declared=plan.said.cost_class, used=allowance.used_class(workspace.policy, (model,))),
            said=plan.said,
            attachments={PLAN: plan.to_bytes(), **{shard_manifest_name(m.shard): m.to_bytes() for m in manifests}},
            command=command,
        )


def _metered(workspace: Workspace, plan: Plan, units: Sequence[Unit]) -> ModelUse:
    """The run's model, with what all units together asked of it: the same however often the run was stopped."""
    recipe = plan.recipe
    entry = allowance.known(workspace.policy, recipe.model_name)
    usage = Meter(price=entry.price if entry else 0.0).usage(
        sum(unit.calls for unit in units), sum(unit.tokens_read for unit in units), sum(unit.tokens_written for unit in units)
    )
    return ModelUse(
        name=recipe.model_name, revision=recipe.model_revision, weights_sha256=recipe.weights_sha256, usage=usage,
        purpose=plan.said.purpose if allowance.tier(workspace.policy, recipe.model_name) == "frontier" else None,
    )  # fmt: skip


def _refuse_foreign(first: Plan, plan: Plan, shard: Shard) -> None:
    try:
        refuse_changed(first, plan, str(shard))
    except DistillError as error:
        raise DistillError(
            Code.SHARD, f"{shard} belongs to another run: {error.message}", "Make it again as the others were made."
        ) from error


def _candidates(units: Sequence[Unit], decided: Sequence[Status], plan: Plan) -> Iterator[Candidate]:
    """One candidate for each prospect, numbered through over all shards."""
    index = 0
    for unit in units:
        for one in unit.prospects:
            yield _candidate(one, unit, decided[index], index, plan)
            index += 1


def _candidate(one: Prospect, unit: Unit, status: Status, index: int, plan: Plan) -> Candidate:
    source = unit.lists[one.list]
    facts: dict[str, Any] = {
        name: getattr(one, name)
        for name in (
            "instruction", "instruction_critique", "prompt", "completion", "response", "pair_critique", "raw_tokens",
            "clean_tokens", "hit_token_limit", "trim_rule",
        )
    }  # fmt: skip
    return Candidate(
        id=f"{plan.batch}-{index:06d}",
        index=index,
        candidate_status=status,
        instruction_prompt=source.prompt,
        instruction_completion=source.completion,
        metadata=_metadata(one, plan),
        **facts,
    )


def _metadata(one: Prospect, plan: Plan) -> Metadata:
    recipe, draw = plan.recipe, plan.recipe.responses
    return Metadata(
        git_commit=plan.session.git_commit,
        timestamp=plan.session.session_start,
        loader_version=recipe.loader_version,
        model_name=recipe.model_name,
        model_revision=recipe.model_revision,
        quantization=recipe.quantization,
        template_disabled=True,
        add_special_tokens=False,
        tokenizer_name=recipe.tokenizer_name,
        tokenizer_hash=recipe.tokenizer_hash,
        script_name=SCRIPT,
        artifact_type="sft",
        generation=Generation(
            seed=one.seed,
            temperature=draw.temperature,
            top_p=draw.top_p,
            repetition_penalty=draw.repetition_penalty,
            max_new_tokens=draw.max_new_tokens,
            do_sample=draw.temperature > 0,
        ),
    )
