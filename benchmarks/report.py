"""The report on a million rows: `python benchmarks/report.py`. Marks: under 10 s beyond the measures, 1.5 MB, 500 MiB RSS.

The rows are random words, ingested as any others. What gates would leave is put beside them: the record of a real run on
2,000 of the rows with its counts scaled up, and a quarantine with every second row, each rejected by three gates. Measures that
the page draws are computed first, in a process of their own, and timed apart; then a fresh process writes the page. The seconds
that are held to the mark are processor time, of all threads; those by the clock, which grow with what else the machine does, are
shown beside them.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pytest_distill import ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.contracts.quarantine import QUARANTINE_SCHEMA
from pytest_distill.contracts.run import Rows, RunRecord
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.verdict import EVIDENCE, QUARANTINE, VERDICT, write_verdict

SECONDS, MEGABYTES, MEBIBYTES = 10.0, 1.5, 500
REJECTING = ("duplicates.near", "text.language", "length.answer", "quality.repetition", "answer.truncated", "privacy.secrets")

CHILD = """
import json, resource, sys, time
from pathlib import Path
from pytest_distill.policy import workspace
from pytest_distill.measuring.columns import Columns
from pytest_distill.report import figures, judged, page, rows

place, warm = workspace.load(Path(sys.argv[1])), sys.argv[2] == "warm"
started, spent = time.perf_counter(), time.process_time()
run = judged.load(place, "large")
if warm:
    list(figures.histograms(run, Columns.of(place, run.batch), rows.rejected_mask(run)))
    size = 0
else:
    size = page.write(run).stat().st_size
print(json.dumps({
    "seconds": time.process_time() - spent, "clock": time.perf_counter() - started, "bytes": size,
    "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
"""


def generate(path: Path, rows: int) -> None:
    rng = random.Random(8)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(8000)]
    with path.open("w") as file:
        for number in range(rows):
            answer = " ".join(rng.choices(words, k=min(400, 1 + int(rng.expovariate(1 / 30)))))
            row = {"id": f"r{number}", "instruction": " ".join(rng.choices(words, k=12)) + "?", "response": f"{answer}."}
            file.write(json.dumps(row) + "\n")


def ingest(place: Path, source: Path, batch_id: str) -> Batch:
    command = [sys.executable, "-m", "pytest_distill.cli.main", "ingest", source.name, "--id", batch_id, "--kind", "sft"]
    subprocess.run([*command, "--no-progress"], cwd=place, check=True, capture_output=True)
    return open_batch(place / "batches" / batch_id)


def judged_small(place: Path) -> RunRecord:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--distill-batch=small"]
    subprocess.run(command, cwd=place, check=False, capture_output=True)
    return RunRecord.load(place / ".distill" / "runs" / "small" / "000001" / EVIDENCE)


def put_run(place: Path, batch: Batch, record: RunRecord) -> None:
    """A run folder and a ledger line for the large batch."""
    workspace = workspaces.load(place)
    folder = workspace.new_run_folder(batch.id)
    rejected = np.arange(0, batch.rows, 2).repeat(3)
    gates = np.random.default_rng(9).integers(0, len(REJECTING), len(rejected))
    table = pa.table(
        {
            "by": pa.array([REJECTING[n] for n in gates]),
            "reason": pa.array(["benchmark"] * len(rejected)),
            "row": pa.array(rejected),
            "id": pa.array([f"r{n}" for n in rejected]),
            "source": pa.array(["large.jsonl"] * len(rejected)),
            "line": pa.array(rejected + 1),
            "offset": pa.array([0] * len(rejected)),
            "message": pa.array(["made for the benchmark"] * len(rejected)),
            "original": pa.nulls(len(rejected), pa.binary()),
            "original_sha256": pa.nulls(len(rejected), pa.string()),
        },
        schema=QUARANTINE_SCHEMA,
    )
    pq.write_table(table, folder / QUARANTINE)
    scaled = record.model_copy(
        update={
            "batch_id": batch.id,
            "batch_sha256": batch.sha256,
            "rows": Rows(batch=batch.rows, quarantined=len(rejected) // 3, remaining=batch.rows - len(rejected) // 3),
            "quarantine_sha256": storage.sha256_file(folder / QUARANTINE),
        }
    )
    scaled.write(folder / EVIDENCE)
    write_verdict(folder, scaled)
    facts = {"run": folder.name, "verdict": scaled.verdict, "sha256": storage.sha256_file(folder / VERDICT)}
    ledger.append(workspace.ledger, "verdict", batch=batch.id, **facts)


def child(place: Path, what: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", CHILD, str(place), what], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "workspace")
        place.mkdir()
        (place / "distill.toml").touch()
        started = time.perf_counter()
        generate(place / "small.jsonl", 2000)
        generate(place / "large.jsonl", rows)
        ingest(place, place / "small.jsonl", "small")
        batch = ingest(place, place / "large.jsonl", "large")
        put_run(place, batch, judged_small(place))
        print(f"{rows:,} rows made and ingested in {time.perf_counter() - started:.0f} s")
        print(f"measures that are drawn: {child(place, 'warm')['seconds']:.1f} s")
        found = child(place, "page")
    megabytes = found["bytes"] / 1e6
    seconds = f"{found['seconds']:.2f} s of processor time (mark {SECONDS:g}), {found['clock']:.2f} s by the clock"
    print(f"page: {seconds}, {megabytes:.3f} MB (mark {MEGABYTES:g})")
    print(f"peak memory of the process: {found['peak_rss_mib']:.0f} MiB (mark {MEBIBYTES})")
    return int(found["seconds"] >= SECONDS or megabytes >= MEGABYTES or found["peak_rss_mib"] >= MEBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
