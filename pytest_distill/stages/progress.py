"""Live progress of a run on stderr: units done, rate, time left, and the caller's own words. Silent without a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from pytest_distill.errors import one_line

# done, of how many (None where it cannot be known), and words beside the bar such as "acceptance 61%"
Report = Callable[[float, float | None, str], None]


def watched() -> bool:
    """True where somebody can see it: stderr is a terminal."""
    return sys.stderr.isatty()


@contextlib.contextmanager
def progress(what: str, unit: str, *, shown: bool) -> Iterator[Report]:
    """Yields the callback. `shown` is the command's own `--no-progress` and `-q`; a stderr that is no terminal shows nothing."""
    if not shown or not watched():
        yield lambda done, total, words: None  # noqa: ARG005
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            of = f"/{task.total:,.0f}" if task.total is not None else ""
            return Text(f"{task.completed:,.0f}{of} {unit}" + (f", {speed:,.1f} {unit}/s" if speed else ""))

    columns = (
        TextColumn(what, markup=False), BarColumn(bar_width=20), Rate(""), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, words="")
        yield lambda done, total, words: bar.update(task, completed=done, total=total, words=one_line(words))
