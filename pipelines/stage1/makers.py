"""Who makes the units: this process, or several that hold the model each. What they make is the same."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from pytest_distill.contracts.stage1_run import Recipe
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.registry import ModelChoice, Opened, open_model
from pytest_distill.pipelines.stage1.apart import KeptApart
from pytest_distill.pipelines.stage1.unit import make_unit


@dataclass(frozen=True)
class Work:
    """What a maker needs besides the number of a unit."""

    recipe: Recipe
    plan_sha256: str
    apart: tuple[str, ...]


class Makers(Protocol):
    """`width` units are made at a time. A unit comes as the bytes of its file."""

    width: int

    def submit(self, number: int) -> Future[bytes]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Here:
    """This process, one unit after the other. `submit` returns when the unit is made."""

    width = 1

    def __init__(self, model: Opened, work: Work) -> None:
        self._model, self._work = model, work
        self._apart = KeptApart(work.apart)

    def submit(self, number: int) -> Future[bytes]:
        done: Future[bytes] = Future()
        done.set_result(self.make(number))
        return done

    def make(self, number: int) -> bytes:
        work = self._work
        return make_unit(self._model, work.recipe, number, plan_sha256=work.plan_sha256, apart=self._apart).to_bytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class Processes:
    """Processes that load the model each, on one device. They end when this process does, however it ends."""

    def __init__(self, choice: ModelChoice, work: Work, workers: int) -> None:
        self.width = workers
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(choice, work.recipe.to_bytes(), work.plan_sha256, work.apart),
        )

    def submit(self, number: int) -> Future[bytes]:
        try:
            return self._pool.submit(_make, number)
        except BrokenExecutor as error:
            raise worker_died() from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def worker_died() -> DistillError:
    return DistillError(
        Code.WORKER, "a worker process ended unasked", "Was memory short? Go on with --resume and fewer --workers."
    )


_here: list[Here | DistillError] = []  # of a worker process: what makes its units, or why it cannot


def _start(choice: ModelChoice, recipe: bytes, plan_sha256: str, apart: tuple[str, ...]) -> None:
    """Runs once in each process: loads the model, and sees to it that it is the one that the plan names."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent is told, and lets the unit at work be finished
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        model, planned = open_model(choice), Recipe.from_bytes(recipe, name="the recipe")
        if model.provenance.weights_sha256 != planned.weights_sha256:
            raise DistillError(Code.FREEZE, "the weights of the model changed during the run", "Put them back, and --resume.")
        _here.append(Here(model, Work(planned, plan_sha256, apart)))
    except DistillError as error:
        _here.append(error)  # raised with the first unit: a pool tells of a failed start by a traceback only


def _make(number: int) -> bytes:
    maker = _here[0]
    if isinstance(maker, DistillError):
        raise maker
    return maker.make(number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
