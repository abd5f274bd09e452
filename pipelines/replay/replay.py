"""A replay: task -> bundle -> local model -> validation -> escalation where that is allowed -> one line of the log.

Models are opened in a metering session: it allows, counts and limits them. Nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from pytest_distill import clock, storage
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.manifest import ModelUse, Purpose
from pytest_distill.contracts.replay import Bundle, Escalation, ReplayRun, task_hash
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.backend import Backend, Completion, Sampling
from pytest_distill.pipelines.models.metering import Meter
from pytest_distill.pipelines.replay.corpus import Corpus
from pytest_distill.pipelines.replay.prompt import STOP, prompt
from pytest_distill.pipelines.replay.validate import Limits, validate
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.stopping import Stop

EMPTY = Bundle()


@dataclass(frozen=True)
class Settings:
    """How to ask. `room` is for the prompt, in tokens of the model; `seed` matters above temperature 0 only."""

    room: int = 640
    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    limits: Limits = field(default_factory=Limits)

    @property
    def sampling(self) -> Sampling:
        return Sampling(max_new_tokens=self.max_new_tokens, temperature=self.temperature, stop=STOP)


@dataclass(frozen=True)
class Model:
    """A backend and what it is."""

    backend: Backend
    use: ModelUse


def log_path(workspace: Workspace) -> Path:
    """The log is a stream of evidence: `distill evidence build` reads it with the others."""
    return workspace.root / "streams" / "replay_runs.jsonl"


def replay(
    tasks: Sequence[str],
    corpus: Corpus | None,
    model: Model,
    settings: Settings,
    *,
    without: Sequence[str | None] = (),
) -> list[ReplayRun]:
    """One run a task, in their order. `corpus` None: no retrieval, which is a baseline and never the default.

    `without` names, for each task, a document that its bundle must not hold. Nothing is logged. Raises E-PROMPT, and what a
    backend raises.
    """
    omitted = list(without) or [None] * len(tasks)
    bundles = [corpus.bundle(task, without=left_out) if corpus else EMPTY for task, left_out in zip(tasks, omitted, strict=True)]
    prompts = [
        prompt(task, bundle, count=lambda text: model.backend.count_tokens([text])[0], room=settings.room)
        for task, bundle in zip(tasks, bundles, strict=True)
    ]
    completions = model.backend.generate(prompts, settings.sampling, [settings.seed] * len(prompts))
    recorded_at = clock.timestamp()
    runs = []
    for task, bundle, asked, completion in zip(tasks, bundles, prompts, completions, strict=True):
        output = text_of(completion)
        validation = validate(output, task, bundle, settings.limits)
        runs.append(
            run_of(
                task=task,
                task_hash=task_hash(task),
                retrieval=corpus is not None,
                rag_ids=tuple(item.rag_id for item in bundle.items),
                bundle=bundle,
                corpus_sha256=corpus.sha256 if corpus else None,
                prompt=asked,
                model=model.use,
                seed=settings.seed,
                output=output,
                prompt_tokens=model.backend.count_tokens([asked])[0],
                completion_tokens=completion.tokens,
                finish_reason=completion.finish_reason,
                validation=validation,
                accepted=validation.passed and not validation.audit.ungrounded,
                recorded_at=recorded_at,
            )
        )
    return runs


def run_of(**fields: object) -> ReplayRun:
    """A run with the id that its own fields give."""
    return ReplayRun(replay_id=ReplayRun.model_construct(**fields).identity(), **fields)  # type: ignore[arg-type]


def text_of(completion: Completion) -> str:
    """What the model said, up to the first stop string."""
    text = completion.text
    for stop in STOP:
        text = text.partition(stop)[0]
    return text.strip()


def escalated(run: ReplayRun, frontier: Model, meter: Meter, settings: Settings, *, purpose: Purpose | None) -> ReplayRun:
    """The run with what a frontier model, counted by `meter`, says to the same prompt. Raises E-BUDGET before a call that a
    ceiling forbids."""
    prompt_tokens = frontier.backend.count_tokens([run.prompt])[0]
    completion = frontier.backend.generate([run.prompt], settings.sampling, [settings.seed])[0]
    usage = meter.usage(1, prompt_tokens, completion.tokens)
    output = text_of(completion)
    escalation = Escalation(
        model=frontier.use.model_copy(update={"purpose": purpose, "usage": usage}),
        reason=", ".join(dict.fromkeys(finding.code for finding in run.validation.findings)),
        output=output,
        validation=validate(output, run.task, run.bundle, settings.limits),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion.tokens,
        cost=usage.cost,
    )
    return ReplayRun.model_validate({**run.model_dump(), "escalation": escalation.model_dump()})


def log(workspace: Workspace, runs: Sequence[ReplayRun], stop: Stop | None = None) -> Path:
    """Appends runs to the log, durably, one line each."""
    path = log_path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.locked(workspace.state / "replay"):
        for run in runs:
            storage.append_line(path, run.model_dump_json(by_alias=True).encode())
            if stop is not None:
                stop.check()
    return path


def logged(workspace: Workspace) -> Iterator[ReplayRun]:
    """Every run of the log, oldest first. Raises E-MANIFEST with the line where one is none of ours."""
    path = log_path(workspace)
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield ReplayRun.model_validate_json(line)
            except ValidationError as error:
                raise DistillError(
                    Code.MANIFEST, f"{path.name}:{number}: {first_problem(error)}", "The log is only ever added to by replay."
                ) from error
