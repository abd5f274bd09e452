"""Tokenising side by side with bare `encode_batch`: `python benchmarks/tokenizing.py`. Prints Markdown; exits 1 on a missed mark.

Both sides run in processes of their own, in turn, with the same number of threads (RAYON_NUM_THREADS), over the rows of
`instruct/self_instruct_t0`; processor time and wall time are medians. The peer holds all texts in memory and keeps nothing: no
reading, no EOS, no files. Ours is the whole `distill tokenize`: reading and checking JSON, encoding, shards, indexes, checksums,
state. Ids are compared one by one. Needs the shared data folder (DISTILL_SHARED_DATA).

    python benchmarks/tokenizing.py --megabytes 1000     peak memory of a run over generated text of that size
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
ROWS = DATA / "instruct" / "self_instruct_t0.jsonl.gz"
ROUNDS = 3
MARK = 1.15
MEMORY_MARK = 1 << 30

PEER = """
import gzip, hashlib, json, sys, time
from importlib import resources
import numpy as np
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_str((resources.files("pytest_distill.fixtures") / "tokenizer.json").read_text())
tokenizer.encode_special_tokens = True
with gzip.open(sys.argv[1]) as file:
    texts = [json.loads(line)["text"] for line in file]
wall, processor = time.perf_counter(), time.process_time()
found = tokenizer.encode_batch(texts, add_special_tokens=False)
wall, processor = time.perf_counter() - wall, time.process_time() - processor
digest = hashlib.sha256()
for encoding in found:
    digest.update(np.array(encoding.ids + [tokenizer.token_to_id("<|endoftext|>")], "<u4").tobytes())
print(json.dumps({"wall": wall, "processor": processor, "ids": digest.hexdigest()}))
"""

OURS = """
import hashlib, json, resource, sys, time
from pathlib import Path
import numpy as np
from pytest_distill.engine.local import Threads
from pytest_distill.pipelines.tokenize.run import Order, tokenize
from pytest_distill.pipelines.tokenize.sources import Files
from pytest_distill.pipelines.tokenize.tokenizer import load
tokenizer = load()
tokenizer.encode(["Loads the compiled kernels."])
wall, processor = time.perf_counter(), time.process_time()
files, out, workers = Files([Path(sys.argv[1])], "text"), Path(sys.argv[2]), int(sys.argv[3])
manifest = tokenize(files, tokenizer, out, Order("bench", "v1"), engine=Threads(workers))
wall, processor = time.perf_counter() - wall, time.process_time() - processor
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
digest = hashlib.sha256()
for shard in manifest.shards:
    digest.update(np.load(out / shard.path).tobytes())
print(json.dumps({"wall": wall, "processor": processor, "ids": digest.hexdigest(), "peak": peak,
                  "documents": manifest.total_documents, "tokens": manifest.total_tokens}))
"""


def start(code: str, threads: int, *arguments: object) -> dict[str, Any]:
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true", "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compared(threads: int, rounds: int) -> bool:
    """One line of the table: medians of both sides, and whether the ids are the same."""
    ours, peer = [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(start(OURS, threads, ROWS, Path(folder, f"set{number}"), threads))
        peer.append(start(PEER, threads, ROWS))
    same = {side["ids"] for side in (*ours, *peer)}
    cells = []
    ratios = {}
    for what in ("processor", "wall"):
        mine, theirs = (statistics.median(side[what] for side in sides) for sides in (ours, peer))
        ratios[what] = mine / theirs
        cells += [f"{theirs:.2f} s", f"{mine:.2f} s", f"{mine / theirs:.2f}x"]
    documents = ours[0]["documents"] / statistics.median(side["wall"] for side in ours)
    equal = "the same" if len(same) == 1 else "DIFFERENT"
    print(f"| {threads} | {' | '.join(cells)} | {documents:,.0f} | {equal} |", flush=True)
    return len(same) == 1 and ratios["processor"] <= MARK and ratios["wall"] <= MARK


def generate(path: Path, size: int) -> int:
    """Rows of words that are made up again and again, one in a thousand very long; returns how many bytes they are."""
    rng = random.Random(20)
    written = 0
    with path.open("wb") as file:
        while written < size:
            words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(3000)]
            texts = [" ".join(rng.choices(words, k=rng.randint(20, 400))) for _ in range(50)]
            for number in range(1000):
                text = " ".join(rng.choices(texts, k=200 if number == 500 else 2))
                written += file.write(json.dumps({"text": text}).encode() + b"\n")
    return written


def memory(megabytes: int, threads: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        written = generate(path, megabytes * 1_000_000)
        found = start(OURS, threads, path, Path(folder, "set"), threads)
    rate = written / 1e6 / found["wall"]
    print(
        f"{written / 1e6:,.0f} MB of JSONL, {found['tokens']:,} tokens, {threads} workers: {found['wall']:.1f} s, {rate:.1f} MB/s"
    )
    print(f"peak resident memory {found['peak'] / 2**20:,.0f} MiB (mark: {MEMORY_MARK / 2**20:,.0f})")
    return bool(found["peak"] <= MEMORY_MARK)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    if args.megabytes:
        return int(not memory(args.megabytes, max(args.threads)))
    if not ROWS.is_file():
        sys.exit(f"{ROWS} is not there: the benchmark reads real rows. Set DISTILL_SHARED_DATA.")
    print("| threads | encode_batch, processor | ours | ratio | encode_batch, wall | ours | ratio | docs/s | ids |")
    print("|---|---|---|---|---|---|---|---|---|")
    kept = [compared(threads, args.rounds) for threads in args.threads]
    print(f"\nmark: at most {MARK}x of bare encode_batch")
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
