"""Where a batch comes from: the receipt of the stage that wrote it, and those of the stages that wrote what it read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_distill.batch.digest import SUMS
from pytest_distill.contracts.receipts import DriftReport, FileDigest, RunSummary, StageReceipt
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages import summaries


@dataclass(frozen=True)
class Origin:
    """The chain behind one batch.

    `chain` begins with the stage that wrote it. `unwritten` are files that a later stage of the chain read and that no receipt
    wrote in those bytes. `foreign` are receipts that lie in a run's folder and are of another run, or not what its summary says.
    """

    chain: tuple[StageReceipt, ...]
    unwritten: tuple[str, ...]
    foreign: tuple[str, ...]
    summaries: tuple[RunSummary, ...]
    drift: tuple[DriftReport, ...]


def origin_of(workspace: Workspace, batch_id: str, sha256: str, *, first: frozenset[str]) -> Origin | None:
    """The newest chain to these bytes of a batch; None where no receipt says that a stage wrote them.

    `first` are stages that read what came from outside, so that nobody has to have written their inputs. Raises E-MANIFEST for a
    receipt that does not add up.
    """
    wanted = (workspace.batch_folder(batch_id) / SUMS).relative_to(workspace.root).as_posix()
    kept = [receipt for folder in reversed(workspace.receipts_folders()) for receipt in summaries.receipts(folder)]
    writer = next((receipt for receipt in kept if receipt.completed and _wrote(receipt, wanted, sha256)), None)
    if writer is None:
        return None
    chain, unwritten = [writer], list[str]()
    wrote: dict[tuple[str, str], StageReceipt] = {}
    for receipt in reversed(kept):  # the newest that wrote a file counts
        if receipt.completed:
            wrote |= {(file.path, file.sha256): receipt for file in receipt.outputs}
    for receipt in chain:  # grows while it is walked
        if receipt.stage in first:
            continue
        for file in receipt.inputs:
            source = wrote.get((file.path, file.sha256))
            if source is None:
                unwritten.append(file.path)
            elif source not in chain:
                chain.append(source)
    runs = sorted({receipt.run_id for receipt in chain})
    found = [run for run in (_summary(workspace, run_id) for run_id in runs) if run is not None]
    return Origin(
        chain=tuple(chain),
        unwritten=tuple(unwritten),
        foreign=tuple(name for run_id in runs for name in _foreign(workspace, run_id)),
        summaries=tuple(found),
        drift=tuple(_drift(workspace, runs)),
    )


def _wrote(receipt: StageReceipt, path: str, sha256: str) -> bool:
    def same(file: FileDigest) -> bool:
        return (file.path, file.sha256) == (path, sha256)

    return any(map(same, receipt.outputs))


def _summary(workspace: Workspace, run_id: str) -> RunSummary | None:
    path = workspace.receipts / run_id / summaries.SUMMARY
    return RunSummary.load(path) if path.is_file() else None


def _foreign(workspace: Workspace, run_id: str) -> Iterator[str]:
    summary = _summary(workspace, run_id)
    lines = {line.stage: line for line in summary.stages} if summary else {}
    for receipt in summaries.receipts(workspace.receipts / run_id):
        if receipt.run_id != run_id or lines.get(receipt.stage) != receipt.line():
            yield f"{run_id}/{receipt.stage}"


def _drift(workspace: Workspace, runs: list[str]) -> Iterator[DriftReport]:
    for run_id in runs:
        path = workspace.receipts / run_id / summaries.DRIFT
        if path.is_file():
            yield DriftReport.load(path)
