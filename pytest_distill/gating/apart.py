"""A batch judged by pytest in a process of its own, as on the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.verdict import EVIDENCE


class Apart(NamedTuple):
    """What the run left, and what pytest printed."""

    record: RunRecord
    folder: Path
    output: str


def judge(workspace: Workspace, batch_id: str) -> Apart:
    """Runs pytest from the workspace's root. Raises E-GATE-NOT-RUN when it reached no verdict."""
    known = set(workspace.run_folders(batch_id))
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--distill-batch={batch_id}"]
    command.append(f"--distill-workspace={workspace.root}")
    done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, errors="replace", check=False)
    folders = [folder for folder in workspace.run_folders(batch_id) if folder not in known]
    if not folders:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["it printed nothing"]
        raise DistillError(Code.NOT_RUN, f"pytest did not judge the rows: {lines[-1]}", "Mend that and try again.")
    return Apart(RunRecord.load(folders[-1] / EVIDENCE), folders[-1], done.stdout)
