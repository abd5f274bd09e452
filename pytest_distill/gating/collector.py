"""Collecting the suite and the workspace's gates, whatever folder pytest was started from and whatever paths it was given."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

PACKAGE = "pytest_distill.gates"


class SuiteModule(pytest.Module):
    """A module of the standard suite, imported by its package name.

    pytest imports by path: in an editable install it would take the suite for a top-level package `gates`, which a
    workspace may have too.
    """

    def _getobj(self) -> object:
        return importlib.import_module(f"{PACKAGE}.{self.path.stem}")


class Collector:
    """The plugin object that decides what is collected as a gate."""

    def __init__(self, suite: Path, workspace_gates: Path, batches: Path) -> None:
        self.suite = suite
        self.workspace_gates = workspace_gates
        self.batches = batches

    def arguments(self, given: list[str], *, explicit: bool) -> list[str]:
        """pytest's arguments: suite and workspace gates always, and the paths a user named outside them."""
        folders = [self.suite, *([self.workspace_gates] if self.workspace_gates.is_dir() else [])]
        outside = [a for a in given if explicit and not any(self._inside(Path(a.split("::")[0]), folder) for folder in folders)]
        return [*(str(folder) for folder in folders), *outside]

    @staticmethod
    def _inside(path: Path, folder: Path) -> bool:
        return path.resolve().is_relative_to(folder)

    def holds(self, path: Path) -> bool:
        """True for a file of the suite or of the workspace's gates."""
        return self._inside(path, self.suite) or self._inside(path, self.workspace_gates)

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return True if self._inside(collection_path, self.batches) else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if path.resolve() == self.suite:
            return pytest.Dir.from_parent(parent, path=path)
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
        if module_path.resolve().parent == self.suite:
            return SuiteModule.from_parent(parent, path=module_path)
        return None
