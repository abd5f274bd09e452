"""`distill replay study`: does retrieval help this model on these tasks? Paired, seeded, reported whichever way it falls.

Every task is run twice, with and without retrieval, by the same model with the same seed. Both outputs are validated against the
documents that retrieval finds: without retrieval nothing would ever be grounded, which would decide the question beforehand. A
task that was made of a document never sees that document.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.replay import Compared, EscalationWindow, ReplayRun, ReplayStudy
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.replay.corpus import Corpus
from pytest_distill.pipelines.replay.replay import Model, Settings, replay
from pytest_distill.pipelines.replay.statistics import bootstrap_interval, mcnemar_exact, wilson_interval
from pytest_distill.pipelines.replay.validate import validate
from pytest_distill.stages.progress import Report

CHUNK = 10  # tasks a step: what a stop waits for
WINDOW = 50  # runs
_NO_REPORT: Report = lambda done, total, words: None  # noqa: E731, ARG005


class Task(BaseModel):
    """One line of a task file. `reference` is an answer known to be right, `document` one that the bundle must not hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    task: str = Field(pattern=r"\S")
    reference: str | None = None
    document: str | None = None


@dataclass(frozen=True)
class Pair:
    """Both runs of one task."""

    task: Task
    with_retrieval: ReplayRun
    without: ReplayRun


@dataclass(frozen=True)
class Kept:
    """Where the pairs of a study lie until it is done, so that a stop or a ceiling loses a step at most."""

    folder: Path

    @property
    def _file(self) -> Path:
        return self.folder / "pairs.jsonl"

    def pairs(self, tasks: Sequence[Task]) -> list[Pair]:
        """Those that are done already. What a kill tore off is taken away, and done again. The caller holds the lock."""
        data = self._file.read_bytes() if self._file.is_file() else b""
        lines = data.splitlines(keepends=True)
        runs: list[ReplayRun] = []
        for line in lines:
            try:
                runs.append(ReplayRun.model_validate_json(line))
            except ValidationError:
                break
        pairs = [Pair(*each) for each in zip(tasks, runs[::2], runs[1::2], strict=False)]
        if (whole := b"".join(lines[: 2 * len(pairs)])) != data:
            storage.write_bytes(self._file, whole)
        return pairs

    def add(self, pairs: Sequence[Pair]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for run in (run for pair in pairs for run in (pair.with_retrieval, pair.without)):
            storage.append_line(self._file, run.model_dump_json(by_alias=True).encode())

    def done(self) -> None:
        storage.remove_folder(self.folder)


def kept(state: Path, tasks: Sequence[Task], corpus: Corpus, model: Model, settings: Settings) -> Kept:
    """Of exactly this study: other tasks, documents, models or settings are another one."""
    facts = [[task.model_dump() for task in tasks], corpus.sha256, model.use.model_dump(), asdict(settings)]
    return Kept(state / "replay-study" / storage.sha256_bytes(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))[:16])


def read_tasks(path: Path) -> list[Task]:
    """Raises E-SOURCE-NOTFOUND, E-SOURCE-FORMAT with the line."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DistillError(Code.SOURCE, f"{path} cannot be read: {error.strerror}", "Check the path.") from error
    tasks = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                tasks.append(Task.model_validate_json(line))
            except ValidationError as error:
                message = f"{path.name}:{number}: {first_problem(error)}"
                raise DistillError(Code.FORMAT, message, 'A line is {"task": "…", "reference": "…"}.') from error
    if not tasks:
        raise DistillError(Code.SOURCE, f"{path} holds no task", 'A line is {"task": "…", "reference": "…"}.')
    return tasks


def tasks_of(batch: Batch, count: int, *, seed: int) -> list[Task]:
    """Tasks of a batch of kind sft: an instruction, its response as the reference, and its id as the document to leave out.

    One row an instruction, `count` of them, drawn by `seed`. Raises E-KIND, E-SOURCE-NOTFOUND where there are fewer.
    """
    if batch.kind != "sft":
        raise DistillError(Code.KIND, f"{batch.id} holds {batch.kind} rows", "Tasks come from a batch of kind sft, or a file.")
    names = [name for name in ("instruction", "response", "id") if name in batch.column_names]
    rows = {row["instruction"]: row for row in batch.frame(names).iter_rows(named=True)}
    if len(rows) < count:
        message = f"{batch.id} has {len(rows)} different instructions, {count} were asked for"
        raise DistillError(Code.SOURCE, message, "Name tasks of yours: --tasks FILE, or take fewer: --count N.")
    chosen = random.Random(seed).sample(sorted(rows), count)  # noqa: S311
    return [Task(task=name, reference=rows[name]["response"], document=rows[name].get("id")) for name in chosen]


def run(
    tasks: Sequence[Task], corpus: Corpus, model: Model, settings: Settings, *, keep: Callable[[Sequence[ReplayRun]], None],
    report: Report = _NO_REPORT, before: Kept | None = None,
) -> list[Pair]:  # fmt: skip
    """Both arms of every task. `keep` is given each step's runs as they are done, to log them; `before` holds what was done in
    a run that was stopped, and takes what is done now. `report` may stop it."""
    pairs = before.pairs(tasks) if before is not None else []
    for start in range(len(pairs), len(tasks), CHUNK):
        chunk = tasks[start : start + CHUNK]
        texts = [task.task for task in chunk]
        shown = replay(texts, corpus, model, settings, without=[task.document for task in chunk])
        bare = replay(texts, None, model, settings)
        pairs += [Pair(*each) for each in zip(chunk, shown, bare, strict=True)]
        keep([*shown, *bare])
        if before is not None:
            before.add(pairs[start:])
        report(len(pairs), len(tasks), f"passed {sum(pair.with_retrieval.validation.passed for pair in pairs)}")
    return pairs


def study(
    pairs: Sequence[Pair],
    corpus: Corpus,
    model: Model,
    settings: Settings,
    log: Iterable[ReplayRun] = (),
) -> ReplayStudy:
    """What the runs say. `log` is the whole log, oldest first: the escalation rate over time. Raises ValueError for no pair."""
    outcomes: Counter[tuple[bool, bool]] = Counter()
    passed: list[tuple[float, float]] = []
    grounded: list[tuple[float, float]] = []
    overlap: list[tuple[float, float]] = []
    for pair in pairs:
        task, bundle = pair.task, pair.with_retrieval.bundle
        checked = [validate(run.output, task.task, bundle, settings.limits) for run in (pair.with_retrieval, pair.without)]
        outcomes[checked[0].passed, checked[1].passed] += 1
        passed.append((checked[0].passed, checked[1].passed))
        grounded.append((not checked[0].audit.ungrounded, not checked[1].audit.ungrounded))
        if task.reference is not None:
            overlap.append((word_f1(pair.with_retrieval.output, task.reference), word_f1(pair.without.output, task.reference)))
    only = outcomes[True, False], outcomes[False, True]
    compared = [_compared("passed validation", passed, settings.seed, p_value=mcnemar_exact(*only))]
    compared.append(_compared("no ungrounded claim", grounded, settings.seed, p_value=mcnemar_exact(*_only(grounded))))
    if overlap:
        compared.append(_compared("word F1 with the reference", overlap, settings.seed))
    listed = [[pair.task.task, pair.task.reference, pair.task.document] for pair in pairs]
    return ReplayStudy(
        tasks=len(pairs),
        tasks_sha256=storage.sha256_bytes(orjson.dumps(listed)),
        corpus_sha256=corpus.sha256,
        model=model.use,
        seed=settings.seed,
        room=settings.room,
        max_new_tokens=settings.max_new_tokens,
        both_passed=outcomes[True, True],
        only_with=only[0],
        only_without=only[1],
        neither=outcomes[False, False],
        compared=tuple(compared),
        escalation=tuple(escalation_rate(log)),
    )


def escalation_rate(log: Iterable[ReplayRun], window: int = WINDOW) -> list[EscalationWindow]:
    """How often the local model failed, so that a frontier model was wanted, over the runs with retrieval, window by window."""
    runs = [run for run in log if run.retrieval]
    windows = []
    for start in range(0, len(runs), window):
        part = runs[start : start + window]
        wanted = sum(not run.validation.passed for run in part)
        low, high = wilson_interval(wanted, len(part))
        windows.append(
            EscalationWindow(
                first=start + 1,
                runs=len(part),
                wanted=wanted,
                escalated=sum(run.escalation is not None for run in part),
                share=round(wanted / len(part), 6),
                interval=(round(low, 6), round(high, 6)),
            )
        )
    return windows


def word_f1(output: str, reference: str) -> float:
    """F1 of the two bags of words, as in SQuAD (Rajpurkar et al. 2016)."""
    said, wanted = Counter(output.casefold().split()), Counter(reference.casefold().split())
    common = (said & wanted).total()
    return 2 * common / (said.total() + wanted.total()) if common else 0.0


def _only(outcomes: Sequence[tuple[float, float]]) -> tuple[int, int]:
    return sum(a > b for a, b in outcomes), sum(b > a for a, b in outcomes)


def _compared(figure: str, values: Sequence[tuple[float, float]], seed: int, p_value: float | None = None) -> Compared:
    differences = [float(a) - float(b) for a, b in values]
    low, high = bootstrap_interval(differences, seed=seed)
    count = len(values)
    return Compared(
        figure=figure,
        with_retrieval=round(sum(float(a) for a, _ in values) / count, 6),
        without_retrieval=round(sum(float(b) for _, b in values) / count, 6),
        difference=round(sum(differences) / count, 6),
        interval=(round(low, 6), round(high, 6)),
        p_value=p_value,
    )
