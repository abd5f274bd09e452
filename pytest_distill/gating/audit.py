"""Looking for interference: hooks, fixtures and code that would let a gate say yes without having judged.

Workspace code shares the interpreter, so this makes tampering evident, not impossible; docs/ci.md shows the set-up that
resists it, and docs/threat-model.md what is not seen. A finding taints the whole run: nothing is sealed.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pluggy
import pytest
from _pytest.runner import call_and_report

from pytest_distill.measuring import integrity
from pytest_distill.measuring.integrity import foreign_file

# Whoever implements one of these decides what runs and what its outcome is.
VERDICT_HOOKS = (
    "pytest_cmdline_main",
    "pytest_fixture_setup",
    "pytest_pyfunc_call",
    "pytest_runtest_call",
    "pytest_runtest_logreport",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_runtestloop",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_unconfigure",
)


def foreign_hooks(config: pytest.Config) -> list[str]:
    """Verdict hooks implemented by a conftest or another file of the workspace."""
    implementations = [(name, i) for name in VERDICT_HOOKS for i in getattr(config.hook, name).get_hookimpls()]
    found = [(name, foreign_file(implementation.function)) for name, implementation in implementations]
    return [f"{shown(config, file)} implements {name}, which decides outcomes" for name, file in found if file]


def replaced_code(config: pytest.Config) -> list[str]:
    """Functions and methods of the judge, of pytest and of polars whose code lies in another file than an installed one."""
    return [f"{place} was replaced by code of {shown(config, file)}" for place, file in integrity.replaced()]


def shown(config: pytest.Config, file: str) -> str:
    """A path relative to pytest's root where it can be: absolute paths never enter a record that is hashed."""
    try:
        return Path(file).relative_to(config.rootpath.resolve()).as_posix()
    except ValueError:
        return Path(file).name


def interpreter(config: pytest.Config) -> list[str]:
    """Ways of starting Python or pytest under which asserts or verdicts do not mean what they say."""
    found = []
    if sys.flags.optimize:
        found.append("Python runs with -O, which removes assert statements from gates")
    if config.getoption("assertmode", "rewrite") != "rewrite":
        found.append("pytest runs with --assert=plain")
    for option, name in (("setupplan", "--setup-plan"), ("setuponly", "--setup-only")):
        if config.getoption(option, False):
            found.append(f"pytest runs with {name}, which calls no test")
    return found


class Canary(pytest.Item):
    """A test that must fail. If it comes back as anything else, outcomes are being rewritten."""

    def runtest(self) -> None:
        raise AssertionError("this canary has to fail")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None) -> str:  # noqa: ARG002
        return "as it should"  # nobody reads it, and pytest would parse source files for a traceback

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, "distill canary"


def canary(session: pytest.Session) -> list[str]:
    """Sends the canary through pytest's real protocol, quietly."""
    item = Canary.from_parent(session, name="distill-canary")
    try:
        with warnings.catch_warnings():  # what such a plugin raises, pluggy also warns of
            warnings.simplefilter("ignore", pluggy.PluggyTeardownRaisedWarning)
            report = call_and_report(item, "call", log=False)
    except Exception:  # a plugin that cannot handle an item it did not prepare (rerunfailures) has turned nothing green
        return []
    if report.outcome != "failed" or hasattr(report, "wasxfail"):
        return [f"a test that must fail came back as {report.outcome}: something rewrites outcomes"]
    return []
