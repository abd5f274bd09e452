"""Receipts: what a stage read, wrote and counted, written whether it went well or not.

    with with_receipt(workspace, "preprocess", batch_id, parameters={"language": "en"}) as stage:
        stage.reads(source)             # files or folders, hashed as they stand now
        …
        stage.made(batch)               # or stage.writes(path, …), hashed when the block ends,
                                        # and stage.count(in_=100, out=98, quarantined=2)

A command that runs several stages opens the run itself: `with open_run(workspace, "run-all") as run:` and then `run.stage(…)`
for each. Receipts lie in `.distill/receipts/<run>/`, apart from the runs that judged batches (`.distill/runs/`).
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_distill import __version__, clock
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.receipts import (
    Datasets,
    FileDigest,
    NotRun,
    Parameter,
    RecordCounts,
    RunSummary,
    StageReceipt,
    Validation,
    io_hash,
    run_hash,
)
from pytest_distill.errors import DistillError, one_line
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages import summaries
from pytest_distill.stages.digests import Digests, Stat, listed, outside, stat_of

DATASETS = {"export-rag": "rag", "export-sft": "sft", "export-preference": "preference"}


class Stage:
    """A stage at work. What it is told ends up in the receipt."""

    def __init__(self, name: str, digests: Digests, parameters: Mapping[str, Parameter]) -> None:
        self.name = name
        self.parameters: dict[str, Parameter] = dict(parameters)
        self.errors: list[str] = []
        self._digests = digests
        self._inputs: list[FileDigest] = []
        self._input_folders: list[str] = []
        self._watched: dict[Path, Stat] = {}
        self._outputs: list[Path] = []
        self._materialised: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def reads(self, *paths: Path) -> None:
        """Inputs, files or folders, hashed now: call it before the stage reads them. Raises E-SOURCE-NOTFOUND.

        A file that changes before the stage ends is an error of the stage, because nobody can say what was read.
        """
        for path in paths:
            self._inputs += self._digests.files(path)
            if path.is_dir():
                self._input_folders.append(self._digests.name(path))
            files = [path / name for name in listed(path)] if path.is_dir() else [path]
            self._watched |= {file: stat_of(file) for file in files}

    def has_read(self, source: Path | str, sha256: str) -> None:
        """An input whose bytes the stage hashed itself while it read them: a path, or the name alone of a file elsewhere."""
        name = self._digests.name(source) if isinstance(source, Path) else outside(source)
        self._inputs.append(FileDigest(path=name, sha256=sha256))

    def writes(self, *paths: Path) -> None:
        """Outputs, files or folders (a folder holds outputs of this stage and nothing else), hashed when the stage ends."""
        self._outputs += paths

    def made(self, batch: Batch) -> None:
        """A batch this stage wrote: its folder, and its own counts."""
        counts = batch.manifest.counts
        self.writes(batch.folder)
        self.count(in_=counts.read, out=counts.kept, quarantined=counts.quarantined)
        self.stands(rows=counts.kept, quarantined=counts.quarantined)

    def count(self, **counts: int) -> None:
        """Adds to the counts of this run: in_, out, accepted, rejected, quarantined, skipped, deduped."""
        self._counts.update(counts)

    def stands(self, **counts: int) -> None:
        """What stands in the outputs afterwards, whoever wrote it, by name. Unsaid: the rows of the JSONL files."""
        self._materialised.update(counts)

    def error(self, kind: str, message: str) -> None:
        """Something that makes this stage's validation fail without ending it. `kind` is its class, a word to compare by."""
        self.errors.append(f"{kind}: {one_line(message)}")

    def receipt(self, run: Run, *, started_at: str, seconds: float, completed: bool) -> StageReceipt:
        for path, before in self._watched.items():
            if not path.is_file() or (stat_of(path) != before and self._digests.file(path) not in self._inputs):
                self.error("input_changed", f"{self._digests.name(path)} changed while the stage read it")
        outputs: list[FileDigest] = []
        for path in self._outputs:
            if completed or path.exists():  # what a failed stage did not come to write is no second failure
                outputs += self._digests.files(path)
        counts = RecordCounts.model_validate(dict(self._counts))
        return StageReceipt(
            run_id=run.id,
            stage=self.name,
            position=len(run.receipts) + 1,
            git_sha=run.git_sha,
            version=__version__,
            parameters=self.parameters,
            inputs=tuple(sorted(self._inputs, key=lambda file: (file.path, file.sha256))),
            outputs=tuple(sorted(outputs, key=lambda file: (file.path, file.sha256))),
            input_folders=tuple(sorted(self._input_folders)),
            output_folders=tuple(sorted(self._digests.name(path) for path in self._outputs if path.is_dir())),
            input_hash=io_hash(self._inputs, self.parameters),
            output_hash=io_hash(outputs),
            record_counts=counts,
            materialised=self._materialised or _rows(outputs),
            validation=Validation(passed=counts.skipped == 0 and not self.errors, errors=tuple(self.errors)),
            completed=completed,
            started_at=started_at,
            duration_seconds=round(seconds, 6),
        )


class Run:
    """A run of one or more stages. Its number is claimed by making its folder, so two that start at once get two."""

    def __init__(self, workspace: Workspace, pipeline: str, subject: str = "") -> None:
        self.workspace = workspace
        self.pipeline = pipeline
        self.subject = subject
        self.folder = workspace.new_receipts_folder()
        self.id = self.folder.name
        self.git_sha = git_sha(workspace.root)
        self.digests = Digests(workspace.root)
        self.receipts: list[StageReceipt] = []
        self.not_run: list[NotRun] = []
        self._started_at = clock.timestamp()
        self._began = time.monotonic()

    @contextlib.contextmanager
    def stage(self, name: str, *, parameters: Mapping[str, Parameter] | None = None) -> Iterator[Stage]:
        """Runs the block as a stage; its receipt is on disk when the block has ended, however it ended."""
        if any(receipt.stage == name for receipt in self.receipts):
            raise ValueError(f"run {self.id} has a stage {name} already")
        stage = Stage(name, self.digests, parameters or {})
        started_at, began = clock.timestamp(), time.monotonic()
        try:
            yield stage
            receipt = stage.receipt(self, started_at=started_at, seconds=time.monotonic() - began, completed=True)
        except BaseException as error:
            stage.error(*_told(error))
            self._keep(stage.receipt(self, started_at=started_at, seconds=time.monotonic() - began, completed=False))
            raise
        self._keep(receipt)

    def skip(self, name: str, why: str) -> None:
        """A stage that is not started. The run then has not passed."""
        self.not_run.append(NotRun(stage=name, why=one_line(why)))

    def summary(self) -> RunSummary:
        lines = tuple(receipt.line() for receipt in self.receipts)
        found = {DATASETS[r.stage]: _samples(r) for r in self.receipts if r.stage in DATASETS and r.completed}
        return RunSummary(
            run_id=self.id,
            pipeline=self.pipeline,
            subject=self.subject,
            git_sha=self.git_sha,
            version=__version__,
            stages=lines,
            not_run=tuple(self.not_run),
            totals=sum((line.record_counts for line in lines), RecordCounts()),
            datasets=Datasets(**found),
            overall_passed=bool(lines) and not self.not_run and all(line.passed and line.completed for line in lines),
            run_hash=run_hash(lines),
            started_at=self._started_at,
            duration_seconds=round(time.monotonic() - self._began, 6),
        )

    def _keep(self, receipt: StageReceipt) -> None:
        receipt.write(self.folder / f"{receipt.stage}.json")
        self.receipts.append(receipt)


@contextlib.contextmanager
def open_run(workspace: Workspace, pipeline: str, subject: str = "") -> Iterator[Run]:
    """A run of several stages; `summary.json`, `summary.md` and `latest.md` are written when the block ends, however it ends.

    `subject` is what it is about, such as the id of the batch it makes: a run is compared with the one before of its subject.
    """
    run = Run(workspace, pipeline, subject)
    try:
        yield run
    finally:
        summaries.write(workspace, run.summary())


@contextlib.contextmanager
def with_receipt(
    workspace: Workspace, name: str, subject: str = "", *, parameters: Mapping[str, Parameter] | None = None
) -> Iterator[Stage]:
    """One stage as a run of its own."""
    with open_run(workspace, name, subject) as run, run.stage(name, parameters=parameters) as stage:
        yield stage


def git_sha(folder: Path) -> str | None:
    """The commit that is checked out around `folder`; None where there is no repository, no commit, or no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"], capture_output=True, text=True, check=False
        )  # fmt: skip
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _told(error: BaseException) -> tuple[str, str]:
    """The class of an error and its message. A refusal's class is its code."""
    if isinstance(error, DistillError):
        return error.code.value, error.message
    if isinstance(error, SystemExit):
        return "stopped", f"exit status {error.code}"
    return type(error).__name__, str(error) or "no message"


def _rows(outputs: Sequence[FileDigest]) -> dict[str, int]:
    return {"rows": sum(file.rows or 0 for file in outputs)} if any(file.rows is not None for file in outputs) else {}


def _samples(receipt: StageReceipt) -> int:
    return receipt.materialised.get("rows", receipt.record_counts.out)
