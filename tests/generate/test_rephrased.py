"""contamination.meaning: benchmark items in other words, rows that only sound like them, and what it does without its model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import polars as pl
import pytest

from pytest_distill.errors import DistillError
from pytest_distill.gates import test_contamination as gates
from pytest_distill.gates.measures import rephrased
from pytest_distill.measuring import embedding
from pytest_distill.measuring.measure import declaration
from pytest_distill.policy.model import Meaning

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(embedding.PACKAGE) is None, reason="[embed] is not installed: rephrasings were not looked for"
)

FERRY = "A ferry leaves the island every 40 minutes from 6:10 on. Paula reaches the pier at 9:05. How long does she wait for it?"
TULIPS = "A gardener plants tulips in 8 rows of 15 bulbs. A mole eats every sixth bulb. How many are left to flower in spring?"
BAKER = (
    "A baker sells 120 rolls on Monday and half as many on Tuesday. Each roll costs $0.75. How much does he earn in both days?"
)
CHEESE = "Marta cuts 18 pounds of cheese into slices of 3 ounces, eats two and sells the rest for $4 each. What does she get?"
MEAN = '''def mean_gap(numbers: list) -> float:
    """ Return the mean difference between neighbours of a sorted list of numbers.
    >>> mean_gap([1.0, 3.0, 9.0])
    4.0
    """
'''
MEAN_BODY = """    gaps = []
    for a, b in zip(numbers, numbers[1:]):
        gaps.append(b - a)
    return sum(gaps) / len(gaps)
"""
OTHER_NAMES = '''def average_spacing(values):
    """Compute the average difference between adjacent elements of the sorted list of numbers.
    >>> average_spacing([2.0, 4.0, 12.0])
    5.0
    """
    spaces, index = [], 0
    while index < len(values) - 1:
        spaces.append(values[index + 1] - values[index])
        index += 1
    return sum(spaces) / len(spaces)
'''
OTHER_TASK = '''def longest_word(sentence):
    """Return the longest word of a sentence.
    >>> longest_word("a bird sings")
    'sings'
    """
    return max(sentence.split(), key=len)
'''


def config(folder: Path) -> Meaning:
    (folder / "sums.jsonl").write_text("\n".join(json.dumps({"question": text}) for text in (FERRY, TULIPS, BAKER, CHEESE)))
    (folder / "code.jsonl").write_text(json.dumps({"prompt": MEAN, "solution": MEAN_BODY}))
    table = Meaning.model_validate(
        {
            "contamination": {
                "semantic": True,
                "benchmarks": [
                    {"name": "sums", "path": "sums.jsonl", "fields": ["question"]},
                    {"name": "code", "path": "code.jsonl", "fields": ["prompt", "solution"]},
                ],
            },
            "embedding": {},
        }
    )
    for benchmark in table.contamination.benchmarks:
        benchmark.path.pin(folder)
    return table


class Judgement(NamedTuple):
    rejected: list[bool]
    found: list[str | None]


def judged(folder: Path, *rows: tuple[str, str]) -> Judgement:
    asked, told = (pl.Series([row[place] for row in rows], dtype=pl.String) for place in (0, 1))
    whole = pl.Series(["\n".join(part for part in row if part) for row in rows], dtype=pl.String)
    found = declaration(rephrased.rephrased).function(asked, told, whole, config=config(folder))
    said: list[Judgement] = []

    def quarantine(mask: pl.Series, *, found: pl.Series) -> None:
        said.append(Judgement(mask.to_list(), found.to_list()))

    gates.test_contamination_by_meaning(found, quarantine, SimpleNamespace(min_score=0.0))
    return said[0]


def test_an_item_in_other_words_is_named_with_its_figures(tmp_path: Path) -> None:
    verdict = judged(
        tmp_path,
        ("Ferries depart from the island every forty minutes, starting at 6:10. If Paula arrives at the pier at 9:05, how long "
         "must she wait for one?", "15 minutes"),
        ("", "On Monday a baker sold 120 rolls, and on Tuesday 50% of that number. At $0.75 a roll, what were his earnings over "
         "both days?"),
    )  # fmt: skip
    assert verdict.rejected == [True, True]
    assert verdict.found[0] is not None
    assert verdict.found[0].startswith("sums 1, question (score ")
    assert "cosine 0." in verdict.found[0]
    assert verdict.found[1] is not None
    assert verdict.found[1].startswith("sums 3, question")


def test_what_only_sounds_like_an_item_is_spared(tmp_path: Path) -> None:
    verdict = judged(
        tmp_path,
        ("A bus leaves the station every 20 minutes from 5:30 on. Omar reaches the stop at 8:15. How long does he wait?", "15"),
        ("A baker sells 75 loaves on Friday and twice as many on Saturday. Each loaf costs $2. How much does he earn?", "450"),
        ("When do tulips flower?", "In spring."),
        ("", ""),
        ("Write a poem about a ferry.", "The ferry leaves the island, slow, and Paula waits."),
    )
    assert verdict.rejected == [False] * 5


def test_code_is_compared_as_code(tmp_path: Path) -> None:
    verdict = judged(tmp_path, ("", OTHER_NAMES), ("", OTHER_TASK), ("What is a mean gap?", "The mean of differences."))
    assert verdict.rejected == [True, False, False]
    assert verdict.found[0] is not None
    assert verdict.found[0].startswith("code 1 (score ")


def test_an_item_inside_a_long_text_is_found(tmp_path: Path) -> None:
    around = "The weather was fine and nobody spoke about it for a while. " * 60
    asked = (
        "Ferries depart from the island every 40 minutes from 6:10 on. Paula arrives at the pier at 9:05. How long must she wait?"
    )
    assert judged(tmp_path, ("", f"{around}\n{asked}\n{around}")).rejected == [True]
    assert judged(tmp_path, ("", around)).rejected == [False]


def test_passages_lose_no_sentence() -> None:
    text = " ".join(f"Sentence number {number} stands here with some words." for number in range(200))
    cut = list(rephrased.passages(text))
    assert all(any(f"number {number} " in part for part in cut) for number in range(200))
    assert max(len(part.split()) for part in cut) < 2 * rephrased.LONGEST
    assert list(rephrased.passages("word " * 1000))
    assert list(rephrased.passages("   ")) == []


def test_few_rows_are_given_to_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    real = embedding.embed
    monkeypatch.setattr(embedding, "embed", lambda texts, *a, **k: given.extend(texts) or real(texts, *a, **k))
    rows = [(f"Tell me about the number {number} and its friends.", "It has many.") for number in range(300)]
    assert judged(tmp_path, *rows).rejected == [False] * 300
    assert len(given) < 30


def test_a_bound_that_would_see_nothing_is_refused() -> None:
    with pytest.raises(DistillError, match=r"E-POLICY.*min_score -9"):
        rephrased.bound(-9.0)
    assert rephrased.bound(rephrased.LOWEST) == rephrased.LOWEST
