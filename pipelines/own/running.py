"""Runs a user's function over a batch, and writes what it gives as a new batch, whole or not at all."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from pytest_distill import ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.batch.write import BatchWriter
from pytest_distill.cli import common as shared
from pytest_distill.cli import spending
from pytest_distill.contracts.manifest import CostClass, How
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models import metering
from pytest_distill.pipelines.models.metering import Session
from pytest_distill.policy import bulk
from pytest_distill.policy.allowance import Task, used_class
from pytest_distill.release import escalation, incidents
from pytest_distill.stages.receipts import with_receipt

Function = Callable[..., Iterable[dict[str, Any]]]
GO_ON = "A function's rows are kept all together or not at all: run it again under a new limit."


def run_own(given: argparse.Namespace, command: Sequence[str]) -> int:
    workspace = shared.open_workspace(given)
    parent = open_batch(workspace.batch_folder(given.batch)) if given.batch else None
    function = load(given.pipeline, workspace.root)
    keywords = {**_values(given.set), **{k: getattr(given, k) for k in ("count", "seed") if getattr(given, k) is not None}}
    source = _rows(parent)
    try:
        inspect.signature(function).bind(source, **keywords)
    except TypeError as error:
        raise DistillError(Code.USAGE, f"{given.pipeline}: {error}", "Its first parameter takes the rows.") from error
    said = spending.declaration(given)
    task = Task(given.count or 0, repeats=parent is not None, generates=True, said=said)
    limits = metering.budget(
        workspace, minutes=given.max_minutes, tokens=given.max_tokens, cost=given.max_cost, calls=given.max_calls
    )
    parameters: dict[str, str | int | float | bool | None] = {
        name: value if isinstance(value, (str, int, float, bool, type(None))) else json.dumps(value, sort_keys=True)
        for name, value in keywords.items()
    }
    parameters["source_sha256"] = source_sha256(function)
    spec_sha256 = _spec_sha256(given.spec, function)
    if parent is None and bulk.is_bulk(task.items, workspace.policy) and not (given.why or "").strip():
        raise DistillError(Code.USAGE, "bulk says why it exists: its audit trail has to", "Say it: --why TEXT.")
    with incidents.noted(workspace, given.id):
        if parent is None:
            bulk.refuse_single_tier(workspace, task.items)
        if not task.items or bulk.is_bulk(task.items, workspace.policy, repeats=task.repeats):
            escalation.refuse_bulk(workspace, given.pipeline, spec_sha256, said)
    with (
        incidents.noted(workspace, given.id),
        with_receipt(workspace, "own", given.id, parameters={"function": given.pipeline, **parameters}) as stage,
        metering.session(workspace, task, limits, batch=given.id, go_on=GO_ON) as running,
        BatchWriter(
            workspace.batch_folder(given.id),
            planned=given.count,
            command=command,
            id=given.id,
            kind=given.kind or (parent.kind if parent else "sft"),
            origin="derived" if parent else "generated",
            bulk_kind=given.bulk_kind,
            what=given.what or f"What {given.pipeline} made" + (f" of {parent.id}" if parent else ""),
            why=given.why or "",
            spec_version=given.spec_version or (spec_sha256 and spec_sha256[:12]),
            spec_sha256=spec_sha256,
            seed=given.seed,
            justification=said.justification,
            authorization=said.authorization,
            parents=(parent.sha256,) if parent else (),
        ) as writer,
    ):
        if parent is not None:
            stage.reads(parent.folder)
        made = function(source, **keywords)
        _write(writer, made if parent is not None else _counted(running, made), given.pipeline)
        models = running.uses()
        batch = writer.finish(
            how=How(pipeline=given.pipeline, models=models, parameters=parameters),
            cost_class=CostClass(declared=said.cost_class, used=used_class(workspace.policy, models)),
        )
        stage.made(batch)
    escalation.returned(workspace, batch.manifest)
    ledger.append(
        workspace.ledger,
        "derived" if parent else "generated",
        batch=batch.id,
        what=batch.manifest.what,
        why=batch.manifest.why,
        where=batch.folder.relative_to(workspace.root).as_posix(),
        how=given.pipeline,
        sha256=batch.sha256,
    )
    shared.say(given, f"{batch.id}: {batch.rows:,} rows of {given.pipeline}")
    shared.say(given, f"  batch: {batch.folder}")
    shared.say(given, f"  judge it: pytest --distill-batch={batch.id}")
    return 0


def load(name: str, root: Path) -> Function:
    """The function that `module:function` names. Raises E-USAGE when there is none."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(root))  # and there it stays: the function may import more while it runs
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it needs is not
        raise DistillError(
            Code.USAGE, f"there is no module {module!r}", f"It is looked for in {root} and among packages."
        ) from error
    finally:
        sys.path.remove(str(root))
    if not callable(found):
        raise DistillError(Code.USAGE, f"{module} has no function {attribute!r}", "Name it as module:function.")
    function: Function = found
    return function


def _rows(parent: Batch | None) -> Iterator[dict[str, Any]]:
    if parent is not None:
        for shard in parent.manifest.shards:
            frame = parent.read_shard(shard, parent.column_names)
            yield from map(orjson.loads, json_lines(frame, parent.manifest.columns))


def _counted(running: Session, made: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows, and a refusal at the first that makes them bulk which may not be: how many come, a function need not say."""
    for number, row in enumerate(made, start=1):
        if number == running.workspace.policy.bulk.max_items + 1:
            running.grown(number)
        yield row


def _values(pairs: Sequence[str]) -> dict[str, Any]:
    """`["top=3", "word=cat"]` as {"top": 3, "word": "cat"}: what is JSON is read as JSON, anything else is text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise DistillError(Code.USAGE, f"--set {pair!r} is not NAME=VALUE", "Example: --set top=3.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def _write(writer: BatchWriter, made: Iterable[dict[str, Any]], name: str) -> None:
    """Every row, with its place in the lines that they would be. Raises E-FORMAT for what is no row."""
    digest, size = hashlib.sha256(), 0
    writer.begin_source(f"{name.replace(':', '.')}.jsonl")
    for line, row in enumerate(made, start=1):
        try:
            data = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" if isinstance(row, dict) else None
        except (TypeError, ValueError) as error:
            raise _no_row(name, line, str(error)) from error
        if data is None:
            raise _no_row(name, line, f"it is a {type(row).__name__}")
        writer.add(orjson.loads(data), line=line, offset=size, size=len(data))
        digest.update(data)
        size += len(data)
    writer.end_source(sha256=digest.hexdigest(), size=size)


def _no_row(name: str, line: int, why: str) -> DistillError:
    return DistillError(Code.FORMAT, f"{name}: what it gave as row {line} is no row: {why}", "Give dictionaries of JSON values.")


def _spec_sha256(spec: Path | None, function: Function) -> str | None:
    """Digest of what says how rows are made: the function's file, and the prompt or specification that it follows."""
    if spec is not None and not spec.is_file():
        raise DistillError(Code.SOURCE, f"{spec} is no file", "Name the prompt or specification: --spec FILE.")
    parts = [source_sha256(function), storage.sha256_file(spec) if spec is not None else None]
    return storage.sha256_bytes("\n".join(part or "" for part in parts).encode()) if any(parts) else None


def source_sha256(function: Function) -> str | None:
    file = inspect.getsourcefile(inspect.unwrap(function))
    return storage.sha256_file(Path(file)) if file else None
