"""`distill show ID`: a batch, its newest verdict gate by gate, and whether its seal holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_distill.batch.batch import Batch
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.contracts.run import Example, GateRecord, RunRecord

MOST = 1000  # rejected rows of a gate that are listed one by one


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser(
        "show", parents=[common], help="a batch and its newest verdict; -v quotes rejected rows", description=__doc__
    )
    parser.add_argument("batch", metavar="ID")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, print_table
    from pytest_distill.errors import DistillError
    from pytest_distill.release.runs import newest_record, newest_run, sealed_run
    from pytest_distill.release.verdict import QUARANTINE

    workspace = open_workspace(args, ad_hoc=True)
    batch = open_batch(workspace.batch_folder(args.batch))
    record = newest_record(workspace, batch.id)
    refusal = None
    try:
        sealed_run(workspace, batch)
    except DistillError as error:
        refusal = error
    if args.json:
        print_json(
            {
                "batch": batch.manifest.model_dump(mode="json"),
                "batch_sha256": batch.sha256,
                "run": record.model_dump(mode="json") if record else None,
                "sealed": refusal is None,
                "refusal": {"code": refusal.code.value, "message": refusal.message, "hint": refusal.hint} if refusal else None,
            }
        )
        return
    print_table(("batch", batch.id), _batch_facts(batch))
    if record is not None:
        rows_of_gates = _gate_rows(record, every=args.verbose)
        reasons = any(row[-1] for row in rows_of_gates)
        head = ("gate", "verdict", "figures against bounds", "rejected", "why")
        print_table(head if reasons else head[:-1], rows_of_gates if reasons else [row[:-1] for row in rows_of_gates])
        rows = record.rows
        left_out = 0 if args.verbose else sum(gate.status == "not_applicable" for gate in record.gates)
        facts = [
            ("verdict", record.verdict),
            *([("gates", f"{left_out} more do not apply to this batch; -v shows them")] if left_out else []),
            ("rows", f"{rows.batch:,} judged = {rows.quarantined:,} quarantined + {rows.remaining:,} remaining"),
            *(("finding", finding) for finding in record.findings),
        ]
        print_table(("run", record.run_id), facts)
        for gate in record.gates if args.verbose else ():
            if gate.examples:
                shown = [_example(example) for example in gate.examples]
                print_table(("rejected by", gate.id), [*shown, *_others(gate, newest_run(workspace, batch.id) / QUARANTINE)])
    print_table(("seal", "holds: this batch can be exported" if refusal is None else f"none that holds: {refusal}"), [])


def _example(example: Example) -> tuple[str, str]:
    """Where a rejected row is, and its text with what was found between » and «."""
    text, start, end = example.text, example.start, example.end
    marked = text if start is None or end is None else f"{text[:start]}»{text[start:end]}«{text[end:]}"
    return _place(example.source, example.line, example.id), marked


def _place(source: str, line: int, row_id: str) -> str:
    place = f"{source}:{line}"
    return place if row_id == place else f"{place} (id {row_id})"


def _others(gate: GateRecord, quarantine: Path) -> list[tuple[str, str]]:
    """The rejected rows that the record does not quote: where each is, and what was found. A gate that warns rejects none."""
    import polars as pl

    count = gate.rejected - len(gate.examples)
    if count <= 0 or not quarantine.is_file():
        return []
    quoted = [example.row for example in gate.examples]
    rejected = pl.read_parquet(quarantine, columns=["by", "row", "id", "source", "line", "message"])
    rows = rejected.filter((pl.col("by") == gate.id) & ~pl.col("row").is_in(quoted))
    told = [
        (_place(row["source"], row["line"], row["id"]), row["message"].removeprefix(gate.title).strip())
        for row in rows.head(MOST).iter_rows(named=True)
    ]
    left = count - len(told)
    return [*told, *([(f"… and {left:,} more", str(quarantine) if rows.height else "")] if left else [])]


def _batch_facts(batch: Batch) -> list[tuple[str, object]]:
    manifest = batch.manifest
    counts = manifest.counts
    return [
        ("kind", manifest.kind),
        ("what", manifest.what),
        ("why", manifest.why),
        ("rows", f"{counts.read:,} read = {counts.kept:,} kept + {counts.quarantined:,} quarantined {manifest.lost}"),
        ("columns", ", ".join(f"{column.name}: {column.type}" for column in manifest.columns)),
        ("sources", ", ".join(source.name for source in manifest.sources)),
        ("shards", len(manifest.shards)),
        ("sha256", batch.sha256),
    ]


def _gate_rows(record: RunRecord, *, every: bool) -> list[tuple[Any, ...]]:
    """Gates that said no come first; those that do not apply are there with `every` only."""
    from pytest_distill.release.wording import figure_text

    said = {gate.id for gate in record.gates}
    missing = [
        (gate_id, "did_not_run", "", None, "required, and no record of it") for gate_id in record.required if gate_id not in said
    ]
    shown = sorted(
        (gate for gate in record.gates if every or gate.status != "not_applicable"),
        key=lambda gate: gate.status not in ("failed", "did_not_run"),
    )
    return [
        *missing,
        *((g.id, g.status, "; ".join(map(figure_text, g.figures)), g.rejected or None, _why(g)) for g in shown),
    ]


def _why(gate: GateRecord) -> str:
    """The reasons that no figure beside them tells already."""
    from pytest_distill.gating.evidence import describe

    told = {describe(figure) for figure in gate.figures if not figure.ok and figure.value is not None}
    return "; ".join(why for why in gate.why if why not in told)
