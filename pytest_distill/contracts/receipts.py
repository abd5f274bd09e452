"""What a stage leaves: a receipt of what it read, wrote and counted; a run's summary; and how one run differs from another.

Two hashes carry the comparison, and neither knows a clock, a host or an absolute path. `input_hash` is over the files a stage
read and the parameters it ran with, `output_hash` over the files that stand when it has ended. Both are independent of the
order in which the files were named. Times and durations lie beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256

OUTSIDE = "outside:"

Severity = Literal["ok", "warn", "alert"]
SEVERITIES: tuple[Severity, ...] = ("ok", "warn", "alert")
Parameter = str | int | float | bool | None
StageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]
RunId = Annotated[str, StringConstraints(pattern=r"^\d{6,}$")]


def _relative(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != path or path == "." or "\\" in path:
        raise ValueError(f"{path!r} is no plain relative path")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]


class FileDigest(Contract):
    """One file that a stage read or wrote.

    `path` is relative to the workspace; a file that lies elsewhere is `outside:` and its name alone. `sha256` is of its bytes,
    `timeless_sha256` of its bytes with injected times (recorded_at, created_at, scored_at) blanked, where it holds any; `rows`
    are the lines of a JSONL file. Of a batch only its list of sums is named, which vouches for the rest.
    """

    path: RelativePath
    sha256: Sha256
    timeless_sha256: Sha256 | None = None
    rows: int | None = Field(default=None, ge=0)


def io_hash(files: Iterable[FileDigest], parameters: Mapping[str, Parameter] | None = None) -> str:
    """The digest of a set of files (and of parameters), the same for any order in which they come."""
    listed = sorted([file.path, file.timeless_sha256 or file.sha256] for file in files)
    return storage.sha256_bytes(storage.canonical_json({"files": listed, "parameters": dict(parameters or {})}))


class RecordCounts(Contract):
    """What became of records in this run. `in` is a word of Python, so the field is `in_` there and `in` in the file."""

    in_: int = Field(default=0, ge=0, alias="in")
    out: int = Field(default=0, ge=0)
    accepted: int = Field(default=0, ge=0)
    rejected: int = Field(default=0, ge=0)
    quarantined: int = Field(default=0, ge=0)
    skipped: int = Field(default=0, ge=0)
    deduped: int = Field(default=0, ge=0)

    def __add__(self, other: RecordCounts) -> RecordCounts:
        names = type(self).model_fields
        return RecordCounts.model_validate({name: getattr(self, name) + getattr(other, name) for name in names})


class Validation(Contract):
    """`passed` is written out, never inferred: nothing was skipped and nothing went wrong. An error is `CLASS: what happened`."""

    passed: bool
    errors: tuple[str, ...] = ()


class StageReceipt(Contract):
    """One stage of one run. It is written when the stage fails too; `completed` says whether it came to its end,
    `position` which stage of its run it was.

    `parameters` are what the stage ran with, part of the input hash: limits, options, the version of a scorer.
    `materialised` counts what stands in the outputs afterwards, whoever wrote it: an idempotent second run adds nothing and
    leaves the same figures. `input_folders` and `output_folders` are folders all of whose files are listed.
    """

    schema_version: Literal[1] = 1
    run_id: RunId
    stage: StageName
    position: int = Field(ge=1)
    git_sha: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")] | None = None
    version: str
    parameters: dict[str, Parameter] = {}
    inputs: tuple[FileDigest, ...] = ()
    outputs: tuple[FileDigest, ...] = ()
    input_folders: tuple[RelativePath, ...] = ()
    output_folders: tuple[RelativePath, ...] = ()
    input_hash: Sha256
    output_hash: Sha256
    record_counts: RecordCounts = RecordCounts()
    materialised: dict[str, Annotated[int, Field(ge=0)]] = {}
    validation: Validation
    completed: bool
    started_at: str
    duration_seconds: float = Field(ge=0)

    @model_validator(mode="after")
    def consistent(self) -> StageReceipt:
        if self.input_hash != io_hash(self.inputs, self.parameters):
            raise ValueError("input_hash is not that of the inputs and parameters")
        if self.output_hash != io_hash(self.outputs):
            raise ValueError("output_hash is not that of the outputs")
        if self.validation.passed != (self.record_counts.skipped == 0 and not self.validation.errors):
            raise ValueError("validation.passed must be: nothing skipped and no errors")
        if not self.completed and not self.validation.errors:
            raise ValueError("a stage that did not complete must say why")
        return self

    @property
    def error_classes(self) -> frozenset[str]:
        return frozenset(error.partition(":")[0] for error in self.validation.errors)

    def line(self) -> StageLine:
        return StageLine(
            stage=self.stage,
            input_hash=self.input_hash,
            output_hash=self.output_hash,
            record_counts=self.record_counts,
            materialised=self.materialised,
            passed=self.validation.passed,
            completed=self.completed,
            errors=self.validation.errors,
        )


class StageLine(Contract):
    """A receipt's part in its run's summary."""

    stage: StageName
    input_hash: Sha256
    output_hash: Sha256
    record_counts: RecordCounts
    materialised: dict[str, int] = {}
    passed: bool
    completed: bool
    errors: tuple[str, ...] = ()


class NotRun(Contract):
    """A stage of the run that was not started, and why."""

    stage: StageName
    why: str = Field(min_length=1)


class Datasets(Contract):
    """Samples that stand after the run; null where the run has no such stage."""

    rag: int | None = None
    sft: int | None = None
    preference: int | None = None


def run_hash(stages: Iterable[StageLine]) -> str:
    """The digest of a run: what each stage read and left, and whether it passed. No times, no counts of what was new."""
    parts = [[line.stage, line.input_hash, line.output_hash, line.passed, line.completed] for line in stages]
    return storage.sha256_bytes(storage.canonical_json(sorted(parts)))


class RunSummary(Contract):
    """`summary.json` of a run of stages. It passed when every stage ran to its end and passed; none at all is no pass.

    `subject` is what the run was about, such as the batch it made: runs of one pipeline and subject are compared.
    """

    schema_version: Literal[1] = 1
    run_id: RunId
    pipeline: str
    subject: str = ""
    git_sha: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")] | None = None
    version: str
    stages: tuple[StageLine, ...]
    not_run: tuple[NotRun, ...] = ()
    totals: RecordCounts
    datasets: Datasets = Datasets()
    overall_passed: bool
    run_hash: Sha256
    started_at: str
    duration_seconds: float = Field(ge=0)

    @model_validator(mode="after")
    def consistent(self) -> RunSummary:
        if self.run_hash != run_hash(self.stages):
            raise ValueError("run_hash is not that of the stages")
        if self.overall_passed != (bool(self.stages) and not self.not_run and all(s.passed and s.completed for s in self.stages)):
            raise ValueError("overall_passed must be: at least one stage, all of them run, completed and passed")
        if sum((stage.record_counts for stage in self.stages), RecordCounts()) != self.totals:
            raise ValueError("totals are not the sums of the stages")
        return self


class Delta(Contract):
    """One figure of a stage in both runs. `pct_change` is null when the prior value is 0, because there is no such share."""

    name: str
    prior: int
    now: int
    pct_change: float | None

    @model_validator(mode="after")
    def consistent(self) -> Delta:
        if self.pct_change != pct_change(self.prior, self.now):
            raise ValueError("pct_change is not that of the two values")
        return self


def pct_change(prior: int, now: int) -> float | None:
    """Percent of the prior value, two decimals; None when that is 0."""
    return None if prior == 0 else round(100.0 * (now - prior) / prior, 2)


class Flag(Contract):
    """One thing worth a look. `kind` is a word to filter by."""

    severity: Literal["warn", "alert"]
    stage: StageName
    kind: Literal["deterministic_violation", "swing", "from_zero", "new_error_class", "stage_missing", "stage_new", "incomplete"]
    message: str


class StageDrift(Contract):
    """One stage of both runs. A match is null when one of the runs lacks the stage or did not complete it."""

    stage: StageName
    prior_input_hash: Sha256 | None
    input_hash: Sha256 | None
    prior_output_hash: Sha256 | None
    output_hash: Sha256 | None
    input_hash_match: bool | None
    output_hash_match: bool | None
    deterministic_violation: bool
    deltas: tuple[Delta, ...] = ()

    @model_validator(mode="after")
    def consistent(self) -> StageDrift:
        if self.input_hash_match != match(self.prior_input_hash, self.input_hash):
            raise ValueError("input_hash_match is not the comparison of the two input hashes")
        if self.output_hash_match != match(self.prior_output_hash, self.output_hash):
            raise ValueError("output_hash_match is not the comparison of the two output hashes")
        if self.deterministic_violation != (self.input_hash_match is True and self.output_hash_match is False):
            raise ValueError("deterministic_violation must be: the same input, another output")
        return self


def match(prior: str | None, now: str | None) -> bool | None:
    return None if prior is None or now is None else prior == now


class DriftReport(Contract):
    """`distill drift A B`: how the run `run_id` differs from `prior_run_id`. Its severity is that of its worst flag."""

    schema_version: Literal[1] = 1
    run_id: RunId
    prior_run_id: RunId
    warn_percent: float = Field(gt=0)
    severity: Severity
    run_hash_match: bool
    stages: tuple[StageDrift, ...]
    flags: tuple[Flag, ...] = ()

    @model_validator(mode="after")
    def consistent(self) -> DriftReport:
        if self.severity != worst(self.flags):
            raise ValueError("severity is not that of the worst flag")
        flagged = {flag.stage for flag in self.flags if flag.kind == "deterministic_violation"}
        if flagged != {stage.stage for stage in self.stages if stage.deterministic_violation}:
            raise ValueError("every deterministic violation has a flag, and no other stage has one")
        return self


def worst(flags: Iterable[Flag]) -> Severity:
    return max((flag.severity for flag in flags), key=SEVERITIES.index, default="ok")
