"""`distill run PIPELINE …`: a pipeline to a batch. Pipelines are found by name: this package imports none of them.

A pipeline is a package in `pipelines/` with a module `command`: its docstring is the help, `add_arguments(parser)` declares its
options, `run(arguments) -> int` does the work. The module imports nothing heavy before that. A name with a colon,
`module:function`, is a pipeline of the user's own; `pipelines.own` runs it.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

PIPELINES = "pytest_distill.pipelines"
OWN = "own"


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "run",
        parents=[common],
        help="a pipeline to a batch",
        description=f"Runs a pipeline: {', '.join(pipelines())}, or a function of your own, named as module:function. "
        "`distill run PIPELINE --help` shows what it takes.",
    )
    parser.add_argument("pipeline", metavar="PIPELINE", help="its name, or module:function")
    parser.add_argument("rest", metavar="...", nargs=argparse.REMAINDER, action=Options, help="what the pipeline takes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return int(command(args.pipeline).run(args) or 0)


def pipelines() -> list[str]:
    """The names of the pipelines that are there."""
    folders = importlib.import_module(PIPELINES).__path__
    found = (file.parent.name for folder in folders for file in Path(folder).glob("*/command.py"))
    return sorted(name for name in found if name != OWN)


def command(name: str) -> Any:
    """The command module of a pipeline. Raises E-USAGE where there is none."""
    module = f"{PIPELINES}.{OWN if ':' in name else name}.command"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the pipeline is there, and something that it needs is not
        raise DistillError(
            Code.USAGE, f"there is no pipeline {name!r}", f"There are: {', '.join(pipelines())}, and your own as module:function."
        ) from error


class Options(argparse.Action):
    """Reads what stands behind the pipeline's name with the pipeline's own parser, into the same namespace."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002 - the shape of an action
    ) -> None:
        self.parser(f"{parser.prog} {namespace.pipeline}", namespace.pipeline).parse_args(values, namespace)

    @staticmethod
    def parser(prog: str, name: str) -> argparse.ArgumentParser:
        """The parser of one pipeline, with the options that all commands share. Raises E-USAGE where there is none."""
        from pytest_distill.cli.main import common_options

        module = command(name)
        found = argparse.ArgumentParser(prog=prog, description=module.__doc__, parents=[common_options()])
        module.add_arguments(found)
        if found.get_default("engine") is None:
            found.add_argument("--engine", choices=("local",), default="local", help="this pipeline has no other")
        return found
