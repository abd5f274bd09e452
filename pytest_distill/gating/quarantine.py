"""Writes a run's quarantine: for every rejected row, each blocking gate that rejected it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_distill import storage
from pytest_distill.contracts.manifest import LINE_COLUMN, OFFSET_COLUMN, SOURCE_COLUMN
from pytest_distill.contracts.quarantine import QUARANTINE_SCHEMA
from pytest_distill.errors import one_line
from pytest_distill.release.verdict import QUARANTINE

if TYPE_CHECKING:
    from pytest_distill.gating.keeper import Keeper


def write_quarantine(folder: Path, keeper: Keeper) -> str:
    """Writes `quarantine.parquet`, sorted by row and gate, and returns its digest. Rows stay in the batch; this names them."""
    population = keeper.population
    places = population.positions
    found = {g.seen.id: g for g in keeper.gates.values()}
    entries = sorted((row, gate_id) for gate_id, mask in population.masks.items() for row in mask.arg_true().to_list())
    columns: dict[str, list[object]] = {name: [] for name in QUARANTINE_SCHEMA.names}
    for row, gate_id in entries:
        gate = found[gate_id].seen
        given = (gate.evidence.why, gate.evidence.found) if gate.evidence is not None else ()
        piece = " | ".join(series[row] for series in given if series is not None and series[row])
        columns["by"].append(gate_id)
        columns["reason"].append(gate.gate.rejects)
        columns["row"].append(row)
        columns["id"].append(str(population.ids[row]))
        columns["source"].append(population.sources[places[SOURCE_COLUMN][row]])
        columns["line"].append(places[LINE_COLUMN][row])
        columns["offset"].append(places[OFFSET_COLUMN][row])
        columns["message"].append(one_line(f"{gate.gate.title} {piece}" if piece else gate.gate.title)[:500])
        columns["original"].append(None)
        columns["original_sha256"].append(None)
    table = pa.table(columns, schema=QUARANTINE_SCHEMA)
    with storage.atomic_file(folder / QUARANTINE) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
    return storage.sha256_file(folder / QUARANTINE)
