"""A batch of a user's function made again: the recorded command, on the same parent, in a scratch workspace."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_distill import storage
from pytest_distill.batch.batch import CREATED, Batch, open_batch
from pytest_distill.contracts.manifest import Created
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.own import command
from pytest_distill.pipelines.own.running import load, run_own, source_sha256
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace


def again(workspace: Workspace, batch: Batch, scratch: Path, given: argparse.Namespace) -> Batch:  # noqa: ARG001 - one shape for all
    """Raises E-REPRODUCE where the command was not recorded, the function's source changed, or a model has no digest."""
    how = batch.manifest.how
    served = [model.name for model in how.models if model.weights_sha256 is None]
    if served:
        raise DistillError(
            Code.REPRODUCE, f"{batch.id} was made by {served[0]} on a server: no digest stands for its weights",
            "Only what was made of weights that were loaded here can be made again.",
        )  # fmt: skip
    typed = Created.load(batch.folder / CREATED).command
    if how.pipeline not in typed:
        raise DistillError(Code.REPRODUCE, f"the command that made {batch.id} is not in its created.json", "Restore that file.")
    now = source_sha256(load(how.pipeline, workspace.root))
    if now != how.parameters.get("source_sha256"):
        raise DistillError(
            Code.REPRODUCE, f"the source of {how.pipeline} was changed since {batch.id} was made", "Check out that of then."
        )
    storage.link_into(scratch, [path for path in workspace.root.iterdir() if path.name not in (workspace.state.name, "batches")])
    folder = scratch / workspace.batches.name
    folder.mkdir()
    storage.link_into(folder, [path for path in workspace.batches.iterdir() if path.is_dir() and path.name != batch.id])
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options, _ = parser.parse_known_args(list(typed[typed.index(how.pipeline) + 1 :]))
    limits = dict.fromkeys(("max_minutes", "max_calls", "max_tokens", "max_cost"))
    vars(options).update(limits, pipeline=how.pipeline, workspace=scratch, quiet=True, verbose=False, progress=False)
    run_own(options, ("distill", "reproduce", batch.id))
    return open_batch(workspaces.load(scratch).batch_folder(batch.id))
