"""The batches from which a batch says it comes: found in the workspace by digest, with the state of their seals."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pytest_distill import storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.digest import SUMS
from pytest_distill.errors import DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.runs import gates_against


@dataclass(frozen=True)
class Parent:
    """One parent: `batch` is None where the workspace has no such batch; `unsealed` says why no seal holds, None if one does.

    `against` are the gates that said no where nothing else is in the way of a seal.
    """

    sha256: str
    batch: Batch | None
    unsealed: str | None
    against: tuple[str, ...] = ()


def parents(workspace: Workspace, digests: tuple[str, ...]) -> tuple[Parent, ...]:
    """Every named batch, in order. What does not open or is not sealed is said, not raised: the gate decides."""
    known = _known(workspace)
    return tuple(_parent(workspace, known, sha256) for sha256 in digests)


def ancestors(workspace: Workspace, digests: tuple[str, ...]) -> tuple[Parent, ...]:
    """The named batches, those that they name, and so on to the first ones: each once, the nearest first."""
    known = _known(workspace)
    found: dict[str, Parent] = {}
    waiting = deque(digests)
    while waiting:
        sha256 = waiting.popleft()
        if sha256 not in found:
            found[sha256] = parent = _parent(workspace, known, sha256)
            waiting.extend(parent.batch.manifest.parents if parent.batch else ())
    return tuple(found.values())


def _known(workspace: Workspace) -> dict[str, Path]:
    """The folders of the workspace's batches by digest."""
    folders = sorted(workspace.batches.iterdir()) if workspace.batches.is_dir() else []
    return {storage.sha256_file(folder / SUMS): folder for folder in folders if (folder / SUMS).is_file()}


def _parent(workspace: Workspace, known: dict[str, Path], sha256: str) -> Parent:
    if sha256 not in known:
        return Parent(sha256, None, f"no batch of {workspace.batches.name}/ has the digest {sha256[:12]}…")
    batch = None
    try:
        batch = open_batch(known[sha256])
        against = gates_against(workspace, batch)
    except DistillError as error:
        return Parent(sha256, batch, str(error))
    return Parent(sha256, batch, f"gates of {batch.id} said no: {', '.join(against)}" if against else None, against)
