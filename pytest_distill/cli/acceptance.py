"""`distill acceptance`: streams to samples, run on fifteen rows with known outcomes; 22 invariants have to hold."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill.cli import common as shared
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

INVARIANTS = "pytest_distill.pipelines.acceptance.test_invariants"


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "acceptance", parents=[common], help="does this installation keep its invariants?", description=__doc__
    )
    parser.add_argument("--keep", metavar="DIR", type=Path, help="a new folder that keeps the two workspaces of the run")
    shared.add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns 0 when all invariants ran and passed. One that did not run is a no."""
    import importlib
    import importlib.util
    import json
    import subprocess

    from pytest_distill import storage

    spec = importlib.util.find_spec(INVARIANTS)
    if spec is None or spec.origin is None:
        raise DistillError(Code.EXTRA, "the acceptance run is not part of this installation", "Install pytest-distill again.")
    if args.keep is not None and args.keep.exists():
        raise DistillError(Code.USAGE, f"{args.keep} is there already", "--keep takes a new folder.")
    expected = importlib.import_module("pytest_distill.pipelines.acceptance.run").INVARIANTS
    with storage.scratch_folder() as scratch:
        report, settings = scratch / "invariants.json", scratch / "pytest.ini"
        storage.write_scratch(settings, b"[pytest]\n")
        base = args.keep or scratch / "run"
        command = [
            sys.executable, "-P", "-m", "pytest", spec.origin, "-c", str(settings), f"--rootdir={scratch}", "-q", "--tb=short",
            "--import-mode=importlib", "-p", "no:cacheprovider", f"--basetemp={base}", f"--acceptance-report={report}",
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
        done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
        outcomes: dict[str, str] = json.loads(report.read_bytes()) if report.is_file() else {}
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    holds = done.returncode == 0 and passed == len(outcomes) == expected
    if args.json:
        shared.print_json({"invariants": expected, "passed": passed, "holds": holds, "outcomes": outcomes})
    elif args.verbose or not holds:
        sys.stderr.write(done.stdout + done.stderr)
    for name, outcome in outcomes.items():
        if outcome != "passed":
            shared.say(args, f"  {outcome}: {name}")
    shared.say(
        args, f"acceptance: {passed} of {expected} invariants hold" + ("" if holds else "; this installation is not sound")
    )
    return int(not holds)
