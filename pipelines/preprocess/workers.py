"""Cleaning units in this process, or in others: the same bytes in the same order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.kernels.minhash import Salts
from pytest_distill.pipelines.preprocess.clean import Cleaner, Task
from pytest_distill.pipelines.preprocess.config import Config
from pytest_distill.pipelines.preprocess.reading import Piece

_cleaner: Cleaner | None = None


def cleaned(pieces: Iterator[Piece], config: Config, salt: Salts, workers: int) -> Generator[tuple[Piece, bytes]]:
    """Each piece with its unit's bytes, in order. At most `workers` + 1 pieces are in memory.

    Raises E-WORKER when a worker process dies; what was yielded before stands.
    """
    if workers == 1:
        clean = Cleaner(config, salt)
        for piece in pieces:
            yield piece, clean(piece.task)
        return
    waiting: deque[tuple[Piece, Future[bytes]]] = deque()
    # Started afresh, not forked: this process has threads, and a fork would inherit their locks without them.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(config, salt))
    try:
        for piece in pieces:
            waiting.append((piece, pool.submit(_clean, piece.task)))
            if len(waiting) > workers:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except BrokenProcessPool as error:
        raise DistillError(
            Code.WORKER, "a worker process died (out of memory?)", "Nothing stored is lost: go on with --resume, or --workers 1."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _first(waiting: deque[tuple[Piece, Future[bytes]]]) -> tuple[Piece, bytes]:
    piece, future = waiting.popleft()
    return piece, future.result()


def _begin(config: Config, salt: Salts) -> None:
    """In a worker: signals are the parent's business, and a worker whose parent was killed leaves too."""
    global _cleaner
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _cleaner = Cleaner(config, salt)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _clean(task: Task) -> bytes:
    assert _cleaner is not None
    return _cleaner(task)
