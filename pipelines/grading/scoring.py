"""Scoring a batch with a judge, unit by unit: what was killed goes on from the first unit that is missing, to the same bytes.

A unit is a function of the plan and its rows. Attempts are bounded: the first is greedy, those after it are drawn with seeds of
their own, and a row that has no score after the last is counted under the code of its refusal and goes to quarantine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.grading import (
    EQUAL_WEIGHTS,
    PIPELINE,
    PLAN,
    SCORES,
    SCORING,
    Attempt,
    RowScore,
    Scorer,
    ScorerOutput,
    ScoringPlan,
    ScoringSummary,
    ScoringUnit,
)
from pytest_distill.contracts.manifest import Declaration, How, ModelUse
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.grading.derive import Rejection, declared, derived
from pytest_distill.pipelines.grading.prompts import RUBRIC_VERSION, rubric_sha256, scoring_prompt, scoring_schema
from pytest_distill.pipelines.grading.reply import scorer_output
from pytest_distill.pipelines.models.judging import Judge, Ran, Reply
from pytest_distill.pipelines.models.metering import Meter
from pytest_distill.policy.allowance import known, tier
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.progress import Report
from pytest_distill.stages.stopping import Stop

COLUMNS: Final = {"sft": ("instruction", "response"), "rag": ("content",), "text": ("text",)}
MOST_REPLY: Final = 2000  # characters of a reply that failed, kept to be looked at


def scorer_of(ran: Ran) -> Scorer:
    return Scorer(
        model=ran.model_name,
        version=ran.version,
        revision=ran.model_revision,
        weights_sha256=ran.weights_sha256,
        tokenizer_hash=ran.tokenizer_hash,
        template_sha256=ran.template_sha256,
        constrained=ran.constrained,
        rubric_version=RUBRIC_VERSION,
        rubric_sha256=rubric_sha256(),
    )


def columns_of(batch: Batch, chosen: Sequence[str] | None = None) -> tuple[str, ...]:
    """The columns that a scorer is shown. Raises E-KIND where the kind has none, E-COLUMN where the batch lacks one of them."""
    columns = tuple(chosen or COLUMNS.get(batch.kind, ()))
    if not columns:
        raise DistillError(
            Code.KIND, f"{batch.id} is of kind {batch.kind}, whose rows are not scored one by one", "Name columns: --column C."
        )
    if not batch.rows:
        raise DistillError(Code.KIND, f"{batch.id} has no row", "All of them are in its quarantine: `distill show` says why.")
    types = {column.name: (column.type, column.nulls) for column in batch.manifest.columns}
    for name in columns:
        if types.get(name) != ("string", "never"):
            raise DistillError(
                Code.COLUMN, f"{batch.id} has no column {name!r} with a text in every row", "Name others: --column C."
            )
    return columns


@dataclass(frozen=True)
class Order:
    """What a user says about a scoring, besides the model."""

    columns: tuple[str, ...]
    seed: int = 0
    retries: int = 2
    max_new_tokens: int = 256
    temperature: float = 0.7
    unit_rows: int = 64


def plan_of(batch_id: str, parent: Batch, ran: Ran, order: Order) -> ScoringPlan:
    return ScoringPlan(batch=batch_id, parent_sha256=parent.sha256, scorer=scorer_of(ran), **asdict(order))


class ScoringRun:
    """The folder of a scoring that is under way: its plan, and the units that are done."""

    def __init__(self, workspace: Workspace, batch_id: str) -> None:
        self.folder: Path = workspace.state / "score" / workspace.batch_folder(batch_id).name

    @property
    def started(self) -> bool:
        return (self.folder / PLAN).is_file()

    def settle(self, plan: ScoringPlan) -> str:
        """The digest of the plan, which is stored or has to be the one that is. Raises E-FREEZE."""
        path = self.folder / PLAN
        storage.remove_leftovers(path)
        if not self.started:
            plan.write(path)
        elif (before := ScoringPlan.load(path)) != plan:
            changed = [name for name in ScoringPlan.model_fields if getattr(before, name) != getattr(plan, name)]
            raise DistillError(
                Code.FREEZE,
                f"{plan.batch} was started with another {', '.join(changed)}",
                "Go on as it was, or take another --id.",
            )
        return storage.sha256_file(path)

    def unit(self, number: int, plan_sha256: str) -> ScoringUnit | None:
        """A unit that is done; None where it is not. Raises E-MANIFEST for a damaged one, E-FREEZE for one of another plan."""
        path = self._path(number)
        storage.remove_leftovers(path)
        if not path.is_file():
            return None
        unit = ScoringUnit.load(path)
        if (unit.plan_sha256, unit.number) != (plan_sha256, number):
            raise DistillError(Code.FREEZE, f"{path.name} was made by another plan", "Remove the file: it will be made again.")
        return unit

    def store(self, unit: ScoringUnit) -> None:
        unit.write(self._path(unit.number))

    def _path(self, number: int) -> Path:
        return self.folder / f"unit-{number:06d}.json"


def score(
    run: ScoringRun, plan: ScoringPlan, parent: Batch, judge: Judge, *, stop: Stop, report: Report
) -> Iterator[ScoringUnit]:
    """Every unit in order, made or found. Raises what the judge and the run's folder refuse, SystemExit between units."""
    digest = run.settle(plan)
    frame = parent.frame(plan.columns)
    total, failed = parent.rows, 0
    for number, start in enumerate(range(0, total, plan.unit_rows)):
        unit = run.unit(number, digest)
        if unit is None:
            stop.check()
            rows = frame.slice(start, plan.unit_rows).to_dicts()
            unit = _make(judge, plan, digest, number, start, [scoring_prompt(row) for row in rows])
            run.store(unit)
        failed += sum(row.output is None for row in unit.rows)
        report(min(start + plan.unit_rows, total), total, f"{failed:,} without a score")
        yield unit


@dataclass
class _Row:
    """A row that has no score yet."""

    number: int
    prompt: str
    output: ScorerOutput | None = None
    failed: list[Attempt] = field(default_factory=list)


def _make(judge: Judge, plan: ScoringPlan, digest: str, number: int, first: int, prompts: Sequence[str]) -> ScoringUnit:
    rows = [_Row(first + place, prompt) for place, prompt in enumerate(prompts)]
    read = written = 0
    open_rows = []
    for row in rows:
        if why := judge.refuses(row.prompt, max_new_tokens=plan.max_new_tokens):
            row.failed.append(Attempt(code=Code.PROMPT.value, message=f"the row's prompt {why}", reply=""))
        else:
            open_rows.append(row)
    for attempt in range(plan.retries + 1):
        if not open_rows:
            break
        replies = judge.ask(
            [row.prompt for row in open_rows],
            schema=scoring_schema(),
            max_new_tokens=plan.max_new_tokens,
            seeds=[_seed(plan.seed, row.number, attempt) for row in open_rows],
            temperature=plan.temperature if attempt else 0.0,
        )
        for row, reply in zip(open_rows, replies, strict=True):
            read, written = read + reply.prompt_tokens, written + reply.completion_tokens
            _take(row, reply, plan.scorer)
        open_rows = [row for row in open_rows if row.output is None]
    found = tuple(RowScore(row=row.number, output=row.output, failed=tuple(row.failed)) for row in rows)
    return ScoringUnit(plan_sha256=digest, number=number, rows=found, tokens_read=read, tokens_written=written)


def _take(row: _Row, reply: Reply, scorer: Scorer) -> None:
    try:
        if reply.finish_reason == "refused":
            raise DistillError(Code.SCORE_REFUSED, "the judge would not answer")
        if reply.finish_reason == "length":
            raise DistillError(Code.SCORE_LENGTH, f"the reply was cut off after {reply.completion_tokens} tokens")
        row.output = scorer_output(reply.text, model=scorer.model, version=scorer.version, weights=EQUAL_WEIGHTS)
    except DistillError as error:
        row.failed.append(Attempt(code=error.code.value, message=error.message, reply=reply.text[:MOST_REPLY]))


def _seed(seed: int, row: int, attempt: int) -> int:
    """31 bits of a digest: rows and attempts have nothing in common."""
    return int(storage.sha256_bytes(f"score:{seed}:{row}:{attempt}".encode())[:8], 16) >> 1


def scored_batch(
    workspace: Workspace, plan: ScoringPlan, parent: Batch, units: Sequence[ScoringUnit], use: ModelUse, *, what: str, why: str,
    said: Declaration | None = None, command: Sequence[str] = (),
) -> Batch:  # fmt: skip
    """The parent's rows with their scores beside them; rows without one in quarantine, each with the code of its last attempt."""
    rows = [row for unit in units for row in unit.rows]
    outputs = [row.output.model_dump(mode="json") if row.output else None for row in rows]
    rejected = {
        row.row: Rejection(Reason.UNSCORED, f"[{row.failed[-1].code}]: {row.failed[-1].message}")
        for row in rows
        if not row.output
    }
    parameters: dict[str, str | int | float | bool | None] = {
        "rubric_version": plan.scorer.rubric_version,
        "rubric_sha256": plan.scorer.rubric_sha256,
        "scorer_version": plan.scorer.version,
        "columns": ",".join(plan.columns),
        "retries": plan.retries,
        "max_new_tokens": plan.max_new_tokens,
        "temperature": plan.temperature,
    }
    used = _metered(workspace, use, units, said)
    return derived(
        workspace,
        parent,
        plan.batch,
        columns={SCORES: outputs},
        rejected=rejected,
        how=How(pipeline=PIPELINE, models=(used,), parameters=parameters),
        **declared(workspace, said, (used,)),
        what=what,
        why=why,
        command=command,
        attachments={SCORING: summary_of(plan, units).to_bytes()},
        seed=plan.seed,
        spec_version=plan.scorer.rubric_version,
        spec_sha256=plan.scorer.rubric_sha256,
    )


def _metered(workspace: Workspace, use: ModelUse, units: Sequence[ScoringUnit], said: Declaration | None) -> ModelUse:
    """The judge with what all units together asked of it, however often the scoring was stopped."""
    entry = known(workspace.policy, use.name)
    usage = Meter(price=entry.price if entry else 0.0).usage(
        sum(
            (row.output is not None) + sum(attempt.code != Code.PROMPT.value for attempt in row.failed)
            for unit in units
            for row in unit.rows
        ),
        sum(unit.tokens_read for unit in units),
        sum(unit.tokens_written for unit in units),
    )
    frontier = tier(workspace.policy, use.name) == "frontier"
    return use.model_copy(update={"usage": usage, "purpose": said.purpose if said and frontier else None})


def summary_of(plan: ScoringPlan, units: Sequence[ScoringUnit]) -> ScoringSummary:
    rows = [row for unit in units for row in unit.rows]
    failures = Counter(row.failed[-1].code for row in rows if row.output is None)
    attempts = Counter(attempt.code for row in rows for attempt in row.failed)
    return ScoringSummary(
        parent_sha256=plan.parent_sha256,
        scorer=plan.scorer,
        weights=dict(EQUAL_WEIGHTS),
        rows=len(rows),
        scored=sum(row.output is not None for row in rows),
        failures=dict(sorted(failures.items())),
        attempts_failed=dict(sorted(attempts.items())),
        tokens_read=sum(unit.tokens_read for unit in units),
        tokens_written=sum(unit.tokens_written for unit in units),
    )
