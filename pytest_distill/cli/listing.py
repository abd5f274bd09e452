"""`distill list`: the batches of the workspace and what their newest verdict says."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_distill.cli.common import Subparsers
    from pytest_distill.policy.workspace import Workspace


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("list", parents=[common], help="the batches of the workspace", description=__doc__)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.cli.common import open_workspace, print_json, print_table, say

    workspace = open_workspace(args, ad_hoc=True)
    folders = sorted(workspace.batches.iterdir()) if workspace.batches.is_dir() else []
    # Names that start with a dot are batches still being written.
    found = [_facts(workspace, folder) for folder in folders if folder.is_dir() and not folder.name.startswith(".")]
    if args.json:
        print_json(found)
        return
    if not found:
        say(args, f"no batch in {workspace.batches}; `distill ingest` makes one")
        return
    print_table(("batch", "kind", "rows", "verdict", "remaining", "what"), [tuple(facts.values()) for facts in found])


def _facts(workspace: Workspace, folder: Path) -> dict[str, Any]:
    """From manifest and newest record alone: hashing every batch is what `show` and `export` do."""
    from pytest_distill.batch.batch import MANIFEST
    from pytest_distill.contracts.manifest import Manifest
    from pytest_distill.errors import DistillError
    from pytest_distill.release.runs import newest_record

    facts: dict[str, Any] = {"batch": folder.name, "kind": None, "rows": None, "verdict": None, "remaining": None, "what": None}
    try:
        manifest = Manifest.load(folder / MANIFEST)
        facts |= {"kind": manifest.kind, "rows": manifest.counts.kept, "what": manifest.what}
        record = newest_record(workspace, folder.name)
    except DistillError as error:
        return facts | {"what": str(error)}
    if record is not None:
        facts |= {"verdict": record.verdict, "remaining": record.rows.remaining}
    elif workspace.run_folders(folder.name):
        facts["verdict"] = "INCOMPLETE"
    return facts
