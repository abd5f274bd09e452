"""A workspace with one batch and a run that passed, made by hand: what tests of export and verify start from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_distill import ledger, storage
from pytest_distill.batch import digest
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.contracts.manifest import Column, Counts, How, Manifest, Shard, Source
from pytest_distill.contracts.quarantine import QUARANTINE_SCHEMA
from pytest_distill.contracts.run import Bound, Figure, GateRecord, Rows, RunRecord
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.seal import SEAL, write_seal
from pytest_distill.release.verdict import EVIDENCE, QUARANTINE, VERDICT, write_verdict
from pytest_distill.suite import digest as suite_digest
from pytest_distill.suite.declared import declared_gates

ID = "demo"
COLUMNS = (
    Column(name="id", type="string", nulls="never"),
    Column(name="instruction", type="string", nulls="never"),
    Column(name="response", type="string", nulls="never"),
    Column(name="score", type="float64", nulls="null"),
    Column(name="tokens", type="int64", nulls="absent"),
    Column(name="checked", type="bool", nulls="null"),
    Column(name="extra", type="json", nulls="absent"),
)
ARROW = {"string": pa.string(), "json": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}

# What the source said, row by row; rows 1 and 4 will be quarantined.
SOURCE_ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "instruction": "Say 4.",
        "response": "4",
        "score": 0.1,
        "tokens": 1,
        "checked": True,
        "extra": {"k": [1, 2.5, None]},
    },
    {"id": "b", "instruction": "Secret?", "response": "SECRET-TOKEN-1", "score": None, "checked": None, "extra": 2**80},
    {
        "id": "c",
        "instruction": "Zeile\u2028 äöü 🦉",
        "response": 'a "quoted"\nline\t\\ \x01',
        "score": -0.0,
        "tokens": -(2**63),
        "checked": False,
    },
    {"id": "d", "instruction": "x" * 50, "response": "| <b>[x](y)</b>", "score": 1e300, "checked": True, "extra": "text"},
    {"id": "e", "instruction": "Gone", "response": "SECRET-TOKEN-2", "score": 5e-324, "checked": True, "extra": None},
    {
        "id": "f",
        "instruction": "Last",
        "response": "end",
        "score": 2.0,
        "tokens": 2**63 - 1,
        "checked": False,
        "extra": -12345678901234567890123,
    },
]
REJECTED = (1, 4)
KEPT_ROWS = [row for number, row in enumerate(SOURCE_ROWS) if number not in REJECTED]


def write_batch(
    folder: Path, rows: list[dict[str, Any]] = SOURCE_ROWS, *, shard_rows: int = 2, columns: tuple[Column, ...] = COLUMNS
) -> Batch:
    """A batch folder as ingest leaves it, `shard_rows` rows a shard."""
    folder.mkdir(parents=True)
    shards = []
    for start in range(0, len(rows), shard_rows):
        part = rows[start : start + shard_rows]
        arrays = {
            c.name: pa.array(
                [json.dumps(r[c.name]) if c.type == "json" and c.name in r else r.get(c.name) for r in part], ARROW[c.type]
            )
            for c in columns
        }
        lines = range(start + 1, start + len(part) + 1)
        arrays["distill_source"] = pa.array([0] * len(part), pa.int32())
        arrays["distill_line"] = pa.array(lines, pa.int64())
        arrays["distill_offset"] = pa.array([0] * len(part), pa.int64())
        name = f"shard-{len(shards):05d}.parquet"
        pq.write_table(pa.table(arrays), folder / name, write_page_checksum=True)
        shards.append(Shard(path=name, rows=len(part), sha256=storage.sha256_file(folder / name)))
    Manifest(
        id=folder.name,
        kind="sft",
        origin="ingested",
        what="Rows <script>alert(1)</script> | made: by hand\n---\n# not a heading",
        why="To test exports",
        how=How(pipeline="ingest"),
        counts=Counts(read=len(rows), kept=len(rows), quarantined=0),
        columns=columns,
        sources=(
            Source(name="rows|.jsonl", sha256="0" * 64, bytes=1, rows_read=len(rows), rows_kept=len(rows), rows_quarantined=0),
        ),
        shards=tuple(shards),
    ).write(folder / "manifest.json")
    digest.write_sums(folder, unhashed=("created.json",))
    return open_batch(folder)


def gate_record(gate_id: str, **facts: Any) -> GateRecord:
    figure = Figure(name="rejected rows", value=0, bound=Bound(op="at_most", value=0), ok=True, unit="rows", rows=6)
    base: dict[str, Any] = {
        "title": f"Guards {gate_id}",
        "kind": "batch",
        "severity": "block",
        "status": "passed",
        "origin": "standard",
    }
    return GateRecord(id=gate_id, **{**base, "figures": (figure,), "rows_seen": 6, **facts})


def make_record(workspace: Workspace, batch: Batch, run_id: str, rejected: tuple[int, ...] = REJECTED, **facts: Any) -> RunRecord:
    """The record of a run in which every declared gate passed."""
    gates = tuple(gate_record(gate_id) for gate_id in sorted({*declared_gates(workspace), "privacy.secrets"}))
    base: dict[str, Any] = {
        "run_id": run_id,
        "batch_id": batch.id,
        "batch_sha256": batch.sha256,
        "kind": batch.kind,
        "verdict": "PASSED",
        "policy_sha256": workspace.policy.sha256,
        "gates_sha256": suite_digest.gates_digest(workspace),
        "plugins": suite_digest.plugins(),
        "plugins_sha256": suite_digest.plugins_digest(),
        "required": tuple(gate.id for gate in gates),
        "gates": gates,
        "rows": Rows(batch=batch.rows, quarantined=len(set(rejected)), remaining=batch.rows - len(set(rejected))),
    }
    return RunRecord(**{**base, **facts})


@dataclass(frozen=True)
class Sealed:
    workspace: Workspace
    batch: Batch
    folder: Path
    record: RunRecord


def judge(
    workspace: Workspace, batch: Batch, rejected: tuple[int, ...] = REJECTED, *, finish: bool = True, **facts: Any
) -> Sealed:
    """What a gate run leaves: a run folder, and the ledger's lines about it."""
    folder = workspace.new_run_folder(batch.id)
    entry = {
        "by": "privacy.secrets",
        "reason": "secret",
        "source": "rows",
        "line": 1,
        "message": "found",
        "original": b"SECRET-TOKEN",
    }
    table = pa.Table.from_pylist([{**entry, "row": row} for row in rejected], schema=QUARANTINE_SCHEMA)
    pq.write_table(table, folder / QUARANTINE)
    facts.setdefault("quarantine_sha256", storage.sha256_file(folder / QUARANTINE))
    record = make_record(workspace, batch, folder.name, rejected, **facts)
    record.write(folder / EVIDENCE)
    write_verdict(folder, record)
    if finish:
        sha256 = storage.sha256_file(folder / VERDICT)
        entry = ledger.append(workspace.ledger, "verdict", batch=batch.id, run=folder.name, sha256=sha256)
    if finish and record.verdict == "PASSED":
        write_seal(folder, record, ledger=ledger.position(entry))
        ledger.append(workspace.ledger, "seal", batch=batch.id, run=folder.name, sha256=storage.sha256_file(folder / SEAL))
    return Sealed(workspace, batch, folder, record)


def make_workspace(root: Path, policy: str = "") -> Workspace:
    root.mkdir(parents=True, exist_ok=True)
    (root / "distill.toml").write_text(policy)
    (root / ".distill").mkdir(exist_ok=True)
    return workspaces.load(root)


def sealed(root: Path) -> Sealed:
    workspace = make_workspace(root)
    return judge(workspace, write_batch(workspace.batches / ID))
