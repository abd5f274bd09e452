"""README.md of an export: a dataset card with the YAML header that dataset hubs read, gates, waivers and provenance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.run import RunRecord
from pytest_distill.policy.model import Card
from pytest_distill.release.data import DataFile, Format
from pytest_distill.release.wording import figure_text, markdown, yaml

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
_JSON_NOTE = {
    "jsonl": "Columns of type `json` hold any JSON value.",
    "parquet": "Columns of type `json` hold JSON text, one value a cell.",
    "hf": "Columns of type `json` hold JSON text, one value a cell.",
}


def dataset_card(batch: Batch, record: RunRecord, card: Card, files: Sequence[DataFile], form: Format) -> str:
    """The card's text. Everything that comes from data, policy or gates is escaped."""
    return "\n".join([*_header(batch, record, card, files, form), *_body(batch, record, form)]) + "\n"


def _header(batch: Batch, record: RunRecord, card: Card, files: Sequence[DataFile], form: Format) -> Iterable[str]:
    rows = record.rows.remaining
    path = "data/train-*.parquet" if form == "hf" else files[0].name
    yield "---"
    yield f"pretty_name: {yaml(batch.id)}"
    if card.license:
        yield f"license: {yaml(card.license)}"
    yield f"size_categories:\n- {yaml(next((name for bound, name in _SIZES if rows < bound), 'n>10M'))}"
    yield 'tags:\n- "pytest-distill"'
    yield f'configs:\n- config_name: "default"\n  data_files:\n  - split: "train"\n    path: {yaml(path)}'
    yield "distill:"
    yield f"  batch: {yaml(batch.id)}"
    yield f"  batch_sha256: {yaml(batch.sha256)}"
    yield f"  kind: {yaml(batch.kind)}"
    yield f"  run: {yaml(record.run_id)}"
    yield f"  verdict: {yaml(record.verdict)}"
    yield f"  rows: {rows}"
    yield f"  rows_quarantined: {record.rows.quarantined}"
    yield "  columns:"
    yield from (f"  - name: {yaml(c.name)}\n    type: {yaml(c.type)}" for c in batch.manifest.columns)
    yield "---"


def _body(batch: Batch, record: RunRecord, form: Format) -> Iterable[str]:
    manifest = batch.manifest
    yield f"# {markdown(batch.id)}\n"
    yield f"{markdown(manifest.what)}\n"
    yield f"Why it was made: {markdown(manifest.why)}\n"
    yield f"{record.rows.remaining:,} rows of kind {batch.kind}, sealed: every required gate ran on exactly the batch they"
    yield "come from, and said yes or was waived by name. To check that: `distill verify .`, or `sha256sum -c SHA256SUMS`.\n"
    yield "## Columns\n"
    yield from _table(("column", "type", "a null means"), [(c.name, c.type, _NULLS[c.nulls]) for c in manifest.columns])
    if any(column.type == "json" for column in manifest.columns):
        yield f"{_JSON_NOTE[form]}\n"
    yield "## Gates\n"
    yield from _table(
        ("gate", "what it guards", "said", "figures", "rows rejected"),
        [
            (g.id, g.title, g.status.replace("_", " "), "; ".join(map(figure_text, g.figures)), str(g.rejected))
            for g in record.gates
        ],
    )
    waived = [gate.waiver for gate in record.gates if gate.status == "waived" and gate.waiver]
    if waived:
        yield "## Waivers\n"
        yield "These gates did not pass; people took responsibility for that.\n"
        yield from _table(("gate", "reason", "who", "until"), [(w.gate, w.reason, w.who, w.expires) for w in waived])
    yield "## Provenance\n"
    yield f"- batch `{batch.id}`, SHA-256 of its sums `{batch.sha256}`, {manifest.origin} by {markdown(manifest.how.pipeline)}"
    yield f"- judged by run `{record.run_id}` under the policy `{record.policy_sha256}`"
    rows = record.rows
    yield f"- rows: {manifest.counts.read:,} read, {manifest.counts.quarantined:,} unreadable, {rows.batch:,} judged, "
    yield f"  {rows.quarantined:,} rejected by gates, {rows.remaining:,} here"
    yield from (f"- model {markdown(model.name)}, revision {markdown(model.revision)}" for model in manifest.how.models)
    yield from (f"- made from the batch `{parent}`" for parent in manifest.parents)
    yield ""
    if manifest.sources:
        yield from _table(
            ("source", "SHA-256", "rows read", "kept"),
            [(s.name, s.sha256, str(s.rows_read), str(s.rows_kept)) for s in manifest.sources],
        )


_NULLS = {"never": "never null", "null": "null", "absent": "the source had no such field"}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(markdown, row))} |" for row in rows)
    yield ""
