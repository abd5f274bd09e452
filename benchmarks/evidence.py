"""Streams to samples: rows per second of each stage, peak memory, and the same again. Prints one JSON document.

    python benchmarks/evidence.py                  10,000 and 100,000 rows
    python benchmarks/evidence.py --rows 10000 1000000

Rows are generated from a seed, fourteen streams with faults in them. Each size runs in a process of its own, whose peak resident
memory is reported: collect, score and the three exporters with their receipts, then all of it again, which must add nothing.
Held to: at most 1.5 GB, a second run at least ten times as fast (from 100,000 rows on), and processor time per row that grows by
at most a half from the smallest size to the largest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from typing import Any

MAX_GB, MIN_SPEEDUP, MAX_GROWTH = 1.5, 10.0, 1.5

CHILD = """
import json, resource, sys, time
from pathlib import Path
from pytest_distill.fixtures.evidence.generate import generate
from pytest_distill.pipelines.evidence import stages
from pytest_distill.policy import workspace
from pytest_distill.stages import summaries

root, rows = Path(sys.argv[1]), int(sys.argv[2])
(root / "distill.toml").touch()
started = time.perf_counter()
generate(root / "streams", rows)
found = {"rows": rows, "generate_seconds": round(time.perf_counter() - started, 2),
         "megabytes": round(sum(p.stat().st_size for p in (root / "streams").iterdir()) / 1e6, 1)}
place = workspace.load(root)
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
spent = {}

def timed(function):
    def call(place, stage, *args, **options):
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(place, stage, *args, **options)
        spent[stage.name] = (time.perf_counter() - wall, time.process_time() - cpu)
        return result
    return call

for name in ("collect", "score_evidence", "export"):
    setattr(stages, name, timed(getattr(stages, name)))
for name in ("first", "second"):
    wall, cpu = time.perf_counter(), time.process_time()
    ran = stages.run_all(place)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found[name] = {
        "seconds": round(wall, 3), "processor_seconds": round(cpu, 3), "added": ran.summary.totals.out,
        "rows_per_second": {stage: round(rows / wall) for stage, (wall, _) in spent.items()},
        "rows_per_processor_second": {stage: round(rows / cpu) for stage, (_, cpu) in spent.items()},
    }
found["samples"] = {one.exporter: one.samples for one in ran.exported}
found["scores"] = ran.scored.categories
found["skipped"] = sum(one.skipped for one in ran.built)
found["run_hashes_equal"] = len({s.run_hash for s in summaries.summaries(place)}) == 1
found["peak_rss_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 3)
found["rss_before_gb"] = round(idle / 1024**2, 3)
print(json.dumps(found))
"""


def measure(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", CHILD, folder, str(rows)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(sizes: list[int]) -> int:
    found = [measure(rows) for rows in sorted(sizes)]
    smallest, largest = found[0], found[-1]
    per_row = [each["first"]["processor_seconds"] / each["rows"] for each in (smallest, largest)]
    marks = {
        "memory": largest["peak_rss_gb"] <= MAX_GB,
        "second_run": all(
            each["first"]["seconds"] >= MIN_SPEEDUP * each["second"]["seconds"] for each in found if each["rows"] >= 100_000
        ),
        "linear": per_row[1] <= MAX_GROWTH * per_row[0],
        "nothing_added": all(each["second"]["added"] == 0 and each["run_hashes_equal"] for each in found),
    }
    print(json.dumps({"sizes": found, "growth_per_row": round(per_row[1] / per_row[0], 2), "marks": marks}, indent=2))
    return int(not all(marks.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    sys.exit(main(parser.parse_args().rows))
