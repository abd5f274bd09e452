"""How much memory and time `distill run preprocess` takes for a large input. Prints one JSON document; exits 1 on a missed mark.

    python benchmarks/preprocess_memory.py --megabytes 1000

The input is made of the rows of `instruct/self_instruct_t0` as they are, then again and again with the words of each text
shuffled, so that no text is a duplicate of another for having been taken twice. The command runs in a process of its own, with
one worker, whose peak resident memory is what is reported. Needs the shared data folder (DISTILL_SHARED_DATA).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
ROWS = DATA / "instruct" / "self_instruct_t0.jsonl.gz"
# What the pages promise: a base that does not depend on the input, and about 650 bytes a document in stage 2.
BASE, A_DOCUMENT = 800 << 20, 1000


def generate(path: Path, size: int) -> tuple[int, int]:
    """Writes at least `size` bytes of rows; returns how many bytes and rows they are."""
    rng = random.Random(20)
    written = rows = copy = 0
    with path.open("wb") as file:
        while written < size:
            with gzip.open(ROWS) as source:
                for line in source:
                    row = json.loads(line)
                    words = row["text"].split(" ")
                    if copy:
                        rng.shuffle(words)
                    made = {"id": f"{row['id']}-{copy}", "source": row["source"], "text": " ".join(words)}
                    written += file.write(json.dumps(made, ensure_ascii=False).encode() + b"\n")
                    rows += 1
                    if written >= size:
                        break
            copy += 1
    return written, rows


def measure(megabytes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        source, place = Path(folder, "rows.jsonl"), Path(folder, "workspace")
        place.mkdir()
        (place / "distill.toml").write_text("schema_version = 1\n")
        written, rows = generate(source, megabytes * 1_000_000)
        command = [sys.executable, "-P", "-m", "pytest_distill.cli.main", "run", "preprocess", str(source), "--id", "out"]
        began = time.monotonic()
        started = subprocess.Popen([*command, "--json", "--no-progress", "--workspace", str(place)], stdout=subprocess.PIPE)
        assert started.stdout is not None
        said = started.stdout.read()
        _, status, used = os.wait4(started.pid, 0)
        wall = time.monotonic() - began
        if status:
            sys.exit(f"preprocess ended with {os.waitstatus_to_exitcode(status)}")
    summary = json.loads(said)
    assert summary["read"] == rows
    processor = used.ru_utime + used.ru_stime
    return {
        "megabytes": round(written / 1e6, 1), "documents": rows, "kept": summary["kept"], "peak_rss_mib": used.ru_maxrss // 1024,
        "processor_seconds": round(processor, 1), "wall_seconds": round(wall, 1),
        "documents_per_processor_second": round(rows / processor, 1),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=250)
    found = measure(parser.parse_args().megabytes)
    mark = (BASE + A_DOCUMENT * found["documents"]) // (1 << 20)
    print(json.dumps(found | {"mark_mib": mark}, indent=2))
    sys.exit(found["peak_rss_mib"] > mark)
