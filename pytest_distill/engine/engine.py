"""The one interface of the engines, and the order in which results come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Job(Generic[T, R]):
    """Each worker calls `make(*arguments)` once, and what that returns with every task.

    Both are found by the names of their modules where a worker is another process, and arguments and tasks travel there: they
    are plain data. The function is pure, because a task whose worker died is run again. Jobs of different `group`s never share a
    process of a cluster.
    """

    make: Callable[..., Callable[[T], R]]
    arguments: tuple[Any, ...] = ()
    group: str = ""


class Engine(ABC):
    """`workers` tasks are at work at a time. Used as a context manager, it ends what it started."""

    workers: int

    @abstractmethod
    def map(self, job: Job[T, R], tasks: Iterable[tuple[K, T]]) -> Generator[tuple[K, R]]:
        """The result of each task beside its label, which stays in this process, in the order of the tasks.

        Tasks are drawn as they are needed: at most `workers` + 2 of them, or their results, are in memory. Once the
        generator is closed, no other is drawn. What a task raises is raised here. Raises E-WORKER when a worker died and its
        task cannot be run again; what was yielded before stands.
        """

    def watch(self) -> None:  # noqa: B027 - as below
        """To be called while this process's stderr is that of the user: what an end without a word is told on."""

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """Ends what the engine started. It can be used again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def in_order(tasks: Iterable[tuple[K, T]], submit: Callable[[T], Callable[[], R]], ahead: int) -> Generator[tuple[K, R]]:
    """Submits up to `ahead` tasks more than the one that is waited for. `submit` returns how to wait for a result."""
    waiting: deque[tuple[K, Callable[[], R]]] = deque()
    for label, task in tasks:
        waiting.append((label, submit(task)))
        if len(waiting) > ahead:
            first, result = waiting.popleft()
            yield first, result()
    while waiting:
        first, result = waiting.popleft()
        yield first, result()
