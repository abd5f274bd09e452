"""Digests that bind a verdict to the gates and plugins that made it. A seal is stale when any of them has changed since."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest_distill
from pytest_distill import storage
from pytest_distill.policy.workspace import Workspace
from pytest_distill.suite.declared import gate_files, suite_folder

# Folders of a workspace whose Python is not part of the gates: data, state, environments.
_SKIPPED = {"batches", ".distill", ".venv", "venv", "node_modules", "__pycache__", ".git", "site-packages", "exports"}
_FIELD = re.compile(r"^(Name|Version):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def tree_digest(files: list[tuple[str, Path]]) -> str:
    """SHA-256 over `name`, digest pairs: independent of where the files lie."""
    lines = [f"{storage.sha256_file(path)}  {name}\n" for name, path in sorted(files)]
    return storage.sha256_bytes("".join(lines).encode())


def gates_digest(workspace: Workspace) -> str:
    """Digest of everything that decides: our package, the standard suite, and the workspace's Python.

    A gate may import any module of its workspace, so all of them count, whether a gate imports them today or not.
    """
    return storage.sha256_bytes(f"{package_digest()}\n{tree_digest(workspace_code(workspace))}".encode())


def package_code() -> list[tuple[str, Path]]:
    """Our own sources and the data they read, by name; the same from a wheel as from a checkout."""
    root = Path(pytest_distill.__file__).resolve().parent
    suite = suite_folder()
    mapped = ("gates", "pipelines", "fixtures")
    found = [(p.relative_to(root), p) for p in root.rglob("*.py")]
    files = [(f"pytest_distill/{name.as_posix()}", p) for name, p in found if name.parts[0] not in mapped]
    for room in (suite, suite.parent / "fixtures"):
        files += [(f"{room.name}/{p.relative_to(room).as_posix()}", p) for p in room.rglob("*") if p.suffix in (".py", ".json")]
    return files


@cache
def package_digest() -> str:
    return tree_digest(package_code())


def workspace_code(workspace: Workspace) -> list[tuple[str, Path]]:
    """The workspace's own Python. Without a workspace (a file judged ad hoc) there is none."""
    if workspace.implicit:
        return []
    # Gates count wherever they lie below gates/, which may be a link, and whatever their folders are called.
    found = {path.relative_to(workspace.root).as_posix(): path for path in gate_files(workspace.gates)}
    stack = [workspace.root]
    while stack:
        for path in sorted(stack.pop().iterdir()):
            if path.is_dir() and not path.is_symlink():
                if path.name not in _SKIPPED and not (path / "pyvenv.cfg").exists():
                    stack.append(path)
            elif path.suffix == ".py":
                found[path.relative_to(workspace.root).as_posix()] = path
    return list(found.items())


@cache
def installed() -> tuple[str, ...]:
    """`name==version` of every installed distribution, and the interpreter."""
    # What Ray brings along inside itself is on the path from its import on: that is no other installation.
    paths = [path for path in sys.path if not path.endswith("ray/thirdparty_files")]
    names = {name for distribution in metadata.distributions(path=paths) if (name := _named(distribution))}
    return (f"python=={'.'.join(str(n) for n in sys.version_info[:3])}", *sorted(names))


def _named(distribution: metadata.Distribution) -> str | None:
    """From the first lines of its metadata: the parser of the standard library reads all of it, as an e-mail, twice."""
    # The last two: a folder and a file of an old kind.
    text = next((text for name in ("METADATA", "PKG-INFO", "") if (text := distribution.read_text(name))), "")
    said = dict(_FIELD.findall(text.partition("\n\n")[0]))
    return f"{said['Name'].lower()}=={said['Version']}" if said.get("Name") else None


def libraries_digest() -> str:
    return storage.sha256_bytes("\n".join(installed()).encode())


@cache
def plugins() -> tuple[str, ...]:
    """`name==version` of every installed distribution that plugs into pytest, pytest itself included."""
    found = {f"pytest=={metadata.version('pytest')}"}
    for distribution in metadata.distributions():
        if any(point.group == "pytest11" for point in distribution.entry_points):
            found.add(f"{distribution.metadata['Name'].lower()}=={distribution.version}")
    return tuple(sorted(found))


def plugins_digest() -> str:
    return storage.sha256_bytes("\n".join(plugins()).encode())
