"""The `distill` command: its options, its commands, and the one door through which refusals leave.

A command is a line in `commands.py` and a module of this package with `add_parser(subparsers, common)`. It sets `run=` to a
function that takes the parsed arguments and returns the exit status (None is 0). Modules import what they need inside that
function: help is quick. What `common` gives: workspace (Path or None), quiet, verbose, progress (bool).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pytest_distill import __version__
from pytest_distill.cli.commands import COMMANDS, module_of
from pytest_distill.errors import DistillError, refused_by_system

INTERRUPTED = 130
TERMINATED = 143
BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, 1 (refused, with one line on stderr), 2 (usage), 130/143 (signals), or the command's own."""
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal's encoding cannot say is shown as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        args = build_parser(words).parse_args(words)
        args.argv = tuple(words)  # what a batch records as the command that made it
        if args.now is not None:
            from pytest_distill import clock

            clock.pin(args.now)
        status = int(args.run(args) or 0)
        sys.stdout.flush()
    except DistillError as error:
        sys.stderr.write(f"{error.line()}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does. Closed, so that the interpreter's last flush does not try once more.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.close()
        return BROKEN_PIPE
    except OSError as error:
        sys.stderr.write(f"{refused_by_system(error).line()}\n")
        return 1
    return status


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line. For `words`, of what they need: the one command they name, or the list of all."""
    parser = argparse.ArgumentParser(
        prog="distill",
        description="Quality gates for LLM datasets: one leaves only if every required gate ran on these bytes and said yes.",
        parents=[common_options()],
    )
    parser.add_argument("--version", action="version", version=f"pytest-distill {__version__}")
    parser.set_defaults(workspace=None, quiet=False, verbose=False, progress=True, now=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    if words is not None and COMMANDS.keys().isdisjoint(words):  # none can run: help, a version, or a refusal that lists them
        for name, about in COMMANDS.items():
            subparsers.add_parser(name, help=about, add_help=False)
        return parser
    common, named = common_options(), command_of(words or ())
    for module in dict.fromkeys(map(module_of, COMMANDS if named is None else (named,))):
        importlib.import_module(f"pytest_distill.cli.{module}").add_parser(subparsers, common)
    return parser


VALUED = ("--workspace", "--now")  # options of all commands that take a value


def command_of(words: Sequence[str]) -> str | None:
    """The command that is asked for: its module alone is imported, for a quick answer."""
    rest = iter(words)
    for word in rest:
        if word.startswith("--") and any(option.startswith(word) for option in VALUED):
            next(rest, None)
        elif not word.startswith("-"):
            return word if word in COMMANDS else None
    return None


def common_options() -> argparse.ArgumentParser:
    """The options that every command takes, as a parent of its parser."""
    # Options may stand before or behind the command; behind it, absence must not undo what stood before.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("everywhere")
    group.add_argument("--workspace", metavar="DIR", type=Path, help="default: the nearest folder upwards with a distill.toml")
    group.add_argument("-q", "--quiet", action="store_true", help="say only what was asked for")
    group.add_argument("-v", "--verbose", action="store_true", help="say more")
    group.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")
    group.add_argument("--now", metavar="ISO8601", help="pin the clock, such as 2026-01-31T12:00:00Z")
    return common


def _terminate(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the shape of a signal handler
    """Unwinds, so that half-written folders are removed on the way out."""
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
