"""The batches from which a batch says it comes: found in the workspace by digest, with the state of their seals."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_distill import storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.digest import SUMS
from pytest_distill.errors import DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.runs import sealed_run


@dataclass(frozen=True)
class Parent:
    """One parent: `batch` is None where the workspace has no such batch; `unsealed` says why no seal holds, None if one does."""

    sha256: str
    batch: Batch | None
    unsealed: str | None


def parents(workspace: Workspace, digests: tuple[str, ...]) -> tuple[Parent, ...]:
    """Every named batch, in order. What does not open or is not sealed is said, not raised: the gate decides."""
    folders = sorted(workspace.batches.iterdir()) if workspace.batches.is_dir() else []
    known = {storage.sha256_file(folder / SUMS): folder for folder in folders if (folder / SUMS).is_file()}
    found = []
    for sha256 in digests:
        batch, unsealed = None, f"no batch of {workspace.batches.name}/ has the digest {sha256[:12]}…"
        if sha256 in known:
            try:
                batch = open_batch(known[sha256])
                sealed_run(workspace, batch)
                unsealed = ""
            except DistillError as error:
                unsealed = str(error)
        found.append(Parent(sha256, batch, unsealed or None))
    return tuple(found)
