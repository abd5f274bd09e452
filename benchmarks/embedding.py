"""Embeddings beside plain sentence-transformers, in one run, on one core: `python -P benchmarks/embedding.py [ROWS]`

The same rows of instructions: there in float32, in its own batches of 32; here equal texts once, in batches of like length, in
float32, and in bfloat16 where the processor has tiles for it (AMX). Prints Markdown, and the smallest cosine between the vectors
of the two. sentence-transformers is none of our dependencies: pip install it first. Needs [embed] and the shared data folder.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pytest_distill.measuring import embedding

DATA = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
ROUNDS = 3
COSINE, MARK = 0.995, 3.0


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:  # type: ignore[type-arg]
    started = time.process_time()
    return work(), time.process_time() - started


def main(rows: int) -> int:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    with gzip.open(DATA / "instruct" / "self_instruct_t0.jsonl.gz", "rt") as file:
        every = [json.loads(line)["text"] for line in file]
    texts = every[:: max(1, len(every) // rows)][:rows]
    folder = embedding.packaged()
    theirs = SentenceTransformer(str(folder), device="cpu")
    sides: dict[str, Callable[[], np.ndarray]] = {  # type: ignore[type-arg]
        "sentence-transformers, float32": lambda: theirs.encode(texts, normalize_embeddings=True),
        "ours, float32": lambda: embedding.embed(texts, folder, dtype="float32"),
    }
    if embedding.fastest() == "bfloat16":
        sides["ours, bfloat16 in tiles"] = lambda: embedding.embed(texts, folder, dtype="bfloat16")
    for work in sides.values():
        _ = theirs.encode(texts[:8]), work  # loads and compiles
        embedding.embed(texts[:8], folder, dtype="float32")
    spent: dict[str, list[float]] = {name: [] for name in sides}
    vectors: dict[str, np.ndarray] = {}  # type: ignore[type-arg]
    for _ in range(ROUNDS):
        for name, work in sides.items():
            vectors[name], seconds = timed(work)
            spent[name].append(seconds)
    base = "sentence-transformers, float32"
    print(f"{len(texts)} rows, {len(set(texts))} of them different\n")
    print("| way | rows per processor second | ratio | smallest cosine |\n|---|---|---|---|")
    ratios = {}
    for name in sides:
        ratios[name] = float(np.median(np.array(spent[base]) / np.array(spent[name])))
        cosine = float((vectors[name] * vectors[base]).sum(axis=1).min())
        print(f"| {name} | {len(texts) / np.median(spent[name]):.1f} | {ratios[name]:.2f}x | {cosine:.5f} |")
        if cosine < COSINE:
            return 1
    if max(ratios.values()) < MARK:
        print(f"\nUnder {MARK:g}x: " + ceiling())
    return 0


def ceiling() -> str:
    """Why: what share of the processor's own rate of multiplication the model's matrices already get."""
    import torch

    left, right = torch.randn(4096, 384), torch.randn(1536, 384)
    rates = []
    with torch.inference_mode():
        for _ in range(8):
            started = time.process_time()
            torch.nn.functional.linear(left, right)
            rates.append(2 * 4096 * 384 * 1536 / (time.process_time() - started) / 1e9)
    return (
        f"float32 matrices are multiplied at {max(rates):.0f} GFLOP a second on one core here, tiles for bfloat16: "
        f"{'yes' if embedding.fastest() == 'bfloat16' else 'none'}; both sides spend their time in the same multiplications."
    )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
