"""The dataset files that differ between two commits, judged by the gates of the base and compared with their old rows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.compare import Difference, compare
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.ci.repository import EMPTY_TREE, Blob, Change, Repository
from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import DistillError
from pytest_distill.gating.apart import judge
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import POLICY_FILE, Workspace
from pytest_distill.release.verdict import PUBLIC_EVIDENCE, QUARANTINE, VERDICT, public
from pytest_distill.report.markdown import WITHHELD

if TYPE_CHECKING:
    import polars as pl

REPORT = "report.html"
LOG = "pytest.log"
LONGEST_NAME = 150  # bytes; longer file names are not kept in the scratch folder


@dataclass(frozen=True)
class Judged:
    """One version of a file as a batch, and what the gates said of it."""

    batch: Batch
    record: RunRecord
    folder: Path
    output: str

    @cached_property
    def rejections(self) -> pl.DataFrame:
        """Every rejection by a gate: `by`, `reason`, `row`, `line`, `message`."""
        return _quarantine(self.folder / QUARANTINE)

    @cached_property
    def unread(self) -> pl.DataFrame:
        """Every line that was no row, in the same columns."""
        return _quarantine(self.batch.folder / QUARANTINE)

    @cached_property
    def private_rows(self) -> frozenset[int]:
        """Positions of rows that hold personal data or secrets: not to be quoted where others read."""
        import polars as pl

        return frozenset(self.rejections.filter(pl.col("reason").is_in(sorted(WITHHELD)))["row"].to_list())


@dataclass(frozen=True)
class Result:
    """What became of one changed file. `refusal`: why its new version could not be judged; `blind`: why the old one could not."""

    change: Change
    after: Judged | None = None
    before: Judged | None = None
    difference: Difference | None = None
    refusal: DistillError | None = None
    blind: str = ""

    @property
    def path(self) -> str:
        return self.change.path

    @property
    def ok(self) -> bool:
        """A deleted file has no rows to object to; every other one has to have passed."""
        return self.change.after is None or (self.after is not None and self.after.record.verdict == "PASSED")


@dataclass(frozen=True)
class Checked:
    """All changed files, and whose policy and gates judged them. `judge_edits`: files of the judge that the change edits too."""

    results: tuple[Result, ...]
    judge: str
    default_policy: bool
    judge_edits: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return all(result.ok for result in self.results)


@dataclass(frozen=True)
class Asked:
    """What to compare: trees or commits of the data, the tree that the judge is taken from, and how files become batches."""

    before: str
    after: str
    judge: str
    globs: tuple[str, ...]
    workspace: PurePosixPath  # below the root of the repository
    kind: str | None = None
    mapping: Mapping[str, str] | None = None


def between(repository: Repository, base: str, head: str, **how: object) -> Asked:
    """The data of `head` since it left `base`, judged by what `base` says now. Raises E-GIT for commits that are not here."""
    judge_commit, after = repository.commit(base), repository.commit(head)
    return Asked(repository.merge_base(judge_commit, after), after, judge_commit, **how)  # type: ignore[arg-type]


def staged(repository: Repository, **how: object) -> Asked:
    """What is staged, against the last commit (or nothing), judged by the staged policy and gates."""
    tree = repository.staged()
    try:
        before = repository.commit("HEAD")
    except DistillError:  # the first commit has none before it
        before = EMPTY_TREE
    return Asked(before, tree, tree, **how)  # type: ignore[arg-type]


def check(
    repository: Repository, asked: Asked, scratch: Path, *, out: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Checked:
    """Judges every changed file. `scratch` has to outlive the result; `out` gets report, verdict and log of each file.

    Raises E-GIT, E-POLICY and E-GATE: then nothing could be judged.
    """
    tree = scratch / "judge"
    kept_out = [asked.workspace / name for name in (".distill", "batches")]
    repository.extract(asked.judge, tree, without=kept_out)
    workspace, default_policy = _workspace(tree, tree / asked.workspace)
    results = []
    for number, change in enumerate(repository.changes(asked.before, asked.after, asked.globs), 1):
        say(f"{change.status} {change.path}")
        result = _one(repository, asked, change, workspace, scratch / f"{number:04d}", number)
        if out is not None and result.after is not None:
            _keep(workspace, result.after, out / f"{number:04d}-{_slug(change.path)}")
        results.append(result)
    edits = (
        () if asked.judge == asked.after else tuple(_judge_edits(repository, asked, workspace.root.relative_to(tree), results))
    )
    return Checked(tuple(results), asked.judge, default_policy, edits)


def _workspace(top: Path, start: Path) -> tuple[Workspace, bool]:
    """The nearest workspace from `start` up to `top`; the default policy where there is none."""
    for folder in (start, *start.parents):
        if workspaces.policy_source(folder) is not None:
            return workspaces.load(folder), False
        if folder == top:
            break
    storage.write_bytes(start / POLICY_FILE, b"")
    return workspaces.load(start), True


def _one(repository: Repository, asked: Asked, change: Change, workspace: Workspace, folder: Path, number: int) -> Result:
    before, blind = None, ""
    if change.before is not None:
        try:
            before = _judged(repository, asked, change.before, workspace, folder / "before", f"{number:04d}-before")
        except DistillError as error:
            blind = error.message
    if change.after is None:
        return Result(change, before=before, blind=blind)
    try:
        after = _judged(repository, asked, change.after, workspace, folder / "after", f"{number:04d}-after")
    except DistillError as error:
        return Result(change, before=before, refusal=error, blind=blind)
    return Result(change, after, before, compare(before.batch, after.batch) if before is not None else None, blind=blind)


def _judged(repository: Repository, asked: Asked, blob: Blob, workspace: Workspace, folder: Path, prefix: str) -> Judged:
    name = PurePosixPath(blob.path).name
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = "rows" + "".join(PurePosixPath(name).suffixes[-2:])[-20:]
    file = folder / name
    repository.take(blob, file)
    mapping = dict(asked.mapping or {})
    batch = ingest(
        [file], workspace, f"{prefix}-{_slug(blob.path)}", kind=asked.kind, mapping=mapping, why="judged before it is merged"
    )
    return Judged(batch, *judge(workspace, batch.id))


def _keep(workspace: Workspace, judged: Judged, folder: Path) -> None:
    """Report, verdict and log, for people and as artifacts."""
    from pytest_distill.report import judged as runs
    from pytest_distill.report import page

    page.write(runs.load(workspace, judged.batch.id), judged.folder / REPORT)
    for name in (REPORT, VERDICT):
        storage.write_bytes(folder / name, (judged.folder / name).read_bytes())
    storage.write_bytes(folder / PUBLIC_EVIDENCE, public(judged.record).to_bytes())
    storage.write_bytes(folder / LOG, judged.output.encode("utf-8", "replace"))


def _judge_edits(repository: Repository, asked: Asked, root: Path, results: Sequence[Result]) -> Iterator[str]:
    """Changed files that would have a say in later judgements: policy, gates, and any code or pytest configuration."""
    data = {result.path for result in results}
    gates = PurePosixPath(root.as_posix()) / "gates"
    for name in repository.names(asked.before, asked.after):
        path = PurePosixPath(name)
        judges = path.is_relative_to(gates) or path.suffix == ".py" or path.name in _CONFIGURATION
        if judges and name not in data:
            yield name


_CONFIGURATION = frozenset(
    {POLICY_FILE, "pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "requirements.txt"}
)


def _quarantine(file: Path) -> pl.DataFrame:
    import polars as pl

    names = ["by", "reason", "row", "line", "message"]
    if not file.is_file():
        types = {"row": pl.Int64, "line": pl.Int64}
        return pl.DataFrame(schema={name: types.get(name, pl.String) for name in names})
    return pl.read_parquet(file, columns=names)


def _slug(path: str) -> str:
    """A path as part of an id or a folder name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path)[-60:].strip(".-_") or "rows"
