"""What commands share: opening the workspace, printing one JSON document or tables, progress and messages on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pytest_distill.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from pytest_distill.engine.engine import Engine
    from pytest_distill.policy.workspace import Workspace

    # What `ArgumentParser.add_subparsers` returns; generic for type checkers only.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def open_workspace(args: argparse.Namespace, *, ad_hoc: bool = False) -> Workspace:
    """The workspace of `--workspace`, or the nearest one. Raises E-WORKSPACE, E-POLICY.

    With `ad_hoc`, a folder without a policy will do where pytest has judged a file already: its batch and its runs are there.
    """
    from pathlib import Path

    from pytest_distill.policy import workspace

    return workspace.load(args.workspace, allow_implicit=ad_hoc and (Path.cwd() / ".distill").is_dir())


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def add_engine_options(parser: argparse.ArgumentParser, *, workers: str | None = None) -> None:
    """Where the work is done; `workers` is the help of --workers, None where the command has none of that kind."""
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="where the work is done; the bytes are the same"
    )
    parser.add_argument(
        "--ray-address", metavar="HOST:PORT", help="a Ray cluster that runs already; default: one on this machine"
    )
    if workers is not None:
        parser.add_argument("--workers", type=_workers, metavar="W", help=workers)


def engine_of(args: argparse.Namespace, local: Callable[[], Engine]) -> Engine:
    """The engine of --engine, which is `local` unless it says otherwise. Raises E-USAGE, E-EXTRA-MISSING, E-ENGINE."""
    from pytest_distill.engine.chosen import chosen

    return chosen(args.engine, args.ray_address, args.workers, local)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 512:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers from 1 to 512")
    return int(text)


def print_json(value: Any) -> None:
    """One JSON document. Control characters are escaped by JSON itself, and non-ASCII too: a terminal shows nothing else."""
    import json

    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def console() -> Console:
    """Tables go to stdout; colours only to a terminal, and never when NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)


def say(args: argparse.Namespace, text: str) -> None:
    """A message for people, on stderr."""
    if not args.quiet:
        sys.stderr.write(f"{one_line(text)}\n")


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table whose cells are plain text: what came from data cannot move the cursor, and is not read as markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(
        box=SIMPLE_HEAD, title=Text(one_line(title)) if title else None, title_justify="left", title_style="bold", pad_edge=False
    )
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    # Without a terminal there is no width to fold to: whole values, so that other programs can read them.
    if not out.is_terminal:
        out.width = max(80, out.measure(table, options=out.options.update(max_width=1_000_000)).maximum)
    out.print(table)


_STYLES = {
    "passed": "green",
    "PASSED": "bold green",
    "failed": "red",
    "did_not_run": "red",
    "FAILED": "bold red",
    "INCOMPLETE": "bold red",
    "warned": "yellow",
    "waived": "yellow",
    "not_applicable": "dim",
}


def cell(value: object) -> Any:
    """A table cell; the words of a verdict have their colours."""
    from rich.text import Text

    text = "" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return Text(one_line(text.replace("_", " ") if text in _STYLES else text), style=_STYLES.get(text, ""))
