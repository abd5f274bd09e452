"""Runs all stages over the shipped fixture with the clock pinned: twice in one workspace, and once more in another."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path

from pytest_distill import clock, storage
from pytest_distill.pipelines.evidence import stages, store
from pytest_distill.pipelines.evidence.stages import Ran
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace

FIXTURE = "pytest_distill.fixtures.evidence"
RECORDED_AT = "2026-04-27T00:00:00Z"
INVARIANTS = 22


@dataclass(frozen=True)
class Acceptance:
    """`first` and `second` ran in `workspace`, `elsewhere` in a fresh one."""

    workspace: Workspace
    first: Ran
    second: Ran
    elsewhere: Ran


def run(folder: Path) -> Acceptance:
    """Makes two workspaces below `folder`."""
    workspace, other = _workspace(folder / "workspace"), _workspace(folder / "elsewhere")
    with clock.pinned(RECORDED_AT):
        return Acceptance(workspace, stages.run_all(workspace), stages.run_all(workspace), stages.run_all(other))


def _workspace(root: Path) -> Workspace:
    storage.write_bytes(root / "distill.toml", b"schema_version = 1\n")
    made = workspaces.load(root)
    for source in (importlib.resources.files(FIXTURE) / "acceptance").iterdir():
        if source.name.endswith(".jsonl"):
            storage.write_bytes(store.streams_folder(made) / source.name, source.read_bytes())
    return made
