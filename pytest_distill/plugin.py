"""pytest11 entry point: options, and starting the gatekeeper. Imports nothing heavy and does nothing without --distill-batch."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import pytest

import pytest_distill.engine  # noqa: F401 - notes the environment, before a conftest changes it
from pytest_distill.gating.modes import PASSED, looks_only

MARKER = "gate(id, *, rejects, severity, applies, limits, rows, fixed): a quality gate, judged with --distill-batch"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("distill", "dataset gates (pytest-distill)")
    group.addoption(
        "--distill-batch", metavar="ID|FILE", help="judge this batch, or this data file, and say whether it may leave"
    )
    group.addoption(
        "--distill-workspace", metavar="DIR", help="the workspace (default: the nearest folder upwards with a distill.toml)"
    )
    group.addoption(
        "--distill-kind", choices=["sft", "preference", "rag", "text"], help="kind of a FILE (default: told by its columns)"
    )
    group.addoption("--distill-export", metavar="DIR", help="export to DIR when the verdict is PASSED")
    group.addoption("--distill-format", choices=["jsonl", "parquet", "hf"], default="jsonl", help="format of --distill-export")
    group.addoption(
        "--distill-report",
        metavar="FILE",
        help="write the page about the run to FILE (default: beside the evidence, for small batches)",
    )
    group.addoption("--distill-workers", type=int, metavar="N", help="threads of the scan, or tasks of Ray (default: all cores)")
    group.addoption(
        "--distill-engine",
        choices=["local", "ray"],
        default="local",
        help="what measures the shards: threads (local) or Ray",
    )
    group.addoption("--distill-ray-address", metavar="HOST:PORT", help="a Ray cluster that runs already (default: a new one)")
    group.addoption("--distill-now", metavar="ISO8601", help="pin the clock, such as 2026-01-31T12:00:00Z")
    group.addoption("--distill-no-cache", action="store_true", help="compute every measure again")
    # From `distill check`, whose 0 is a verdict: an addopts with --collect-only must not make it one.
    group.addoption("--distill-judge", action="store_true", help=argparse.SUPPRESS)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before any conftest is read: a batch folder is data, and pytest must not run code from it."""
    options = early_config.known_args_namespace
    if not options.distill_batch:
        return
    given = [str(argument).split("::")[0] for argument in options.file_or_dir]
    places = [early_config.invocation_params.dir, early_config.rootpath, *(early_config.invocation_params.dir / g for g in given)]
    for place in places:
        for folder in (place, *place.parents):
            if (folder / "manifest.json").is_file() and (folder / "SHA256SUMS").is_file():
                refuse(f"{folder} is a batch, and code inside a batch never runs. Start pytest from the workspace.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if config.option.distill_batch:
        if config.option.distill_now:
            pin_clock(config.option.distill_now)
        from pytest_distill.gating.session import start

        start(config)
    elif option := "export" if config.option.distill_export else "report" if config.option.distill_report else "":
        refuse(f"--distill-{option} needs --distill-batch. Name the batch to judge.")


def pin_clock(text: str) -> None:
    from pytest_distill import clock
    from pytest_distill.errors import DistillError

    try:
        clock.pin(text)
    except DistillError as error:
        refuse(f"{error.message}. {error.hint}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int | None, int | None]:
    """Whatever hooks of the workspace make of the exit code: where a batch was to be judged, 0 means that it passed."""
    code = yield
    if code or not config.option.distill_batch or PASSED in config.stash or hasattr(config, "workerinput"):
        return code
    if looks_only(config):
        if not config.option.distill_judge:
            return code
        say("E-GATE-NOT-RUN", "pytest was told to show something, so no gate ran. Leave out --collect-only and its like.")
    return int(pytest.ExitCode.TESTS_FAILED)


def refuse(text: str) -> NoReturn:
    """Our one line on stderr, and pytest's usage error without its own text."""
    say("E-USAGE", text)
    raise pytest.UsageError()


def say(code: str, text: str) -> None:
    print(f"ERROR [{code}]: {text}", file=sys.stderr)  # noqa: T201 - pytest would put a second "ERROR:" before it


class LeftAlone(pytest.Module):
    """A file of gates where there is no batch to judge: not imported, and empty."""

    def collect(self) -> list[pytest.Item]:
        return []


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Without a batch, a workspace's gates have nothing to judge: they are left alone, and the header says so."""
    if parent.config.option.distill_batch:
        return None
    for folder in module_path.parents:
        if folder.name == "gates" and is_workspace(folder.parent):
            parent.config.stash[LEFT_ALONE] = folder
            return LeftAlone.from_parent(parent, path=module_path)
    return None


@functools.cache
def is_workspace(folder: Path) -> bool:
    """True where a policy lies. `policy.workspace.policy_source` says the same, and costs an import of pydantic."""
    project = folder / "pyproject.toml"
    return (folder / "distill.toml").is_file() or (project.is_file() and b"[tool.distill" in project.read_bytes())


LEFT_ALONE = pytest.StashKey[Path]()


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    if LEFT_ALONE in config.stash:
        return ["distill: gates/ left alone; judge a batch with --distill-batch=ID"]
    return []
