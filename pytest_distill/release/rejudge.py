"""A past batch judged under the policy as it lies there now, in a scratch workspace: what a change of the policy would flip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pytest_distill import storage
from pytest_distill.contracts.bulk import Rejudged
from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.runs import judge_again, newest_record
from pytest_distill.release.verdict import EVIDENCE


def rejudge(workspace: Workspace, batch_id: str) -> Rejudged:
    """Runs every gate on the batch under today's distill.toml and compares with the batch's newest run.

    Nothing is written into the workspace: the scratch workspace links to everything in it but its state and recorded versions,
    so files that the policy names relative to it are found. Raises E-BATCH-NOTFOUND, E-UNSEALED when the batch was never judged.
    """
    if not workspace.batch_folder(batch_id).is_dir():
        raise DistillError(Code.BATCH_NOTFOUND, f"there is no batch {batch_id}", "`distill list` shows them.")
    before = newest_record(workspace, batch_id)
    if before is None:
        raise DistillError(Code.UNSEALED, f"the batch {batch_id} was never judged", judge_again(batch_id))
    left_out = {workspace.state.name, workspace.policy_versions.name}
    with storage.scratch_folder() as scratch:
        storage.link_into(scratch, [path for path in workspace.root.iterdir() if path.name not in left_out])
        said = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--distill-batch={batch_id}"],
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        after = _record(scratch, batch_id)
    if after is None:
        last = (said.stderr.strip() or said.stdout.strip() or "it said nothing").splitlines()[-1]
        raise DistillError(Code.NOT_RUN, f"{batch_id} could not be judged under the new policy: {last}")
    old, new = ({gate.id: gate.status for gate in record.gates} for record in (before, after))
    flips = {
        gate: f"{old.get(gate, 'not declared')} -> {new.get(gate, 'not declared')}"
        for gate in sorted({*old, *new})
        if old.get(gate) != new.get(gate)
    }
    return Rejudged(batch=batch_id, before=before.verdict, after=after.verdict, flips=flips)


def _record(root: Path, batch_id: str) -> RunRecord | None:
    folders = workspaces.Workspace(root, workspaces.load(root).policy).run_folders(batch_id)
    return RunRecord.load(folders[-1] / EVIDENCE) if folders and (folders[-1] / EVIDENCE).is_file() else None
