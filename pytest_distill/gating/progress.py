"""Live progress of the scan on stderr: rows, rows a second, time left. Silent when stderr is no terminal, or under -q."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_distill.stages.progress import progress, watched

if TYPE_CHECKING:
    from pytest_distill.measuring.scan import Progress

# What a machine's first run does before the first row is measured; the compiled kernels are kept.
STARTING = "loading; a first run compiles"


@contextlib.contextmanager
def scan_progress(config: pytest.Config, rows: int) -> Iterator[Progress | None]:
    """Yields the callback for the scan, or None when nobody watches. `rows` is the size of the batch."""
    if config.getoption("verbose", 0) < 0 or not watched():
        yield None
        return
    with progress("scan", "rows", shown=True) as report:
        report(0, rows, STARTING)
        yield lambda done, total: report(round(rows * done / total), rows, "")
