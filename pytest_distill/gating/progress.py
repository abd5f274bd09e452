"""Live progress of the scan on stderr: rows, rows a second, time left. Silent when stderr is no terminal, or under -q."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_distill.measuring.scan import Progress


@contextlib.contextmanager
def scan_progress(config: pytest.Config, rows: int) -> Iterator[Progress | None]:
    """Yields the callback for the scan, or None when nobody watches. `rows` is the size of the batch."""
    if config.option.verbose < 0 or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    shape = (
        TextColumn("scan"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*shape, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scan", total=rows)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=round(rows * done / total))

        yield progress
