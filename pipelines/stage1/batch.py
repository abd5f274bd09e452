"""From candidates to a batch on disk: rows, candidates, dataset.jsonl, summary and session, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.manifest import Attachment, CostClass, Declaration, How, ModelUse, Shard
from pytest_distill.contracts.stage1 import (
    DATASET,
    PIPELINE,
    QC_SUMMARY,
    RECORD_FIELDS,
    SESSION,
    Artifact,
    Candidate,
    SessionManifest,
    Thresholds,
)
from pytest_distill.pipelines.stage1.qc import summarise
from pytest_distill.policy.workspace import Workspace


def write_stage1_batch(
    workspace: Workspace,
    batch_id: str,
    candidates: Sequence[Candidate],
    session: SessionManifest,
    *,
    what: str,
    why: str,
    thresholds: Thresholds,
    unit: str,
    planned: int,
    seed: int,
    models: tuple[ModelUse, ...],
    parameters: dict[str, str | int | float | bool | None],
    parents: tuple[str, ...] = (),
    spec_version: str | None = None,
    spec_sha256: str | None = None,
    cost_class: CostClass | None = None,
    said: Declaration | None = None,
    attachments: Mapping[str, bytes] | None = None,
    command: Sequence[str] = (),
) -> Batch:
    """Writes and opens the batch. `candidates` are all of the run; those that are kept become its rows, in their order.

    `session.artifacts_generated` is filled in here. `parents` are digests of batches: the sealed pilot of a scale run, the
    training batches that a hold-out must not overlap. `attachments` are files of the run's own. The bytes depend on the
    arguments and the clock, which a run that has to be repeatable pins. Raises E-BATCH-EXISTS.
    """
    dataset = bytearray()
    rows: list[tuple[dict[str, Any], int]] = []
    for candidate in candidates:
        if candidate.candidate_status == "kept":
            values = candidate.model_dump(mode="json")
            record = {name: values[name] for name in RECORD_FIELDS}
            rows.append((record, len(dataset)))
            dataset += orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    summary = summarise(candidates, thresholds, unit=unit)

    def session_bytes(files: tuple[Shard | Attachment, ...]) -> bytes:
        made = tuple(
            Artifact(path=file.path, type=artifact_type(file.path), sha256=file.sha256, timestamp=clock.timestamp())
            for file in files
        )
        return session.model_copy(update={"artifacts_generated": made}).to_bytes()

    with BatchWriter(
        workspace.batch_folder(batch_id),
        planned=planned,
        command=command,
        id=batch_id,
        kind="sft",
        origin="generated",
        what=what,
        why=why,
        how=How(pipeline=PIPELINE, models=models, parameters=parameters),
        spec_version=spec_version,
        spec_sha256=spec_sha256,
        seed=seed,
        bulk_kind="synthetic",
        cost_class=cost_class or CostClass(),
        justification=said.justification if said else None,
        authorization=said.authorization if said else None,
        parents=parents,
    ) as writer:
        writer.begin_source(DATASET)
        for line, (record, offset) in enumerate(rows, start=1):
            writer.add(record, line=line, offset=offset)
        writer.end_source(sha256=storage.sha256_bytes(bytes(dataset)), size=len(dataset))
        for candidate in candidates:
            writer.add_candidate(candidate.model_dump(mode="json"))
        writer.attach(DATASET, bytes(dataset))
        writer.attach(QC_SUMMARY, summary.to_bytes())
        for name, data in (attachments or {}).items():
            writer.attach(name, data)
        writer.attach(SESSION, session_bytes)
        batch = writer.finish()
    ledger.append(
        workspace.ledger,
        "generated",
        batch=batch.id,
        what=what,
        why=why,
        where=batch.folder.relative_to(workspace.root).as_posix(),
        how=PIPELINE,
        sha256=batch.sha256,
        candidates=len(candidates),
        kept=len(rows),
    )
    return batch


def artifact_type(path: str) -> str:
    """What a file of the batch is, by its name: rows, candidates, dataset, qc_summary."""
    return path.partition(".")[0].partition("-")[0]
