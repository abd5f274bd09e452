"""`export-rag` and `export-sft`: one sample of one record."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.evidence import SAMPLE_SCORES, EvidenceRecord, Exporter, sample_id
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.pipelines.exporters import firewall, source
from pytest_distill.pipelines.exporters.export import Export, Exported, Options, stood
from pytest_distill.pipelines.exporters.firewall import Refusal
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.digests import Digests
from pytest_distill.stages.progress import Report

_TITLE = 120
_TOLD_EVERY = 2000


def export_rag(
    workspace: Workspace, options: Options | None = None, *, digests: Digests | None = None, report: Report | None = None
) -> Exported:
    """Accepted and partially accepted records as documents; those for review only with `include_review`."""
    return _export(workspace, "export-rag", options or Options(), digests, report)


def export_sft(
    workspace: Workspace, options: Options | None = None, *, digests: Digests | None = None, report: Report | None = None
) -> Exported:
    """Answers of accepted runs, with the instruction they answer; partially accepted ones only with `include_partial`."""
    return _export(workspace, "export-sft", options or Options(), digests, report)


def _export(
    workspace: Workspace, exporter: Exporter, options: Options, digests: Digests | None, report: Report | None
) -> Exported:
    pairs = source.pairs(workspace)
    export = Export(workspace, exporter, options, pairs, digests)
    if not options.dry_run and (batch := export.standing()) is not None:
        return stood(exporter, batch)
    considered = 0
    with export:
        for pair in pairs:
            export.begin(pair)
            for row in source.rows(pair):
                considered += 1
                _take(export, row)
                if report is not None and considered % _TOLD_EVERY == 0:
                    report(considered, None, pair.source)
            export.end(pair)
        return export.finish(considered)


def _take(export: Export, row: source.Row) -> bool:
    """One record: through the firewall first, and only then made into a sample."""
    exporter, options = export.exporter, export.options
    refusal = firewall.of_source(row.scored) or firewall.of_category(
        exporter, row.scored.get("category"), optional=options.optional(exporter)
    )
    if refusal is not None:
        return export.refuse(row, refusal)
    try:
        record = row.record()
    except ValidationError as error:
        return export.refuse(row, Refusal(Reason.SCHEMA_VIOLATION, first_problem(error)))
    refusal = (firewall.of_role(record) if exporter == "export-sft" else None) or firewall.of_text(record, options.known_files)
    if refusal is not None:
        return export.refuse(row, refusal)
    values = _rag(record, row) if exporter == "export-rag" else _sft(record, row)
    return export.keep(row, values | {"created_at": export.created_at, "provenance": record.provenance})


def _rag(record: EvidenceRecord, row: source.Row) -> dict[str, Any]:
    category = row.scored["category"]
    subject = record.file or (record.text or "").strip().splitlines()[0]
    tags = [record.source, record.task_type, record.model_role, category]
    return {
        "id": sample_id(record.run_id, record.provenance.sig_hash),
        "title": f"{record.task_type or record.source or 'run'}: {subject}"[:_TITLE],
        "content": record.text,
        "tags": tuple(dict.fromkeys(tag for tag in tags if tag)),
        "source_run_id": record.run_id,
        "source_category": category,
        "success_score": SAMPLE_SCORES.get(category, -1.0),
    }


def _sft(record: EvidenceRecord, row: source.Row) -> dict[str, Any]:
    return {
        "id": sample_id(record.run_id, record.provenance.sig_hash),
        "instruction": record.instruction or "",
        "context": record.retrieved_context or "",
        "response": record.text,
        "source_run_id": record.run_id,
        "quality_score": row.scored["category"],
    }
