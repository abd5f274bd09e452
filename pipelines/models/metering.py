"""What models were asked, counted: calls, tokens, money, time. And the ceilings that no call may break through.

A run opens a session; every model that is opened inside it (`registry.open_model`, `judging.open_judge`) is first allowed by
the policy, and then counted. A call whose dearest answer would not fit under a ceiling is not made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_distill import ledger
from pytest_distill.contracts.manifest import ModelUse, Usage
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import allowance, bulk
from pytest_distill.policy.workspace import Workspace

if TYPE_CHECKING:
    from pytest_distill.pipelines.models.backend import Backend, Completion, Sampling
    from pytest_distill.pipelines.models.judging import Judge, Ran, Reply
    from pytest_distill.policy.model import KnownModel

N = TypeVar("N", int, float)
RESUME = "Finished units are kept: go on with --resume and a new limit."


@dataclass
class Limits:
    """What may be spent: minutes of this session; calls, tokens (read and written) and cost over all sessions of a run."""

    minutes: float | None = None
    tokens: int | None = None
    cost: float | None = None
    calls: int | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def bounded(self) -> bool:
        """Is there a ceiling besides that of time?"""
        return (self.tokens, self.cost, self.calls) != (None, None, None)

    def exceeded(self, spent: Usage, more: Usage) -> str | None:
        """Which limit stands in the way of `more` on top of `spent`, in words."""
        if self.minutes is not None and time.monotonic() - self.started >= self.minutes * 60:
            return f"the {self.minutes:g} minutes of this session are used up"
        if self.calls is not None and spent.calls + more.calls > self.calls:
            return f"{spent.calls:,} of {self.calls:,} calls are made, and {more.calls:,} are next"
        tokens, following = (use.tokens_read + use.tokens_written for use in (spent, more))
        if self.tokens is not None and tokens + following > self.tokens:
            return f"{tokens:,} of {self.tokens:,} tokens are used, and up to {following:,} are next"
        if self.cost is not None and spent.cost + more.cost > self.cost:
            return f"{spent.cost:.2f} of {self.cost:.2f} is spent, and up to {more.cost:.2f} is next"
        return None


class Meter:
    """Of one model: what it was asked so far, at what price, and since when. Threads may share one."""

    def __init__(self, use: ModelUse | None = None, *, price: float = 0.0, session: Session | None = None) -> None:
        """`price` is of a million tokens, read or written."""
        self.use = use
        self.price = price
        self.seconds = 0.0
        self._used = Usage()
        self._session = session
        self._limits: Limits | None = None
        self._lock = threading.Lock()

    @property
    def used(self) -> Usage:
        with self._lock:
            return self._used

    def limit(self, limits: Limits) -> None:
        """A ceiling of this model's own, besides the session's."""
        self._limits = limits

    def usage(self, calls: int, read: int, written: int) -> Usage:
        return Usage(calls=calls, tokens_read=read, tokens_written=written, cost=round((read + written) * self.price / 1e6, 8))

    def admit(self, calls: int, read: int, most_written: int) -> None:
        """Raises E-BUDGET when so much more would break through a ceiling."""
        more = self.usage(calls, read, most_written)
        why = self._limits.exceeded(self.used, more) if self._limits else None
        if why is None and self._session is not None:
            why = self._session.exceeded(more)
        if why is not None:
            raise DistillError(Code.BUDGET, f"stopped: {why}", self._session.go_on if self._session else RESUME)

    def add(self, calls: int, read: int, written: int, seconds: float) -> None:
        with self._lock:
            self._used = self._used.plus(self.usage(calls, read, written))
            self.seconds += seconds


class Session:
    """One run's models. `earlier` is what sessions before spent on the same run."""

    def __init__(
        self, workspace: Workspace, task: allowance.Task, limits: Limits | None = None, go_on: str = RESUME
    ) -> None:  # fmt: skip
        """`go_on` says what is kept when a ceiling stops the run, and what to do next."""
        self.workspace, self.task, self.go_on = workspace, task, go_on
        self.limits = limits if limits is not None else budget(workspace)
        self.meters: list[Meter] = []
        self.earlier = Usage()
        allowance.check_declaration(task.said)

    def allow(self, name: str, url: str | None) -> None:
        """Raises E-FRONTIER, E-COST-CLASS, E-GOLD before the model is opened."""
        if self.task.generates:
            bulk.refuse_single_tier(self.workspace, self.task.items, repeats=self.task.repeats)
        allowance.allow(self.workspace.policy, self.task, name, url)

    def grown(self, items: int) -> None:
        """The task turned out to have so many items. Raises E-GOLD, E-FRONTIER where that makes it bulk that may not be."""
        self.task = replace(self.task, items=items)
        if self.task.generates:
            bulk.refuse_single_tier(self.workspace, items)
        for meter in self.meters:
            if meter.use is not None:
                self.allow(meter.use.name, None)

    def meter(self, use: ModelUse, price: float | None = None) -> Meter:
        entry = allowance.known(self.workspace.policy, use.name)
        made = Meter(use, price=price if price is not None else entry.price if entry else 0.0, session=self)
        if entry is not None:
            made.limit(_limits_of(entry))
        self.meters.append(made)
        return made

    @property
    def used(self) -> Usage:
        """Of this session."""
        total = Usage()
        for meter in self.meters:
            total = total.plus(meter.used)
        return total

    def exceeded(self, more: Usage) -> str | None:
        return self.limits.exceeded(self.earlier.plus(self.used), more)

    def uses(self) -> tuple[ModelUse, ...]:
        """The models of this session with what each was asked; those of one name and bytes are one."""
        found: dict[tuple[str, str, str | None], ModelUse] = {}
        for meter in self.meters:
            if meter.use is not None:
                key = (meter.use.name, meter.use.revision, meter.use.weights_sha256)
                before = found[key].usage if key in found else None
                found[key] = self.described(meter.use, (before or Usage()).plus(meter.used))
        return tuple(found.values())

    def described(self, use: ModelUse, usage: Usage) -> ModelUse:
        """As the manifest has it: what it was asked, and a frontier model's purpose."""
        frontier = allowance.tier(self.workspace.policy, use.name) == "frontier"
        return use.model_copy(update={"usage": usage, "purpose": self.task.said.purpose if frontier else None})


def budget(workspace: Workspace, *, minutes: float | None = None, tokens: int | None = None, cost: float | None = None,
           calls: int | None = None) -> Limits:  # fmt: skip
    """The policy's [budget], and what the command says: the tighter of the two."""
    table = workspace.policy.budget
    return Limits(
        minutes=_least(table.max_minutes, minutes),
        tokens=_least(table.max_tokens, tokens),
        cost=_least(table.max_cost, cost),
        calls=_least(table.max_calls, calls),
    )


def _least(one: N | None, other: N | None) -> N | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _limits_of(entry: KnownModel) -> Limits:
    return Limits(tokens=entry.max_tokens, cost=entry.max_cost)


_open: list[Session] = []


def current() -> Session | None:
    """The session that is open in this process."""
    return _open[-1] if _open else None


@contextmanager
def session(
    workspace: Workspace, task: allowance.Task, limits: Limits | None = None, *, batch: str | None = None, go_on: str = RESUME
) -> Iterator[Session]:
    """Models that are opened in the block are allowed, counted and limited. What they used goes into the ledger at its end,
    however it ends, with the wall time that no digest may hold."""
    opened = Session(workspace, task, limits, go_on)
    _open.append(opened)
    try:
        yield opened
    finally:
        _open.remove(opened)
        for meter in opened.meters:
            if meter.use is not None and meter.used.calls:
                used = meter.used
                ledger.append(
                    workspace.ledger,
                    "metered",
                    batch=batch,
                    model=meter.use.name,
                    tier=allowance.tier(workspace.policy, meter.use.name),
                    purpose=task.said.purpose,
                    declared=task.said.cost_class,
                    calls=used.calls,
                    tokens_read=used.tokens_read,
                    tokens_written=used.tokens_written,
                    cost=used.cost,
                    seconds=round(meter.seconds, 3),
                )


class MeteredBackend:
    """A backend, counted. Everything else of it is reached as before."""

    def __init__(self, inner: Backend, meter: Meter) -> None:
        self.inner, self.meter = inner, meter

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.inner.count_tokens(texts)

    def generate(self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        read = sum(self.inner.count_tokens(prompts))
        self.meter.admit(len(prompts), read, len(prompts) * sampling.max_new_tokens)
        started = time.monotonic()
        made = self.inner.generate(prompts, sampling, seeds)
        self.meter.add(len(prompts), read, sum(one.tokens for one in made), time.monotonic() - started)
        return made

    def next_token_logprobs(self, prompts: Sequence[str], tokens: Sequence[str]) -> list[tuple[float, ...]]:
        read = sum(self.inner.count_tokens(prompts))
        self.meter.admit(len(prompts), read, 0)
        started = time.monotonic()
        found = self.inner.next_token_logprobs(prompts, tokens)
        self.meter.add(len(prompts), read, 0, time.monotonic() - started)
        return found


class MeteredJudge:
    """A judge, counted. How much a prompt reads is known with its reply; before, a byte is taken for a token at most."""

    def __init__(self, inner: Judge, meter: Meter) -> None:
        self.inner, self.meter = inner, meter

    @property
    def ran(self) -> Ran:
        return self.inner.ran

    def refuses(self, prompt: str, *, max_new_tokens: int) -> str | None:
        return self.inner.refuses(prompt, max_new_tokens=max_new_tokens)

    def ask(
        self,
        prompts: Sequence[str],
        *,
        schema: Mapping[str, Any],
        max_new_tokens: int,
        seeds: Sequence[int],
        temperature: float = 0.0,
    ) -> list[Reply]:
        most_read = sum(len(prompt.encode()) for prompt in prompts)
        self.meter.admit(len(prompts), most_read, len(prompts) * max_new_tokens)
        started = time.monotonic()
        said = self.inner.ask(prompts, schema=schema, max_new_tokens=max_new_tokens, seeds=seeds, temperature=temperature)
        read, written = sum(one.prompt_tokens for one in said), sum(one.completion_tokens for one in said)
        self.meter.add(len(prompts), read, written, time.monotonic() - started)
        return said
