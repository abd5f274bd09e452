"""The engine that a command was told to use."""

from __future__ import annotations

from collections.abc import Callable

from pytest_distill.engine.engine import Engine
from pytest_distill.errors import Code, DistillError


def chosen(name: str, address: str | None, workers: int | None, local: Callable[[], Engine]) -> Engine:
    """What the name of an engine, the address of a cluster and a number of workers mean together; `local` unless it is Ray.

    Raises E-USAGE, E-EXTRA-MISSING, E-ENGINE.
    """
    if name == "ray":
        from pytest_distill.engine.cluster import Ray

        return Ray(workers, address)
    if address is not None:
        raise DistillError(
            Code.USAGE, f"{address} is the address of a Ray cluster, and the engine is {name}", "Add the engine ray."
        )
    return local()
