"""How much memory and time `ingest` takes for JSON lines of a given size. Prints one JSON document.

    python benchmarks/ingest_memory.py --megabytes 1000

The file is generated from a seed: texts of 20 to 400 words, one row in a hundred malformed, one with a very long text in a
thousand. Ingest runs in a process of its own, whose peak resident memory is what is reported.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import json, resource, sys, time
from pathlib import Path
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.policy import workspace

place = workspace.load(Path(sys.argv[2]))
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
batch = ingest([Path(sys.argv[1])], place, "measured")
seconds = time.perf_counter() - started
counts = batch.manifest.counts
print(json.dumps({
    "seconds": round(seconds, 2), "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    "rss_before_mib": idle // 1024, "read": counts.read, "kept": counts.kept, "quarantined": counts.quarantined,
}))
"""


def generate(path: Path, size: int) -> int:
    """Writes at least `size` bytes of rows; returns how many bytes they are."""
    rng = random.Random(20)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(5000)]
    texts = [" ".join(rng.choices(words, k=rng.randint(20, 400))) for _ in range(2000)]
    written = number = 0
    with path.open("wb") as file:
        while written < size:
            number += 1
            answer = texts[rng.randrange(2000)] * (200 if number % 1000 == 0 else 1)
            row = {"id": number, "instruction": texts[rng.randrange(2000)][:300], "response": answer, "score": rng.random()}
            line = json.dumps(row).encode()
            written += file.write((line[:-1] if number % 100 == 0 else line) + b"\n")
    return written


def measure(megabytes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        source, place = Path(folder, "rows.jsonl"), Path(folder, "workspace")
        place.mkdir()
        (place / "distill.toml").touch()
        written = generate(source, megabytes * 1_000_000)
        done = subprocess.run([sys.executable, "-c", CHILD, str(source), str(place)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return {"megabytes": round(written / 1e6, 1), **found, "megabytes_per_second": round(written / 1e6 / found["seconds"], 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    print(json.dumps(measure(parser.parse_args().megabytes), indent=2))
