"""Which code a measure's values depend on, as a digest.

Too much rather than too little: a helper that a measure imports counts as the measure itself, so a measure is keyed on all
code it can reach. For a standard measure that is our package; for a workspace's measure also the workspace's Python and
every imported module that belongs to no installed distribution.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pytest_distill import storage
from pytest_distill.measuring.measure import Measure
from pytest_distill.policy.workspace import Workspace
from pytest_distill.suite import digest

STANDARD = "pytest_distill.gates.measures"


def is_standard(measure: Measure) -> bool:
    return measure.module == STANDARD or measure.module.startswith(f"{STANDARD}.")


@cache
def _installed_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(f"{Path(paths[name]).resolve()}/" for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def loose_modules() -> list[tuple[str, Path]]:
    """Imported modules whose file lies neither in the standard library nor in site-packages nor in our package."""
    ours = {path for _, path in digest.package_code()}
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        path = Path(file).resolve()
        if path not in ours and path.is_file() and not str(path).startswith(_installed_roots()):
            found.append((name, path))
    return found


def standard_digest() -> str:
    """What every standard measure depends on: our package, and all that is installed."""
    return storage.sha256_bytes(_package().encode())


def _package() -> str:
    return f"{digest.package_digest()}\n{digest.libraries_digest()}"


class Sources(NamedTuple):
    """The digest of a workspace's measures, and the files behind it: (absolute path, SHA-256)."""

    sha256: str
    files: tuple[tuple[str, str], ...]


class CodeDigests:
    """Digest per measure, for one workspace and one moment."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._standard = standard_digest()
        self._own: Sources | None = None

    def __call__(self, measure: Measure) -> str:
        return self._standard if is_standard(measure) else self.sources().sha256

    def sources(self) -> Sources:
        """Of the workspace's own measures, as they were when the first of them was planned."""
        if self._own is None:
            files = {path.resolve(): (name, path) for name, path in digest.workspace_code(self._workspace)}
            for name, path in loose_modules():
                files.setdefault(path, (name, path))
            own = storage.sha256_bytes(f"{_package()}\n{digest.tree_digest(list(files.values()))}".encode())
            self._own = Sources(own, tuple((str(path), storage.sha256_file(path)) for path in sorted(files)))
        return self._own
