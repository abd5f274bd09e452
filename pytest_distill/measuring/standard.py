"""The registry of the standard measures: the one way by which the package reaches the suite's columns."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.code import STANDARD
from pytest_distill.measuring.measure import ATTRIBUTE, Measure

if TYPE_CHECKING:
    import types


def standard_modules() -> list[types.ModuleType]:
    """The modules of the standard measures, imported by name: the plugin knows the suite only through this registry."""
    package = importlib.import_module(STANDARD)
    return [importlib.import_module(f"{STANDARD}.{info.name}") for info in pkgutil.iter_modules(package.__path__)]


def standard_measures(modules: Iterable[types.ModuleType]) -> dict[str, Measure]:
    """Name -> measure over the standard modules. Raises E-MEASURE-NAME for a name declared twice."""
    found: dict[str, Measure] = {}
    for module in modules:
        for value in vars(module).values():
            measure = getattr(value, ATTRIBUTE, None)
            if isinstance(measure, Measure) and measure.module == module.__name__:
                if measure.name in found:
                    raise DistillError(Code.MEASURE_NAME, f"two standard measures are called {measure.name}")
                found[measure.name] = measure
    return found
