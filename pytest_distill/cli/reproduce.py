"""`distill reproduce ID`: makes a generated batch again, from what it recorded of itself, in a scratch folder, and compares.

Exit 0 when every byte is the same. Otherwise E-REPRODUCE says why it cannot be made again, or which rows came out differently.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_distill.batch.batch import Batch
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.contracts.manifest import Manifest

PIPELINES = "pytest_distill.pipelines"
SHOWN = 20


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser("reproduce", parents=[common], help="make a batch again and compare", description=__doc__)
    parser.add_argument("batch", metavar="ID")
    parser.add_argument("--model", metavar="NAME", help="where the model is now, when not under its recorded name")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pytest_distill import storage
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, say
    from pytest_distill.errors import Code, DistillError

    workspace = open_workspace(args)
    batch = open_batch(workspace.batch_folder(args.batch))
    again = _pipeline(batch.manifest)
    with storage.scratch_folder() as scratch:
        made = again.again(workspace, batch, scratch, args)
        differing = [] if made.sha256 == batch.sha256 else differences(batch, made)
        same = made.sha256 == batch.sha256
    if args.json:
        print_json({"batch": batch.id, "sha256": batch.sha256, "made_again": made.sha256, "same": same, "differ": differing})
    if same:
        say(args, f"{batch.id} was made again: {batch.rows:,} rows, every byte the same ({batch.sha256[:12]}…)")
        return 0
    raise DistillError(
        Code.REPRODUCE,
        f"{batch.id} came out differently: {'; '.join(differing[:SHOWN])}{'; …' if len(differing) > SHOWN else ''}",
        "A model, a library, a source file or a batch size is another one than then.",
    )


def _pipeline(manifest: Manifest) -> Any:
    """The module that can make such a batch again. Raises E-REPRODUCE where nothing was made here, or none can."""
    from pytest_distill.errors import Code, DistillError

    if manifest.origin == "ingested":
        raise DistillError(
            Code.REPRODUCE, f"{manifest.id} was ingested, so nothing made its rows here", "Its sources are in its manifest."
        )
    name = "own" if ":" in manifest.how.pipeline else manifest.how.pipeline
    module = f"{PIPELINES}.{name}.reproduce"
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise DistillError(
            Code.REPRODUCE, f"{manifest.id} is of {manifest.how.pipeline}, which cannot make a batch again by itself",
            "Run its recorded command again: created.json in the batch's folder has it.",
        )  # fmt: skip
    return importlib.import_module(module)


def differences(batch: Batch, made: Batch) -> list[str]:
    """In words: fields of the manifest, then rows by number and the columns that differ."""
    found: list[str] = []
    before, after = (one.manifest.model_dump(mode="json") for one in (batch, made))
    files = {"shards", "candidates", "attachments", "sources"}
    found += [f"{name} of the manifest" for name in before if before[name] != after[name] and name not in files]
    if batch.rows != made.rows:
        found.append(f"{made.rows:,} rows instead of {batch.rows:,}")
    columns = [name for name in batch.column_names if name in made.column_names]
    old, new = batch.frame(columns), made.frame(columns)
    for number, (one, other) in enumerate(zip(old.iter_rows(), new.iter_rows(), strict=False), start=1):
        if one != other:
            where = [name for name, a, b in zip(columns, one, other, strict=True) if a != b]
            found.append(f"row {number} in {', '.join(where)}")
    if not found:
        changed = sorted({(f.path, f.sha256) for f in batch.manifest.files} ^ {(f.path, f.sha256) for f in made.manifest.files})
        found = [f"the rows are the same, and {', '.join(sorted({path for path, _ in changed}))} differ"]
    return found
