"""What has to be the same in every process that works on one result: the interpreter, every installed version, our own code."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pytest_distill.errors import Code, DistillError
from pytest_distill.suite import digest


class Installation(NamedTuple):
    """`code` digests all modules of ours and the data beside them, pipelines too; `versions` are `name==version`."""

    code: str
    versions: tuple[str, ...]


@cache
def here() -> Installation:
    """This process's own."""
    return Installation(digest.tree_digest(code()), digest.installed())


def code() -> list[tuple[str, Path]]:
    """All of our own files that decide what a worker gives, by name."""
    files = digest.package_code()
    spec = find_spec("pytest_distill.pipelines")  # found, not imported: whoever measures knows no pipeline
    for folder in map(Path, spec.submodule_search_locations or () if spec else ()):
        files += [(f"pipelines/{path.relative_to(folder).as_posix()}", path) for path in folder.rglob("*.py")]
    return files


def check(theirs: Installation, where: str) -> None:
    """Raises E-ENGINE, naming what differs, unless this process is installed as the one that sent `theirs`."""
    ours = here()
    if ours.versions != theirs.versions:
        differing = sorted(set(ours.versions) ^ set(theirs.versions))
        what = f"{', '.join(differing[:6])}{' …' if len(differing) > 6 else ''} on one side only"
    elif ours.code != theirs.code:
        what = "other code of pytest-distill"
    else:
        return
    raise DistillError(
        Code.ENGINE, f"{where} is not installed as this process is: {what}", "Install the same versions on every machine."
    )
