"""Language identification side by side with fastText on the full text, and near duplicates against the exact answer.

    python benchmarks/language.py [language] [duplicates]

Needs the shared data folder (DISTILL_SHARED_DATA). Both sides run in this process, in turn; medians of processor time are
compared, and answers. Exits 1 when a mark is missed.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

DATA = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
ROUNDS = 3


def rows() -> list[str]:
    with gzip.open(DATA / "instruct" / "self_instruct_t0.jsonl.gz") as file:
        return [json.loads(line)["text"] for line in file]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    answer = work()
    return time.process_time() - began, answer


def language() -> bool:
    from pytest_distill.pipelines.preprocess import language as ours

    predict = ours._model().predict

    def full(texts: list[str]) -> list[str]:
        """fastText as its documentation has it: the whole text on one line."""
        answers = []
        for text in texts:
            ranked = predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict")
            answers.append(ranked[0][1].removeprefix("__label__") if ranked else "")
        return answers

    texts = rows()
    times: dict[str, list[float]] = {"ours": [], "full": []}
    for _ in range(ROUNDS):
        seconds, guesses = timed(lambda: ours.identify(texts))
        times["ours"].append(seconds)
        seconds, peer = timed(lambda: full(texts))
        times["full"].append(seconds)
    same = sum(guess.code == code for guess, code in zip(guesses, peer, strict=True)) / len(texts)
    ratio = statistics.median(times["full"]) / statistics.median(times["ours"])
    speed = {name: len(texts) / statistics.median(seconds) for name, seconds in times.items()}
    right = counted = right_full = 0
    files = sorted((DATA / "language").glob("*.txt"))
    for path in files:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        counted += len(lines)
        right += sum(guess.code == path.stem for guess in ours.identify(lines))
        right_full += sum(code == path.stem for code in full(lines))
    print(f"language: ours {speed['ours']:,.0f} docs/s, fastText on the full text {speed['full']:,.0f}: {ratio:.2f}x (mark 3x)")
    print(f"  the same answer on {same:.4%} of {len(texts):,} rows (mark 99.9%)")
    accuracy, plain = right / counted, right_full / counted
    print(f"  accuracy on {counted:,} sentences of {len(files)} languages: {accuracy:.4f} (mark 0.985); full text {plain:.4f}")
    return ratio >= 3 and same >= 0.999 and right / counted >= 0.985


def character_shingles(size: int) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """What the exact join takes for words: one hash a character, none in texts shorter than a shingle."""

    def pieces(block: Any) -> tuple[np.ndarray, np.ndarray]:
        parts, bounds = [], [0]
        for first, last in zip(block.offsets, block.offsets[1:], strict=False):
            points = np.frombuffer(bytes(block.data[first:last]).decode().encode("utf-32-le"), np.uint32).astype(np.uint64)
            hashes = (points + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
            hashes = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(0x9FB21C651E98DF25)
            parts.append(hashes if len(points) >= size else hashes[:0])
            bounds.append(bounds[-1] + len(parts[-1]))
        return np.concatenate(parts), np.array(bounds)

    return pieces


def duplicates() -> bool:
    from pytest_distill.measuring.folding import collapsed
    from pytest_distill.measuring.kernels import join, minhash
    from pytest_distill.measuring.kernels.buffers import flat

    texts = collapsed(pl.Series(rows())).unique(maintain_order=True)
    texts = texts.gather((-texts.str.len_bytes().cast(pl.Int64)).arg_sort())
    column, salt = flat(texts), minhash.salts(128, np.random.default_rng(0))
    order = np.arange(len(texts))
    warm = flat(texts.head(4))
    minhash.near_duplicates(warm, order[:4], *minhash.sign(warm, 13, salt), size=13, threshold=0.82)
    signing, signed = timed(lambda: minhash.sign(column, 13, salt))
    joining, found = timed(lambda: minhash.near_duplicates(column, order, *signed, size=13, threshold=0.82))
    join.words = character_shingles(13)  # type: ignore[assignment]
    exactly, (of, _) = timed(lambda: join.near_duplicates(column, size=13, threshold=0.82))
    ours, exact = found.of >= 0, of >= 0
    precision, recall = (ours & exact).sum() / ours.sum(), (ours & exact).sum() / exact.sum()
    print(f"near duplicates of {len(texts):,} different rows, character 13-grams, Jaccard 0.82: {exact.sum():,} by comparing all")
    print(f"  precision {precision:.4f} (mark 0.99), recall {recall:.4f} (mark 0.95)")
    print(f"  signing {len(texts) / signing:,.0f} docs/s, joining {len(texts) / joining:,.0f} docs/s, exact join {exactly:.1f} s")
    short = texts.filter(texts.str.len_chars() < 13)
    print(f"  {len(short):,} texts shorter than a shingle: {int(ours[-len(short) :].sum()) if len(short) else 0} merged")
    return precision >= 0.99 and recall >= 0.95


def main(names: list[str]) -> int:
    known = {"language": language, "duplicates": duplicates}
    if unknown := set(names) - set(known):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not there: this benchmark reads real rows. Set DISTILL_SHARED_DATA.")
    kept = [known[name]() for name in names or known]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
