"""Embeddings beside plain sentence-transformers, in one run, on one core: `python -P benchmarks/embedding.py [ROWS]`

The same texts (questions of GSM8K, rows of instructions): there in float32, in its own batches of 32 of like length; here equal
texts once, in batches of like length, in float32, and in bfloat16 where the processor has units for it. Prints Markdown with the
cosines between the vectors of the two; exits 1 where a cosine falls under its mark, or where bfloat16 has its units and stays
under 3x. sentence-transformers is none of our dependencies: pip install it first. Needs [embed] and the shared data folder.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pytest_distill.measuring import embedding

DATA = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
SETS = {"GSM8K": ("benchmarks/gsm8k_train.jsonl.gz", "question"), "self-instruct": ("instruct/self_instruct_t0.jsonl.gz", "text")}
ROUNDS = 3
COSINE, MARK = 0.995, 3.0
PLAIN = "sentence-transformers, float32"

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def read(name: str, field: str, rows: int) -> list[str]:
    """Texts from the whole of a set, evenly."""
    with gzip.open(DATA / name, "rt") as file:
        every = [str(json.loads(line)[field]) for line in file]
    return every[:: max(1, len(every) // rows)][:rows]


def timed(work: Callable[[list[str]], Vectors], texts: list[str]) -> tuple[Vectors, float]:
    started = time.process_time()
    return work(texts), time.process_time() - started


def ways() -> dict[str, Callable[[list[str]], Vectors]]:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    folder = embedding.packaged()
    theirs = SentenceTransformer(str(folder), device="cpu")
    assert next(theirs.parameters()).dtype is torch.float32
    made: dict[str, Callable[[list[str]], Vectors]] = {
        PLAIN: lambda texts: theirs.encode(texts, batch_size=32, normalize_embeddings=True),
        "ours, float32": lambda texts: embedding.embed(texts, folder),
    }
    if embedding.has_bfloat16():
        made["ours, bfloat16"] = lambda texts: embedding.embed(texts, folder, dtype="bfloat16")
    return made


def main(rows: int) -> int:
    sides, missed = ways(), False
    for work in sides.values():
        work(["loads and compiles"])
    print(processor() + "\n")
    print("| texts | way | texts per processor second | ratio | smallest cosine | mean cosine |\n|---|---|---|---|---|---|")
    for name, place in SETS.items():
        texts = read(*place, rows)
        spent: dict[str, list[float]] = {way: [] for way in sides}
        vectors: dict[str, Vectors] = {}
        for _ in range(ROUNDS):
            for way, work in sides.items():
                vectors[way], seconds = timed(work, texts)
                spent[way].append(seconds)
        for way in sides:
            ratio = float(np.median(np.array(spent[PLAIN]) / np.array(spent[way])))
            cosines = (vectors[way] * vectors[PLAIN]).sum(axis=1)
            told = f"{ratio:.2f}x | {cosines.min():.5f} | {cosines.mean():.5f}" if way != PLAIN else "1.00x |  | "
            print(f"| {name}, {len(texts)} | {way} | {len(texts) / np.median(spent[way]):.1f} | {told} |", flush=True)
            missed |= bool(cosines.min() < COSINE) or (way.endswith("bfloat16") and ratio < MARK)
    return int(missed)


def processor() -> str:
    """Its name, and at what rate one core multiplies: what bounds every way of embedding."""
    import torch

    told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = (re.findall(r"model name\s*: (.*)", told) or ["?"])[0]
    has = [unit for unit in ("avx2", "avx512f", *embedding.UNITS) if f" {unit}" in told]
    states, weight = torch.randn(2048, 384), torch.randn(1536, 384)
    linear, packed = torch.nn.functional.linear, embedding._multiplication(torch, weight, None)
    half = states.bfloat16(), weight.bfloat16()
    rates = {
        "MKL, float32": rate(lambda: linear(states, weight)),
        "oneDNN, float32": rate(lambda: packed(states)),
        "oneDNN, bfloat16": rate(lambda: linear(*half)),
    }
    shown = ", ".join(f"{way} {speed:.0f}" for way, speed in rates.items())
    return f"{name} with {', '.join(has)}; GFLOP a second on one core: {shown}."


def rate(multiply: Callable[[], object]) -> float:
    """GFLOP a second of a product of (2048, 384) and (384, 1536), the best of eight."""
    import torch

    best = 0.0
    with torch.inference_mode():
        for _ in range(8):
            started = time.process_time()
            multiply()
            best = max(best, 2 * 2048 * 384 * 1536 / (time.process_time() - started) / 1e9)
    return best


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 256))
