"""The engines of this machine: threads of this process, and processes beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pytest_distill.engine.engine import Engine, Job, K, R, T, in_order
from pytest_distill.errors import Code, DistillError


class Threads(Engine):
    """For work that lets go of the interpreter lock. Each thread makes a function of its own."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or cores()

    def map(self, job: Job[T, R], tasks: Iterable[tuple[K, T]]) -> Generator[tuple[K, R]]:
        local = threading.local()

        def work(task: T) -> R:
            if not hasattr(local, "function"):
                local.function = job.make(*job.arguments)
            result: R = local.function(task)
            return result

        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="distill")
        try:
            yield from in_order(tasks, lambda task: pool.submit(work, task).result, self.workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Processes(Engine):
    """For work that holds the interpreter lock. One worker is this process itself."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def map(self, job: Job[T, R], tasks: Iterable[tuple[K, T]]) -> Generator[tuple[K, R]]:
        if self.workers == 1:
            function = job.make(*job.arguments)
            for label, task in tasks:
                yield label, function(task)
            return
        # Started afresh, not forked: this process has threads, and a fork would inherit their locks without them.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin, initargs=(job.make, job.arguments))
        try:
            yield from in_order(tasks, lambda task: pool.submit(_work, task).result, self.workers)
        except BrokenProcessPool as error:
            raise DistillError(
                Code.WORKER,
                "a worker process died (out of memory?)",
                "Nothing stored is lost: go on with --resume, or --workers 1.",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """The processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_function: Callable[[Any], Any] | None = None  # of a worker process


def _begin(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    """In a worker: signals are the parent's business, and a worker whose parent was killed leaves too."""
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _function = make(*arguments)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(task: Any) -> Any:
    assert _function is not None
    return _function(task)
