"""`distill init [DIR]`: a workspace with a commented policy, a gate to copy, gold rows, and a batch that passes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill.cli import common as shared
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from pytest_distill.cli.common import Subparsers

IGNORED = ("/.distill/", "/batches/", "__pycache__/")
EXAMPLE = "example"


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "init",
        parents=[common],
        help="make a workspace with a policy, a gate to copy and a batch that passes",
        description="Makes a workspace in DIR. Overwrites nothing: a folder that already holds one of the files is refused.",
    )
    parser.add_argument("folder", metavar="DIR", nargs="?", type=Path, default=Path(), help="default: the current folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    folder: Path = args.folder.resolve()
    files = contents()
    refuse_to_overwrite(folder, files)
    from pytest_distill import storage

    for name, source in files.items():
        storage.write_bytes(folder / name, source.read_bytes())
    ignore(folder / ".gitignore")
    help_editors(folder)
    ingest_example(folder)
    there = "" if folder == Path.cwd() else f"cd {args.folder} && "
    shared.say(args, f"A workspace in {folder}: read distill.toml, copy gates/test_example.py, and judge the batch it came with:")
    shared.say(args, f"  {there}pytest --distill-batch={EXAMPLE}")
    shared.say(args, "Rows of your own: distill ingest FILE --id ID. gates/test_example.py judges them too, until you remove it.")
    return 0


def contents() -> dict[str, Traversable]:
    """What a new workspace holds: path below it -> where its bytes ship with us."""
    from importlib.resources import files

    package, fixtures = files("pytest_distill"), files("pytest_distill.fixtures")
    return {
        "distill.toml": package / "policy" / "default.toml",
        "gates/test_example.py": fixtures / "workspace" / "gates" / "test_example.py",
        "gold/gold.jsonl": fixtures / "rows" / "gold.jsonl",
        f"rows/{EXAMPLE}.jsonl": fixtures / "rows" / "curated.jsonl",
    }


def refuse_to_overwrite(folder: Path, files: dict[str, Traversable]) -> None:
    """Raises E-WORKSPACE when `folder` is a workspace, or holds a file or batch that would have to be overwritten."""
    from pytest_distill.policy.workspace import policy_source

    if folder.exists() and not folder.is_dir():
        raise DistillError(Code.WORKSPACE, f"{folder} is a file", "Name a folder.")
    if folder.is_dir() and (source := policy_source(folder)) is not None:
        raise DistillError(Code.WORKSPACE, f"{folder} is a workspace already: {source.name}", "Nothing was written.")
    for name in (*files, f"batches/{EXAMPLE}"):
        if (folder / name).exists() or (folder / name).is_symlink():
            raise DistillError(Code.WORKSPACE, f"{folder / name} exists", "Nothing was written; choose another folder.")


def ignore(path: Path) -> None:
    """Adds to .gitignore what git should leave alone. What is there already stays as it is."""
    from pytest_distill import storage

    data = path.read_bytes() if path.exists() else b""
    present = data.decode("utf-8", "replace").splitlines()
    missing = [line for line in IGNORED if line not in present]
    if missing:
        ending = b"\n" if data and not data.endswith(b"\n") else b""
        storage.write_bytes(path, data + ending + "".join(f"{line}\n" for line in missing).encode())


def help_editors(folder: Path) -> None:
    """The schema that the first line of distill.toml points editors to. It can be made again, so git leaves it alone."""
    from pytest_distill import storage
    from pytest_distill.cli.gates import SCHEMA
    from pytest_distill.policy import workspace
    from pytest_distill.suite.declared import declared_gates
    from pytest_distill.suite.schema import schema

    storage.write_bytes(folder / SCHEMA, schema(declared_gates(workspace.load(folder)).values()))


def ingest_example(folder: Path) -> None:
    """The batch `example`, from the rows the workspace was given."""
    from pytest_distill.batch.ingest.ingest import ingest
    from pytest_distill.policy import workspace

    ingest(
        [folder / "rows" / f"{EXAMPLE}.jsonl"],
        workspace.load(folder),
        EXAMPLE,
        kind="sft",
        what="questions and answers that ship with pytest-distill",
        why="a first batch to judge",
        command=("distill", "init"),
    )
