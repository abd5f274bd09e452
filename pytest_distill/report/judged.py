"""One run to report on, with what surrounds it: its batch, its times, the runs before it, and the exports made from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill import ledger
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.contracts.receipts import StageReceipt
from pytest_distill.contracts.run import RunRecord, RunTimes
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.runs import judge_again, newest_run
from pytest_distill.release.verdict import EVIDENCE, QUARANTINE
from pytest_distill.report.markdown import WITHHELD

if TYPE_CHECKING:
    import polars as pl

TIMES = "run.json"
TREND = 20  # runs
NO_RECEIPTS = ("summary.json", "drift.json")  # what lies beside receipts


@dataclass(frozen=True)
class Past:
    """An earlier run, or this one: where it stands in the ledger, and its record."""

    batch: str
    run: str
    at: str
    record: RunRecord

    @property
    def name(self) -> str:
        return f"{self.batch} {int(self.run)}"


@dataclass(frozen=True)
class Judged:
    """A run as it lies on disk. `batch` is None, and `gone` says why, where the batch is no longer what was judged."""

    workspace: Workspace
    folder: Path
    record: RunRecord
    times: RunTimes | None
    batch: Batch | None
    gone: str | None

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @cached_property
    def history(self) -> tuple[LedgerEntry, ...]:
        """The ledger, oldest entry first. Raises E-LEDGER when its chain is broken."""
        return tuple(ledger.entries(self.workspace.ledger))

    @property
    def past(self) -> tuple[Past, ...]:
        """The last runs of the workspace on rows of this kind, this one last. Runs that nobody kept are left out."""
        return self._past[0]

    @property
    def unreadable(self) -> int:
        """How many of the last runs have a record that this release cannot read."""
        return self._past[1]

    @cached_property
    def _past(self) -> tuple[tuple[Past, ...], int]:
        found: list[Past] = []
        unreadable = 0
        verdicts = [entry for entry in self.history if entry.event == "verdict" and entry.batch]
        here = [n for n, e in enumerate(verdicts) if (e.batch, e.facts.get("run")) == (self.record.batch_id, self.folder.name)]
        for entry in reversed(verdicts[: here[-1] + 1] if here else []):
            run = str(entry.facts.get("run"))
            path = self.workspace.runs / str(entry.batch) / run / EVIDENCE
            if not run.isdecimal() or not path.is_file():
                continue
            try:
                record = RunRecord.load(path)
            except DistillError:  # written by another release, or damaged: counted, and said on the page
                unreadable += 1
                continue
            if record.kind == self.record.kind:
                found.append(Past(str(entry.batch), run, entry.at, record))
            if len(found) == TREND:
                break
        return tuple(reversed(found)), unreadable

    @property
    def before(self) -> Past | None:
        """What to compare with: the run before this one on the same batch, else the last one on another batch of the kind."""
        earlier = self.past[:-1]
        same = [past for past in earlier if past.batch == self.record.batch_id]
        return (same or earlier)[-1] if earlier else None

    @cached_property
    def exports(self) -> tuple[LedgerEntry, ...]:
        """Exports made from this run. (The ledger names them by the run's id, which equal judgements share.)"""
        return tuple(
            entry
            for entry in self.history
            if entry.event == "export" and entry.batch == self.record.batch_id and entry.facts.get("run") == self.record.run_id
        )

    @cached_property
    def receipts(self) -> tuple[tuple[StageReceipt, Path], ...]:
        """Receipts of stages that wrote or read exactly these bytes, oldest first, with their files."""
        sha256, found = self.record.batch_sha256, []
        for folder in self.workspace.receipts_folders():
            for file in sorted(folder.glob("*.json")):
                if file.name in NO_RECEIPTS or sha256.encode() not in file.read_bytes():
                    continue
                try:
                    found.append((StageReceipt.load(file), file))
                except DistillError:  # of another release
                    continue
        return tuple(sorted(found, key=lambda pair: (pair[0].run_id, pair[0].position)))

    @cached_property
    def rejections(self) -> pl.DataFrame:
        """Which gate rejected which row: `row` (position in the batch), `by`, `reason`."""
        import polars as pl
        import pyarrow.parquet as pq

        file = self.folder / QUARANTINE
        if not file.is_file():
            return pl.DataFrame(schema={"row": pl.Int64, "by": pl.Categorical, "reason": pl.Categorical})
        # Not `read_table`, which brings in pyarrow's datasets, and pandas where it is installed: most of a second.
        with pq.ParquetFile(file, read_dictionary=["by", "reason"], memory_map=False) as parquet:
            table = parquet.read(columns=["row", "by", "reason"])
        found = pl.from_arrow(table)
        assert isinstance(found, pl.DataFrame)
        return found.with_columns(pl.col("by", "reason").cast(pl.Categorical))

    @cached_property
    def private_rows(self) -> frozenset[int]:
        """Rows rejected for personal data or secrets: never to be quoted where others read."""
        import polars as pl

        return frozenset(self.rejections.filter(pl.col("reason").cast(pl.String).is_in(sorted(WITHHELD)))["row"].to_list())


def load(workspace: Workspace, batch_id: str, run: int | None = None) -> Judged:
    """The newest run of a batch, or run number `run`.

    Raises E-BATCH-NOTFOUND when there is no such batch or run, E-UNSEALED when the batch was never judged.
    """
    place = workspace.batch_folder(batch_id)  # refuses what is no id
    if not workspace.run_folders(batch_id):
        open_batch(place)  # a batch that is not there cannot be judged either
    folder = newest_run(workspace, batch_id) if run is None else workspace.runs / batch_id / f"{run:06d}"
    if not (folder / EVIDENCE).is_file():
        have = ", ".join(str(int(path.name)) for path in workspace.run_folders(batch_id)) or "none"
        raise DistillError(
            Code.BATCH_NOTFOUND, f"{batch_id} has no run {int(folder.name)} with evidence; runs: {have}", judge_again(batch_id)
        )
    record = RunRecord.load(folder / EVIDENCE)
    times = RunTimes.load(folder / TIMES) if (folder / TIMES).is_file() else None
    batch, gone = None, None
    try:
        batch = open_batch(place)
    except DistillError as error:
        gone = f"{error.message}."
    if batch is not None and batch.sha256 != record.batch_sha256:
        batch, gone = None, "The batch's bytes are no longer those that were judged."
    return Judged(workspace, folder, record, times, batch, gone)
