"""`distill check ID`: the same as pytest --distill-batch=ID, without knowing pytest."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pytest_distill.cli.common import add_engine_options

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser("check", parents=[common], help="judge a batch", description=__doc__)
    parser.add_argument("batch", metavar="ID|FILE")
    add_engine_options(parser, workers="threads, or tasks of Ray; default: all cores")
    parser.add_argument("pytest_args", nargs="*", metavar="-- PYTEST ARGUMENTS", help="passed on to pytest, such as -- -n 2")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import subprocess

    # Ours come last: among the arguments that are passed on, none names another batch.
    command = [sys.executable, "-P", "-m", "pytest", *args.pytest_args, "--distill-judge", f"--distill-batch={args.batch}"]
    if args.workspace is not None:
        command.append(f"--distill-workspace={args.workspace}")
    if args.now is not None:
        command.append(f"--distill-now={args.now}")
    command.append(f"--distill-engine={args.engine}")
    if args.ray_address is not None:
        command.append(f"--distill-ray-address={args.ray_address}")
    if args.workers is not None:
        command.append(f"--distill-workers={args.workers}")
    command += ["-q"] * args.quiet + ["-v"] * args.verbose
    child = subprocess.Popen(command)
    try:
        return child.wait()
    except KeyboardInterrupt:
        # Ctrl-C reached the run as well: it writes its record and ends.
        child.wait()
        raise
    except SystemExit:
        # Terminated: the run must not go on without us. Its record stays INCOMPLETE.
        child.terminate()
        child.wait()
        raise
