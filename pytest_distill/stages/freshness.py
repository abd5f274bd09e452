"""Whether what a stage left can be built on: no later stage runs on output that is missing, stale or changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pytest_distill.batch.batch import UNHASHED
from pytest_distill.batch.digest import SUMS, check
from pytest_distill.contracts.receipts import OUTSIDE, FileDigest, StageReceipt
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.digests import Digests, listed
from pytest_distill.stages.summaries import newest_receipts

SHOWN = 3


def require_fresh(workspace: Workspace, *stages: str, digests: Digests | None = None) -> None:
    """Raises E-STALE when the newest output of one of `stages` cannot be built on; the message says why."""
    for stage in stages:
        if reasons := stale(workspace, stage, digests=digests):
            more = f" (and {len(reasons) - SHOWN} more)" if len(reasons) > SHOWN else ""
            raise DistillError(
                Code.STALE, f"the output of {stage} cannot be built on: {'; '.join(reasons[:SHOWN])}{more}", f"Run {stage} again."
            )


def stale(workspace: Workspace, stage: str, *, digests: Digests | None = None) -> list[str]:
    """Why a stage's newest output cannot be built on, in words; empty when it can.

    It can when its newest receipt says that it completed, what it wrote lies there byte for byte with nothing beside it, and
    what it read from the workspace is still what it read. A stage that skipped records is fresh: its receipt says that.
    """
    receipt = newest_receipts(workspace).get(stage)
    if receipt is None:
        return ["it never ran"]
    return list(_reasons(workspace, receipt, digests or Digests(workspace.root)))


def _reasons(workspace: Workspace, receipt: StageReceipt, digests: Digests) -> Iterator[str]:
    if not receipt.completed:
        yield f"run {receipt.run_id} did not complete it ({receipt.validation.errors[-1]})"
        return
    if not receipt.outputs:
        yield f"run {receipt.run_id} wrote nothing"
    for file in receipt.outputs:
        yield from _changed(workspace, file, digests, "it wrote")
    yield from _unknown(workspace, receipt.output_folders, receipt.outputs, "it did not write")
    for file in receipt.inputs:
        if not file.path.startswith(OUTSIDE):  # of a file outside only the name is known: nobody can look whether it changed
            yield from _changed(workspace, file, digests, "it read")
    yield from _unknown(workspace, receipt.input_folders, receipt.inputs, "it has not read")


def _unknown(workspace: Workspace, folders: Sequence[str], files: Sequence[FileDigest], what: str) -> Iterator[str]:
    """Files in folders that were listed whole."""
    known = {file.path for file in files}
    for name in folders:
        folder = workspace.root / name
        if folder.is_dir() and not (folder / SUMS).is_file():
            yield from (f"{name}/{file} is there, which {what}" for file in listed(folder) if f"{name}/{file}" not in known)


def _changed(workspace: Workspace, file: FileDigest, digests: Digests, what: str) -> Iterator[str]:
    path = workspace.root / file.path
    if not path.is_file():
        yield f"{file.path}, which {what}, is missing"
    elif digests.file(path).sha256 != file.sha256:
        yield f"{file.path}, which {what}, has changed"
    elif PurePosixPath(file.path).name == SUMS:
        try:
            check(path.parent, unhashed=UNHASHED)
        except DistillError as error:
            yield error.message
