"""What runs in a worker of a cluster. Nothing of it imports Ray, and nothing of a workspace is imported for it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from pytest_distill.engine.engine import Job
from pytest_distill.engine.installation import Installation, check

_made: dict[str, Callable[[Any], Any]] = {}  # the function of the job at hand; a worker has one at a time


def work(number: str, fetch: Callable[[], tuple[Installation, Job[Any, Any]]], task: Any) -> Any:
    """Runs one task of job `number`; `fetch` gives the job where this process has not made its function yet.

    Raises E-ENGINE where another installation is at work, and what the job's function raises.
    """
    if number not in _made:
        installation, job = fetch()
        check(installation, f"the worker on {platform.node()}")
        _made.clear()
        _made[number] = job.make(*job.arguments)
    return _made[number](task)
