"""The domain head on real text of eight domains, and density on a dataset known for its near duplicates."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from pytest_distill.contracts.domain import DomainData
from pytest_distill.measuring import embedding
from pytest_distill.measuring.density import density
from pytest_distill.measuring.folding import folded
from pytest_distill.measuring.kernels.buffers import flat
from pytest_distill.measuring.kernels.join import near_duplicates

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DISTILL_SHARED_DATA", ROOT / ".." / "shared" / "data"))
EACH = 72  # rows of a domain
SELF_INSTRUCT = "instruct/self_instruct_t0.jsonl.gz"
# Tasks of self-instruct whose texts are of one domain, by the beginning of their names.
SOURCES = {
    "news": ("cnn_", "xsum", "multi_news", "gigaword", "ag_news"),
    "reference": ("wiki_bio", "dbpedia"),
    "science": ("sciq", "qasc", "ropes", "quartz", "wiqa"),
    "prose": ("imdb", "yelp", "amazon", "rotten"),
    "conversation": ("samsum",),
}

pytestmark = [
    pytest.mark.skipif(not (DATA / SELF_INSTRUCT).is_file(), reason=f"no real data in {DATA}: F1 and density were not measured"),
    pytest.mark.skipif(importlib.util.find_spec(embedding.PACKAGE) is None, reason="no MiniLM here: F1 was not measured"),
]


def lines(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def chosen(texts: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """`count` of (text, family), in an order that no file has and every machine gives."""
    return sorted(texts, key=lambda item: hashlib.sha256(item[0].encode()).digest())[:count]


def rows() -> Iterator[tuple[str, str, str]]:
    """(text, domain, family): of each source of a domain the same number; paragraphs of one page are one family."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for number, row in enumerate(lines(SELF_INSTRUCT)):
        for domain, starts in SOURCES.items():
            if start := next((s for s in starts if row["source"].startswith(s)), None):
                found[domain, start].append((f"{row['instruction']}\n{row['response']}", f"{start}-{number}"))
    for row in lines("benchmarks/gsm8k_train.jsonl.gz"):
        found["math", "gsm8k"].append((f"{row['question']}\n{row['answer']}", row["question"]))
    for row in lines("benchmarks/humaneval.jsonl.gz"):
        found["code", "humaneval"].append((row["prompt"] + row["canonical_solution"], row["task_id"]))
    with gzip.open(DATA / "code" / "codegen_instruct.json.gz", "rt", encoding="utf-8") as file:
        for row in json.load(file):
            found["code", "codegen"].append((f"{row['instruction']}\n{row['input']}\n{row['response']}", row["instruction"]))
    for number, row in enumerate(lines("preference/hh_rlhf_harmless_test.jsonl.gz")):
        found["conversation", "hh"].append((row["chosen"], f"hh-{number}"))
    for page in sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]):
        paragraphs = page.read_text("utf-8").split("\n\n")
        found["technical", "own"] += [(text, page.name) for text in paragraphs if len(text) > 120]
    for (domain, source), texts in sorted(found.items()):
        share = EACH // sum(name == domain for name, _ in found)
        yield from ((text[:4000], domain, f"{source}:{family}") for text, family in chosen(texts, share))


def test_f1_of_eight_domains_of_real_text(record_property):
    from pytest_distill.pipelines.grading.domain.training import Labelled, Recipe, train
    from pytest_distill.pipelines.models.hidden import open_backbone

    texts, labels, groups = (list(column) for column in zip(*rows(), strict=True))
    assert len(set(labels)) == 8
    assert min(labels.count(label) for label in set(labels)) >= EACH - 4
    data = Labelled(texts, labels, groups, "label", "family", (DomainData(batch="real", sha256="0" * 64, rows=len(texts)),))
    recipe = Recipe(layer=6, epochs=30, lr=1e-3, max_tokens=96, held_out=0.3)
    record = train(data, open_backbone("minilm"), recipe).record
    worst = min(record.metrics.domains, key=lambda score: score.f1)
    record_property(
        "figure",
        f"domain head: macro F1 {record.metrics.macro_f1:.3f} on {record.training.rows_held_out} held-out rows of 8 domains "
        f"(lowest {worst.domain} {worst.f1:.3f}), calibration error {record.metrics.ece:.3f}",
    )
    assert record.metrics.macro_f1 > 0.85
    assert record.metrics.majority_f1 < 0.1


def test_density_tells_near_duplicates_and_templates_from_a_deduplicated_slice(record_property):
    raw = [f"{row['instruction']}\n{row['response']}" for _, row in zip(range(6000), lines(SELF_INSTRUCT), strict=False)]
    short = [text for text in raw if len(text) < 700][:400]  # neighbours in the file: one passage, several tasks
    of, _ = near_duplicates(flat(folded(pl.Series(raw))), size=5, threshold=0.3, threads=2)
    kept = [text for text, earlier in zip(raw, of.tolist(), strict=True) if earlier < 0 and len(text) < 700]
    spread = [text for text, _ in chosen([(text, "") for text in kept], 200)]
    template = [
        f"Write a friendly greeting for customer number {n} of the {p} department." for n in range(40) for p in ("sales", "legal")
    ]
    shares = {
        name: density(embedding.embed(texts, embedding.packaged()), 0.9)
        for name, texts in (("as it is", short), ("deduplicated", spread), ("templated", template))
    }
    told = [f"{name} {found.near_share:.2f} (largest cluster {found.largest_share:.2f})" for name, found in shares.items()]
    record_property("figure", f"density at cosine 0.9: {', '.join(told)}")
    assert shares["deduplicated"].near_share < 0.2 < shares["as it is"].near_share
    assert shares["deduplicated"].largest_share < 0.05
    assert shares["templated"].near_share > 0.9
