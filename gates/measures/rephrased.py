"""Which rows hold an item of a forbidden benchmark in other words: what the two say compared exactly, beside their meaning.

A model of meaning alone puts the questions of GSM8K's training split as near to its test questions as a rephrasing is. What tells
them apart is what a rephrasing keeps: the numbers, the names, what is asked for; and of code the examples, the calls and the
literals. Each pair of row and item gets figures for these, and a logistic regression, fitted once (`WEIGHTS`), weighs them.

The cheap comparison comes first: only pairs that could still reach the bound with a cosine of 1 are given to the model, so
that a large dataset costs embeddings for the few rows that resemble a benchmark at all, and the answer is the same.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from pytest_distill import measure
from pytest_distill.batch.ingest.formats import read_records
from pytest_distill.errors import Code, DistillError
from pytest_distill.gates.measures.contamination import Uncompared, item_text
from pytest_distill.measuring import embedding, facts, snippets
from pytest_distill.policy.model import Meaning

if TYPE_CHECKING:
    from pytest_distill.measuring.kernels.postings import Postings

SHOWN: Final = 300
NEAREST: Final = {"prose": 8, "code": 32}  # items that a row is compared with in full
LONGEST: Final = 160  # words of a passage; longer texts are cut at sentences, with half of each passage in the next one
FEWEST: Final = 4  # stems; shorter items say too little of their own, and count only word for word (contamination.ngram)
LOWEST: Final = -2.0  # pairs that stay under it with a cosine of 1 are not given to the model, so no bound can lie lower
BLOCK: Final = 2000  # passages whose similarities are held at once
FIELDS = {"score": pl.Float64, "cosine": pl.Float64, "item": pl.String, "piece": pl.String}

PROSE_FIGURES: Final = (
    "cosine", "numbers", "rare_numbers", "shared_numbers", "stems", "stems_held", "names", "other_names", "asked", "asked_held",
    "length",
)  # fmt: skip
CODE_FIGURES: Final = (
    "cosine", "words", "words_held", "named", "named_held", "calls", "strings", "numbers", "numbers_held", "operators",
    "parameters", "examples", "inputs",
)  # fmt: skip


class Weights(NamedTuple):
    """A logistic regression: score = constant + sum of coefficient x figure. 0 is the bound that was chosen with it."""

    constant: float
    coefficients: dict[str, float]

    def score(self, figures: Sequence[float]) -> float:
        return self.constant + sum(w * f for w, f in zip(self.coefficients.values(), figures, strict=True))


# Fitted by `python -P benchmarks/rephrased.py --fit` on the even half of the rephrasings of GSM8K and HumanEval that come with
# lm-sys/llm-decontaminator, and of rows that hold none (GSM8K's training split; code instructions of GPTeacher), with
# all-MiniLM-L6-v2. The constants are set so that at a score of 0 the even half of these rows has 0.15% (prose) and 0.5% (code)
# flagged; docs/benchmarks.md has the figures of the odd half.
PROSE: Final = Weights(
    -13.818,
    {
        "cosine": 5.410,
        "numbers": 3.730,
        "rare_numbers": 3.307,
        "shared_numbers": 2.053,
        "stems": 1.980,
        "stems_held": 3.303,
        "names": 2.854,
        "other_names": -2.387,
        "asked": 1.190,
        "asked_held": 1.231,
        "length": -1.848,
    },
)
CODE: Final = Weights(
    -8.650,
    {
        "cosine": 2.880,
        "words": 1.670,
        "words_held": 1.217,
        "named": 1.587,
        "named_held": 2.374,
        "calls": 1.266,
        "strings": 0.675,
        "numbers": 0.996,
        "numbers_held": 1.547,
        "operators": 2.774,
        "parameters": 0.797,
        "examples": 3.457,
        "inputs": 1.710,
    },
)


class Passage(NamedTuple):
    """A stretch of prose as what is compared of it."""

    text: str
    numbers: Counter[float]
    stems: frozenset[str]
    names: frozenset[str]
    words: frozenset[str]  # all of them in lower case, where names are looked for
    asked: frozenset[str]
    length: int

    def terms(self) -> set[Hashable]:
        """Stems, and the numbers with how often each was met before: what passages are looked up by."""
        return {*self.stems, *_places(self.numbers)}


@dataclass(frozen=True, eq=False)
class Family:
    """Items of one kind with the weights of their terms: the rarer among the items, the more a term says."""

    labels: list[str]
    items: list[Any]
    looked_up: Postings
    weights: list[dict[Hashable, float]]  # of each set that is weighed, by rarity among the items; unknown terms weigh 1


@dataclass(frozen=True, eq=False)
class Forbidden:
    prose: Family
    code: Family


class Pair(NamedTuple):
    row: int
    item: int
    figures: list[float]  # with a cosine of 1 as long as nobody computed it
    piece: str
    said: str


@measure(version=1, config="meaning")
def rephrased(prompt_text: pl.Series, answer_text: pl.Series, full_text: pl.Series, config: Meaning) -> pl.Series:
    """Struct: the benchmark item that a row most likely holds in other words (`item`, null where none comes near).

    score   log-odds by the fitted weights, above the bound chosen with them; -inf where nothing came near: where it stays
            under LOWEST with a cosine of 1, without a model's having been asked
    cosine  of the embeddings of row and item
    piece   what was compared of the row
    Raises E-EXTRA-MISSING without the extra, E-MODEL for weights that are none, E-POLICY for a field that an item lacks.
    """
    benchmarks = config.contamination.benchmarks
    folder = embedding.folder_of(config.embedding)
    embedding.available()
    forbidden = read(tuple((b.name, b.path.sha256, b.fields) for b in benchmarks), Uncompared(benchmarks))
    best: dict[int, tuple[float, float, str, str]] = {}
    for weights, family, pairs in (
        (PROSE, forbidden.prose, prose_pairs(forbidden.prose, prompt_text, answer_text)),
        (CODE, forbidden.code, code_pairs(forbidden.code, prompt_text, full_text)),
    ):
        near = [pair for pair in pairs if weights.score(pair.figures) >= LOWEST]
        for pair, cosine in zip(near, cosines(family, near, folder), strict=True):
            score = weights.score([cosine, *pair.figures[1:]])
            if pair.row not in best or score > best[pair.row][0]:
                best[pair.row] = (score, cosine, family.labels[pair.item], pair.piece[:SHOWN])
    values = [best.get(row, (-math.inf, 0.0, None, None)) for row in range(len(full_text))]
    return pl.DataFrame(values, schema=FIELDS, orient="row").to_struct("rephrased")


def bound(score: float) -> float:
    """The gate's bound. Raises E-POLICY for one under LOWEST, which would not see what it asks for."""
    if score < LOWEST:
        raise DistillError(Code.POLICY, f"min_score {score:g} is under {LOWEST:g}", "Lower scores are not computed.")
    return score


# ---- items


@functools.lru_cache(maxsize=4)
def read(key: tuple[Any, ...], benchmarks: Uncompared) -> Forbidden:  # noqa: ARG001 - the key is what the cache compares
    """Reads the benchmarks once for all shards. A record whose fields together are a function is one item, else each field is."""
    prose: list[tuple[str, str]] = []
    code: list[tuple[str, str]] = []
    for benchmark in benchmarks:
        for number, record in enumerate(read_records(benchmark.path.resolved), start=1):
            fields = [(name, item_text(benchmark, number, record, name)) for name in benchmark.fields]
            whole = "".join(text for _, text in fields)
            if snippets.is_code(whole):
                code.append((f"{benchmark.name} {number}", whole))
            else:
                prose += [(f"{benchmark.name} {number}, {name}", text) for name, text in fields]
    return Forbidden(prose_family(prose), code_family(code))


def prose_family(items: Iterable[tuple[str, str]]) -> Family:
    from pytest_distill.measuring.kernels import postings

    known = [(label, made) for label, text in items if len((made := passage(text)).stems) >= FEWEST]
    passages = [made for _, made in known]
    weighed = [_rarity([made.stems for made in passages]), _rarity([_places(made.numbers) for made in passages])]
    return Family([label for label, _ in known], passages, postings.build([made.terms() for made in passages]), weighed)


def code_family(items: Iterable[tuple[str, str]]) -> Family:
    from pytest_distill.measuring.kernels import postings

    known = [(label, made) for label, text in items if len((made := snippets.snippet(text)).named) >= FEWEST]
    made_of = [made for _, made in known]
    sets = ("words", "named", "calls", "strings", "numbers")
    weighed = [_rarity([getattr(made, name) for made in made_of]) for name in sets]
    return Family([label for label, _ in known], made_of, postings.build([made.named for made in made_of]), weighed)


def _rarity(sets: Sequence[Iterable[Hashable]]) -> dict[Hashable, float]:
    counted = Counter(term for terms in sets for term in terms)
    scale = math.log(len(sets) + 1)
    return {term: math.log((len(sets) + 1) / count) / scale for term, count in counted.items()}


# ---- rows


def passage(text: str) -> Passage:
    words = [word.lower() for word in facts.words(text)]
    return Passage(
        text, facts.numbers(text), facts.stems(text), facts.names(text), frozenset(words),
        facts.stems(facts.asked(text)), len(text.split()),
    )  # fmt: skip


def passages(text: str) -> Iterator[str]:
    """The text, or where it is longer than an item is, stretches of whole sentences of about LONGEST words."""
    if len(text.split()) <= 2 * LONGEST:
        if text.strip():
            yield text
        return
    held: list[str] = []
    fresh = False
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
        for start in range(0, max(1, len(words := sentence.split())), LONGEST):
            held.append(" ".join(words[start : start + LONGEST]))
            fresh = True
            if sum(len(part.split()) for part in held) >= LONGEST:
                yield " ".join(held)
                held, fresh = held[(len(held) + 1) // 2 :], False
    if fresh and held:
        yield " ".join(held)


def prose_pairs(family: Family, prompts: pl.Series, answers: pl.Series) -> Iterator[Pair]:
    """Prompts and answers, passage by passage, each with the items it shares most with."""
    if not family.items:
        return
    places: dict[str, list[int]] = {}  # equal passages are compared once
    for column in (prompts, answers):
        for row, text in enumerate(column):
            for stretch in passages(text):
                places.setdefault(stretch, []).append(row)
    texts = list(places)
    for start in range(0, len(texts), BLOCK):
        made = [passage(text) for text in texts[start : start + BLOCK]]
        for number, item in _nearest(family, [one.terms() for one in made], NEAREST["prose"]):
            figures = prose_figures(family, made[number], family.items[item])
            for row in dict.fromkeys(places[made[number].text]):
                yield Pair(row, item, figures, made[number].text, made[number].text)


def code_pairs(family: Family, prompts: pl.Series, texts: pl.Series) -> Iterator[Pair]:
    """Rows that define a function, whole, each with the items it shares most with."""
    if not family.items:
        return
    rows = texts.str.contains(r"(?m)^[ \t]*(?:async )?def[ \t]+\w+[ \t]*\(").arg_true().to_list()
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        made = [snippets.snippet(texts[row], prompts[row]) for row in block]
        for number, item in _nearest(family, [one.named for one in made], NEAREST["code"]):
            figures = code_figures(family, made[number], family.items[item])
            yield Pair(block[number], item, figures, texts[block[number]], made[number].said)


def _nearest(family: Family, rows: Sequence[Iterable[Hashable]], most: int) -> Iterator[tuple[int, int]]:
    """(row, item): up to `most` items of each row that share a term with it, by the weight of what they share."""
    from pytest_distill.measuring.kernels import postings

    alike = postings.jaccard(family.looked_up, rows)
    count = min(most, alike.shape[1])
    chosen = np.argpartition(-alike, count - 1, axis=1)[:, :count]
    for row, items in enumerate(chosen.tolist()):
        for item in sorted(items):
            if alike[row, item] > 0:
                yield row, item


# ---- figures of a pair


def prose_figures(family: Family, row: Passage, item: Passage) -> list[float]:
    stems, numbers = family.weights
    rare, _, common = _shared(numbers, _places(row.numbers), _places(item.numbers), both_empty=1.0)
    alike, held, _ = _shared(stems, row.stems, item.stems)
    asked, _, _ = _shared(stems, row.asked, item.asked)
    _, asked_held, _ = _shared(stems, row.stems, item.asked)
    named = len(item.names & row.words) / len(item.names) if item.names else 0.5
    other = min(len(row.names - item.words), 3) / 3
    length = abs(math.log((row.length + 1) / (item.length + 1)))
    return [
        1.0, facts.shared(row.numbers, item.numbers), rare, min(common, 1.0), alike, held, named, other, asked, asked_held,
        length,
    ]  # fmt: skip


def code_figures(family: Family, row: snippets.Snippet, item: snippets.Snippet) -> list[float]:
    words, named, calls, strings, numbers = family.weights
    alike, held, _ = _shared(words, row.words, item.words)
    parts, parts_held, _ = _shared(named, row.named, item.named)
    literal, literal_held, _ = _shared(numbers, row.numbers, item.numbers)
    operators = sum((row.operators | item.operators).values())
    return [
        1.0, alike, held, parts, parts_held, _shared(calls, row.calls, item.calls)[0],
        _shared(strings, row.strings, item.strings)[0], literal, literal_held,
        sum((row.operators & item.operators).values()) / operators if operators else 0.0,
        float(row.parameters == item.parameters), _held(row.examples, item.examples), _held(row.inputs, item.inputs),
    ]  # fmt: skip


def _shared(
    rarity: dict[Hashable, float], row: Iterable[Hashable], item: Iterable[Hashable], *, both_empty: float = 0.0
) -> tuple[float, float, float]:
    """Weighed by rarity: Jaccard similarity, the share of the item's that the row holds, and the weight of what both hold."""
    ours, theirs = set(row), set(item)

    def weigh(terms: set[Hashable]) -> float:
        return math.fsum(rarity.get(term, 1.0) for term in terms)  # exact, so that the order of a set says nothing

    common, union, whole = weigh(ours & theirs), weigh(ours | theirs), weigh(theirs)
    return common / union if union else both_empty, common / whole if whole else both_empty, common


def _held(row: frozenset[str], item: frozenset[str]) -> float:
    return len(row & item) / len(item) if item else 0.0


def _places(numbers: Counter[float]) -> set[Hashable]:
    """A multiset as a set: each number with how often it was met before."""
    return {(number, place) for number, count in numbers.items() for place in range(count)}


def cosines(family: Family, pairs: Sequence[Pair], folder: Path) -> list[float]:
    """Of each pair, in float32 on every machine: they are few, and a decision shall not hang on the processor."""
    if not pairs:
        return []
    items = sorted({pair.item for pair in pairs})
    place = {item: number for number, item in enumerate(items)}
    theirs = embedding.embed([_said(family.items[item]) for item in items], folder, dtype="float32")
    ours = embedding.embed([pair.said for pair in pairs], folder, dtype="float32")
    return [float(ours[number] @ theirs[place[pair.item]]) for number, pair in enumerate(pairs)]


def _said(item: Passage | snippets.Snippet) -> str:
    return item.said if isinstance(item, snippets.Snippet) else item.text
