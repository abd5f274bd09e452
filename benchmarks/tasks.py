"""One timed piece of work, ours or a peer's, in a process of its own; `run.py` starts these and compares them.

    python benchmarks/tasks.py quality_ours SHARED_DATA ROUNDS

Prints one JSON line: documents, processor seconds of each round, and the answer. Not timed: starting Python, imports, reading the
rows, and one call on a few rows beforehand, which loads compiled code here and language data there.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Work = Callable[[list[str]], list[Any]]


def rows(data: Path, step: int = 1) -> list[str]:
    with gzip.open(data / "instruct" / "self_instruct_t0.jsonl.gz") as file:
        return [json.loads(line)["text"] for line in file][::step]


def benchmark_items(data: Path) -> list[str]:
    with (
        (data / "benchmarks" / "gsm8k_test.jsonl").open() as gsm8k,
        gzip.open(data / "benchmarks" / "humaneval.jsonl.gz") as code,
    ):
        return [json.loads(line)["question"] for line in gsm8k] + [json.loads(line)["prompt"] for line in code]


# ---- quality statistics: keep or drop by GopherRepetition, GopherQuality and FineWeb, with datatrove's default limits


def quality_ours(_: Path) -> Work:
    import polars as pl

    from pytest_distill.gates.measures.quality import quality
    from pytest_distill.measuring.measure import declaration

    column = pl.col
    duplicates = zip(range(5, 11), (0.15, 0.14, 0.13, 0.12, 0.11, 0.10), strict=True)
    drop = pl.any_horizontal(
        column("chars") == 0,
        column("duplicate_paragraphs") > 0.3, column("duplicate_paragraph_chars") > 0.2,
        column("duplicate_lines") > 0.3, column("duplicate_line_chars") > 0.2,
        column("top_2") > 0.2, column("top_3") > 0.18, column("top_4") > 0.16,
        *(column(f"duplicate_{n}") > limit for n, limit in duplicates),
        ~column("plain_words").is_between(50, 100_000), ~column("mean_word_length").is_between(3, 10),
        column("hash_ratio") > 0.1, column("ellipsis_ratio") > 0.1, column("bullet_share") > 0.9,
        column("ellipsis_share") > 0.3, column("alpha_share") < 0.8, column("stop_words") < 2,
        column("terminal_share") < 0.12, column("short_share") > 0.67, column("repeated_chars") > 0.01,
        column("feed_ratio") > 0.3,
    )  # fmt: skip

    def work(texts: list[str]) -> list[Any]:
        return declaration(quality).function(pl.Series(texts)).struct.unnest().select(~drop).to_series().to_list()

    return work


def quality_datatrove(_: Path, split: Callable[[str, str], list[str]] | None = None) -> Work:
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        fineweb_quality_filter,
        gopher_quality_filter,
        gopher_repetition_filter,
    )

    if split is not None:
        for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
            module.split_into_words = split
    chain = [GopherRepetitionFilter(), GopherQualityFilter(), FineWebQualityFilter()]

    def work(texts: list[str]) -> list[Any]:
        return [all(f.filter(document) is True for f in chain) for document in (Document(text=t, id="") for t in texts)]

    return work


def quality_datatrove_split(data: Path) -> Work:
    return quality_datatrove(data, lambda text, _language: text.split())


# ---- near duplicates: which rows are dropped when the first of each kind stays, Jaccard 0.8 over word 5-grams


def near_ours(_: Path) -> Work:
    import polars as pl

    from pytest_distill.gates.measures.duplicates import near_duplicate_of
    from pytest_distill.measuring.measure import declaration
    from pytest_distill.policy.model import Duplicates

    def work(texts: list[str]) -> list[Any]:
        found = declaration(near_duplicate_of).function(pl.Series(texts), config=Duplicates(similarity=0.8))
        return found.struct.field("of").is_not_null().to_list()

    return work


def shingles(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[i : i + 5]) for i in range(len(words) - 4)} or {" ".join(words)}


def near_datasketch(_: Path) -> Work:
    from datasketch import MinHash, MinHashLSH

    def work(texts: list[str]) -> list[Any]:
        index, dropped = MinHashLSH(threshold=0.8, num_perm=128), []
        for row, text in enumerate(texts):
            signature = MinHash(num_perm=128)
            signature.update_batch([shingle.encode() for shingle in shingles(text)])
            duplicate = bool(index.query(signature))
            if not duplicate:
                index.insert(row, signature)
            dropped.append(duplicate)
        return dropped

    return work


def near_exact(_: Path) -> Work:
    """The answer by definition: each row's overlap with every kept row that shares a shingle, counted out."""

    def work(texts: list[str]) -> list[Any]:
        holders: dict[str, list[int]] = {}
        sizes: list[int] = []
        dropped = []
        for text in texts:
            mine = shingles(text)
            common: Counter[int] = Counter()
            for shingle in mine:
                common.update(holders.get(shingle, ()))
            duplicate = any(n / (len(mine) + sizes[other] - n) >= 0.8 for other, n in common.items())
            if not duplicate:
                for shingle in mine:
                    holders.setdefault(shingle, []).append(len(sizes))
                sizes.append(len(mine))
            dropped.append(duplicate)
        return dropped

    return work


# ---- contamination: which rows hold an item of GSM8K or HumanEval


def contamination_ours(data: Path) -> Work:
    import polars as pl

    from pytest_distill.gates.measures.contamination import contamination
    from pytest_distill.measuring.measure import declaration
    from pytest_distill.policy.model import Contamination

    benchmarks = [
        {"name": "gsm8k", "path": "benchmarks/gsm8k_test.jsonl", "fields": ["question"]},
        {"name": "humaneval", "path": "benchmarks/humaneval.jsonl.gz", "fields": ["prompt"]},
    ]
    config = Contamination.model_validate({"benchmarks": benchmarks})
    for benchmark in config.benchmarks:
        benchmark.path.pin(data)

    def work(texts: list[str]) -> list[Any]:
        whole = pl.Series(texts)
        found = declaration(contamination).function(whole.str.head(200), whole, config=config).struct
        return ((found.field("coverage") >= 0.78) | (found.field("run") >= 30)).to_list()

    return work


def contamination_sets(data: Path) -> Work:
    """The usual way: any word 13-gram in common, n-grams as joined strings in Python sets."""

    def grams(text: str) -> set[str]:
        words = re.findall(r"\w+", text.lower())
        return {" ".join(words[i : i + 13]) for i in range(len(words) - 12)}

    return any_in_common(data, grams)


def contamination_tuples(data: Path) -> Work:
    """The same with n-grams as tuples out of zip: the fastest plain Python we could think of."""

    def grams(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return set(zip(*(words[n:] for n in range(13)), strict=False))

    return any_in_common(data, grams)


def any_in_common(data: Path, grams: Callable[[str], set[Any]]) -> Work:
    forbidden = {gram for item in benchmark_items(data) for gram in grams(item)}

    def work(texts: list[str]) -> list[Any]:
        return [not forbidden.isdisjoint(grams(text)) for text in texts]

    return work


def planted(data: Path) -> list[str]:
    """For quality of the answer: items exact, the same edited (all numbers, a word in twelve), and GSM8K's training questions."""
    items, chance = benchmark_items(data), random.Random(20)
    vocabulary = [word for item in items for word in item.split()]
    edited = []
    for item in items:
        words = re.sub(r"\d+", lambda _: str(chance.randint(2, 999)), item).split(" ")
        for at in chance.sample(range(len(words)), -(-len(words) // 12)):
            words[at] = chance.choice(vocabulary)
        edited.append(" ".join(words))
    hosts = rows(data, 37)
    exact = [f"{host}\n{item}" for host, item in zip(hosts, items, strict=False)]
    changed = [f"{host}\n{item}" for host, item in zip(hosts, edited, strict=False)]
    with gzip.open(data / "benchmarks" / "gsm8k_train.jsonl.gz") as file:
        train = [f"{row['question']}\n{row['answer']}" for row in map(json.loads, file)]
    return exact + changed + train


def main(name: str, data: Path, step: int, rounds: int, plants: bool) -> None:
    texts = planted(data) if plants else rows(data, step)
    work: Work = globals()[name](data)
    answer = work(texts[:20])
    seconds = []
    for _ in range(rounds):
        started = time.process_time()  # not the wall: neighbours on a shared machine come and go
        answer = work(texts)
        seconds.append(time.process_time() - started)
    print(json.dumps({"documents": len(texts), "seconds": seconds, "answer": answer}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:] == ["planted"])
