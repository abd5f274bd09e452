"""Derived batches: how judgements are stored. Rows are never edited; a new batch holds them again, with columns more.

The new batch has the parent's kind, rows, order, positions and sources. Rows that could not be judged go to its quarantine, each
with a registered reason, and nothing is lost: rows of the parent = rows kept + rows quarantined. One shard is in memory at
a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_distill import ledger
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.grading import SCORING
from pytest_distill.contracts.manifest import (
    LINE_COLUMN,
    OFFSET_COLUMN,
    POSITION_COLUMNS,
    SOURCE_COLUMN,
    CostClass,
    Declaration,
    How,
    ModelUse,
    Source,
)
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.allowance import used_class
from pytest_distill.policy.workspace import Workspace

EVENT = "derived"
# What a batch is answerable for stays with its rows, unless the caller says something else.
_INHERITED = ("cost_class", "justification", "authorization", "mapping", "seed", "spec_version", "spec_sha256")
_CARRIED = (SCORING,)


class Rejection(NamedTuple):
    """Why a row of the parent does not enter the derived batch."""

    reason: Reason
    message: str


def derived(
    workspace: Workspace,
    parent: Batch,
    new_id: str,
    *,
    columns: Mapping[str, Sequence[object]],
    rejected: Mapping[int, Rejection] | None = None,
    how: How,
    what: str,
    why: str,
    command: Sequence[str] = (),
    attachments: Mapping[str, bytes] | None = None,
    **facts: Any,
) -> Batch:
    """Writes and opens the batch `new_id`: the rows of `parent` with `columns`, one value for each row of the parent.

    A value is what JSON has: objects and lists make `json` columns, None a null. `rejected` names rows by their position in the
    parent; what the columns hold for them is not looked at. `attachments` are files of the stage's own, `facts` fields of the
    manifest. The bytes depend on the arguments alone. Raises E-BATCH-EXISTS, and E-COLUMN for a column that the parent has
    already, that has another length than the parent, or that holds what JSON has no value for; then nothing was written.
    """
    rejected = rejected or {}
    _check(parent, columns, rejected)
    sources: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    inherited = {name: getattr(parent.manifest, name) for name in _INHERITED}
    identity: dict[str, Any] = {
        "id": new_id,
        "kind": parent.kind,
        "origin": "derived",
        "what": what,
        "why": why,
        "how": how,
        "parents": (parent.sha256,),
        "bulk_kind": "labelling",
    }
    with BatchWriter(
        workspace.batch_folder(new_id), planned=parent.rows, command=command, **{**inherited, **facts, **identity}
    ) as writer:
        start = 0
        for shard in parent.manifest.shards:
            table = _read(parent.shard_path(shard), (*parent.column_names, *POSITION_COLUMNS))
            out = [place for place in range(table.num_rows) if start + place in rejected]
            sources.update(table.column(SOURCE_COLUMN).to_pylist())
            for place in out:
                lost[_reject(writer, parent, table.slice(place, 1), how.pipeline, rejected[start + place])] += 1
            kept = sorted(set(range(table.num_rows)) - set(out))
            if kept:
                made = [{name: values[start + place] for name, values in columns.items()} for place in kept]
                writer.add_shard(table.take(kept) if out else table, parent.manifest.columns, made)
            start += table.num_rows
        writer.carry_sources(
            [
                Source(
                    name=source.name,
                    sha256=source.sha256,
                    bytes=source.bytes,
                    rows_read=sources[number],
                    rows_kept=sources[number] - lost[number],
                    rows_quarantined=lost[number],
                )
                for number, source in enumerate(parent.manifest.sources)
            ]
        )
        for name, data in {**_carried(parent), **(attachments or {})}.items():
            writer.attach(name, data)
        batch = writer.finish()
    ledger.append(
        workspace.ledger,
        EVENT,
        batch=batch.id,
        what=what,
        why=why,
        where=batch.folder.relative_to(workspace.root).as_posix(),
        how=how.pipeline,
        sha256=batch.sha256,
        parents=batch.manifest.parents,
        kept=batch.rows,
        quarantined=len(rejected),
    )
    return batch


def declared(workspace: Workspace, said: Declaration | None, uses: Sequence[ModelUse]) -> dict[str, Any]:
    """What the manifest says of cost: what was declared for judging, or else what was for the rows."""
    if said is None or said.cost_class == "low":
        return {}
    return {
        "cost_class": CostClass(declared=said.cost_class, used=used_class(workspace.policy, uses)),
        "justification": said.justification,
        "authorization": said.authorization,
    }


def _carried(parent: Batch) -> dict[str, bytes]:
    """What says who made the parent's judgements: its columns come over, so this does too."""
    found = ((name, parent.attachment(name)) for name in _CARRIED)
    return {name: data for name, data in found if data is not None}


def _check(parent: Batch, columns: Mapping[str, Sequence[object]], rejected: Mapping[int, Rejection]) -> None:
    for name, values in columns.items():
        if name in parent.column_names:
            raise DistillError(
                Code.COLUMN,
                f"{parent.id} has a column {name!r} already",
                "Rows are never edited; derive from the batch without it.",
            )
        if len(values) != parent.rows:
            raise DistillError(
                Code.COLUMN,
                f"{len(values):,} values of {name!r} for the {parent.rows:,} rows of {parent.id}",
                "One for each row.",
            )
    beyond = [place for place in rejected if not 0 <= place < parent.rows]
    if beyond:
        raise DistillError(Code.USAGE, f"{parent.id} has no row {beyond[0]}, which was rejected", f"It has {parent.rows:,} rows.")


def _read(path: Path, names: Sequence[str]) -> pa.Table:
    """One shard as it is typed on disk. Raises E-BATCH-CORRUPT."""
    try:
        with pq.ParquetFile(path, memory_map=False, page_checksum_verification=True) as file:
            return file.read(columns=list(names), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DistillError(Code.BATCH_CORRUPT, f"{path} does not read as Parquet: {error}", "Make the batch again.") from error


def _reject(writer: BatchWriter, parent: Batch, row: pa.Table, by: str, rejection: Rejection) -> int:
    """Quarantines one row, whole, as the line of JSON it is. Returns the number of the source it came from."""
    import polars as pl

    number: int = row.column(SOURCE_COLUMN)[0].as_py()
    frame = pl.from_arrow(row.select(list(parent.column_names)))
    assert isinstance(frame, pl.DataFrame)
    frame.columns = list(parent.column_names)
    writer.reject(
        by=by,
        reason=rejection.reason.value,
        line=row.column(LINE_COLUMN)[0].as_py(),
        offset=row.column(OFFSET_COLUMN)[0].as_py(),
        message=rejection.message,
        original=next(iter(json_lines(frame, parent.manifest.columns))),
        row_id=str(row.column("id")[0].as_py()) if "id" in parent.column_names else None,
        source=parent.manifest.sources[number].name,
    )
    return number
