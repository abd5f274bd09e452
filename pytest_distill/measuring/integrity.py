"""Whether the code of this process is the installed code: libraries from elsewhere, functions that were replaced, watchers.

Workspace code shares an interpreter with what judges it, so this makes tampering evident, not impossible. The run's own process
looks at itself, and so does every worker that measures.
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

import pytest_distill
from pytest_distill.measuring.measure import ATTRIBUTE, Measure
from pytest_distill.suite.declared import suite_folder


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


# What measures, judges and writes. Code from elsewhere under one of its names was put there.
GUARDED = ("pytest_distill", "polars", "pluggy", "_pytest")
LIBRARIES = (*GUARDED, "numba", "numpy", "pyarrow", "pydantic")
# Of Ray, what tasks are sent with and results come back by; it is looked at where it carries anything.
CARRIER = "ray"
CARRIERS = (CARRIER, "ray._private.worker", "ray.remote_function")


def findings() -> list[str]:
    """What is wrong with this process, in words."""
    return [*interference(), *(f"{place} was replaced by code of {Path(file).name}" for place, file in replaced())]


def replaced() -> Iterator[tuple[str, str]]:
    """Functions and methods of what measures and judges whose code lies in another file than an installed one: place, file."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in GUARDED or (name in CARRIERS and carried()):
            yield from _strangers(name, module)


def carried() -> bool:
    """True where a cluster may measure."""
    return "pytest_distill.engine.cluster" in sys.modules


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
    names = (*LIBRARIES, *([CARRIER] if carried() else []), *sys.stdlib_module_names)
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in names}
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
