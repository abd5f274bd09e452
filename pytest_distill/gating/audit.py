"""Looking for interference: hooks, fixtures and code that would let a gate say yes without having judged.

Workspace code shares the interpreter, so this makes tampering evident, not impossible; docs/ci.md shows the set-up that
resists it, and docs/threat-model.md what is not seen. A finding taints the whole run: nothing is sealed.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.fixtures import FixtureFunctionDefinition
from _pytest.runner import call_and_report

import pytest_distill
from pytest_distill.measuring.measure import ATTRIBUTE, Measure
from pytest_distill.suite.declared import suite_folder

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


@cache
def _trusted_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = [Path(pytest_distill.__file__).resolve().parent, suite_folder(), suite_folder().parent / "pipelines"]
    # Debian keeps site-packages elsewhere; where pytest itself lies is installed by definition.
    return tuple(f"{root}/" for root in [*installed, *ours, Path(pytest.__file__).resolve().parent.parent])


@cache
def _foreign(file: str) -> str | None:
    resolved = str(Path(file).resolve())
    return None if resolved.startswith(_trusted_roots()) else resolved


def foreign_file(function: Any) -> str | None:
    """The file of a function that belongs to no installed distribution, or None."""
    module_name = getattr(function, "__module__", None) or ""
    if module_name in ("__channelexec__", "builtins"):  # xdist's worker runs its plugin from a string
        return None
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is not None and code.co_filename.startswith("<"):  # made from a string: a dataclass's method, or an exec
        module_name, code = str(function.__globals__.get("__name__")), None
        if module_name.startswith("namedtuple_"):  # what collections.namedtuple calls the module of its __new__
            return None
    file = code.co_filename if code is not None else getattr(sys.modules.get(module_name), "__file__", None)
    return _foreign(file) if file else module_name or "an unknown place"


def foreign_hooks(config: pytest.Config) -> list[str]:
    """Verdict hooks implemented by a conftest or another file of the workspace."""
    implementations = [(name, i) for name in VERDICT_HOOKS for i in getattr(config.hook, name).get_hookimpls()]
    found = [(name, foreign_file(implementation.function)) for name, implementation in implementations]
    return [f"{shown(config, file)} implements {name}, which decides outcomes" for name, file in found if file]


# What measures, judges and writes. Code from elsewhere under one of its names was put there.
GUARDED = ("pytest_distill", "polars", "pluggy", "_pytest")
LIBRARIES = (*GUARDED, "numba", "numpy", "pyarrow", "pydantic")


def replaced_code(config: pytest.Config) -> list[str]:
    """Functions and methods of the judge, of pytest and of polars whose code lies in another file than an installed one."""
    found = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in GUARDED:
            found += [f"{place} was replaced by code of {shown(config, file)}" for place, file in _strangers(name, module)]
    return found


def _strangers(name: str, module: types.ModuleType) -> Iterator[tuple[str, str]]:
    classes = [(f"{name}.{key}", value) for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
    for place, owner in [(name, module), *((place, value) for place, value in classes if isinstance(value, type))]:
        for key, value in list(vars(owner).items()):
            function = _function(value)
            file = foreign_file(function) if function is not None else None
            if file and file != getattr(module, "__file__", None):
                yield f"{place}.{key}", file


def _function(value: Any) -> types.FunctionType | None:
    """The plain function below a method, property, fixture, measure or compiled kernel; None for what is no function."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    elif isinstance(value, functools.cached_property):
        value = value.func
    elif isinstance(value, FixtureFunctionDefinition):
        measure = getattr(value, ATTRIBUTE, None)
        value = measure.function if isinstance(measure, Measure) else value._get_wrapped_function()
    elif type(value).__module__.startswith("numba."):
        value = getattr(value, "py_func", None)
    return value if isinstance(value, types.FunctionType) else None


def interference() -> list[str]:
    """Libraries that are not the installed ones, and watchers that can change what a function computes."""
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in (*LIBRARIES, *sys.stdlib_module_names)}
    found = [
        f"the library {name} is not the installed one: it was loaded from a file {Path(file).name} elsewhere"
        for name, file in files.items()
        if file and _foreign(file)
    ]
    watchers = {"sys.settrace": sys.gettrace(), "sys.setprofile": sys.getprofile(), "threading.settrace": threading.gettrace()}
    found += [
        f"code that is not installed watches the run through {n}"
        for n, watcher in watchers.items()
        if watcher and foreign_file(watcher)
    ]
    return found


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
        report = call_and_report(item, "call", log=False)
    except Exception:  # a plugin that cannot handle an item it did not prepare (rerunfailures) has turned nothing green
        return []
    if report.outcome != "failed" or hasattr(report, "wasxfail"):
        return [f"a test that must fail came back as {report.outcome}: something rewrites outcomes"]
    return []
