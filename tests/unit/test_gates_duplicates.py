"""duplicates.exact and duplicates.near: what they catch, what they leave alone, and that their answer is the exact one."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import datasketch
import polars as pl
import pytest
from judging import judge

from pytest_distill.gates import test_duplicates as gates
from pytest_distill.gates.measures.duplicates import exact_duplicate_of, near_duplicate_of
from pytest_distill.gates.measures.text import full_text
from pytest_distill.measuring.measure import declaration
from pytest_distill.policy.model import Duplicates

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))
LONG = "The old mill by the river was sold in spring to a couple from the city who wanted to grind their own flour again"


def exact(rows: list[str]) -> list[int | None]:
    return declaration(exact_duplicate_of).function(pl.Series(rows, dtype=pl.String)).to_list()


def near(rows: list[str], similarity: float = 0.8) -> list[int | None]:
    series = pl.Series(rows, dtype=pl.String)
    return declaration(near_duplicate_of).function(series, config=Duplicates(similarity=similarity)).struct.field("of").to_list()


def test_a_copy_is_found_whatever_its_case_spaces_and_composition() -> None:
    rows = ["Café au lait?", "  cafe\u0301   AU lait? ", "Café au lait", "Café au lait?"]
    assert exact(rows) == [None, 0, None, 0]


def test_a_short_answer_is_no_duplicate_under_another_prompt() -> None:
    prompts, answers = pl.Series(["What is 2 + 2?", "What is 3 + 1?"]), pl.Series(["4", "4"])
    both = declaration(full_text).function(prompts, answers).to_list()
    assert exact(both) == [None, None]
    assert near(both) == [None, None]


def test_blank_rows_are_no_duplicates_but_another_gates_matter() -> None:
    assert exact(["", " ", "a", "a", ""]) == [None, None, None, 2, None]
    assert near(["", " ", "...", ""]) == [None, None, None, None]


def test_a_row_with_one_word_changed_is_a_near_duplicate_of_the_first() -> None:
    text = f"{LONG} and {LONG.lower().replace('mill', 'windmill')}"
    assert near([text, text.replace("spring", "autumn", 1), "something else", text]) == [None, 0, None, 0]


def test_texts_under_five_words_are_compared_as_a_whole() -> None:
    assert near(["Paris", "paris", "London", "two words", "two  words", "words two"]) == [None, 0, None, None, 3, None]


def test_a_row_like_a_dropped_row_only_is_kept() -> None:
    words = [f"w{n}" for n in range(40)]
    first, second, third = words, [*words[4:], *"abcd"], [*words[8:], *"abcdefgh"]
    rows = [" ".join(r) for r in (first, second, third)]
    assert near(rows, similarity=0.75) == [None, 0, None]


def test_chinese_texts_have_shingles_too() -> None:
    text = "今年春天河边的老磨坊卖给了一对想自己磨面粉的城里夫妇他们很高兴"
    assert near([text, text.replace("春", "夏"), "完全不同的一句话关于山里的天气和雪"], similarity=0.6) == [None, 0, None]


def test_each_rejected_row_names_the_row_it_repeats() -> None:
    rows = pl.Series([LONG, LONG.upper(), LONG + " soon", "other"])
    columns = {
        "full_text": rows,
        "exact_duplicate_of": declaration(exact_duplicate_of).function(rows),
        "near_duplicate_of": declaration(near_duplicate_of).function(rows, config=Duplicates()),
    }
    copies = judge(gates.test_exact_duplicates, **columns)
    assert copies.rejected == [False, True, False, False]
    assert copies.found == [None, "same as rows.jsonl:1", None, None]
    assert copies.figures["share of exact duplicates"] == (0.25, {"at_most": 0.5})
    alike = judge(gates.test_near_duplicates, **columns)
    assert alike.rejected == [False, False, True, False]
    assert alike.found[2] == "like rows.jsonl:1, Jaccard 0.95"
    assert alike.figures["share of near and exact duplicates"][0] == 0.5


def test_on_real_rows_the_answer_is_that_of_comparing_all_pairs() -> None:
    """Ten slices of the file. All of it (55,360 rows, 22,710 drops) is compared by `python benchmarks/run.py near`."""
    path = SHARED / "instruct" / "self_instruct_t0.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there, so near duplicates were not compared with the exact answer on real rows")
    with gzip.open(path) as file:
        rows = [json.loads(line)["text"] for line in file]
    rows = [row for block in range(0, 50_000, 5_000) for row in rows[block : block + 60]]
    kept: list[set[tuple[str, ...]]] = []
    expected = []
    for row in rows:
        words = row.lower().split()
        shingles = {tuple(words[i : i + 5]) for i in range(len(words) - 4)} or {tuple(words)}
        expected.append(any(len(shingles & other) / len(shingles | other) >= 0.8 for other in kept))
        if not expected[-1]:
            kept.append(shingles)
    assert [of is not None for of in near(rows)] == expected
    assert sum(expected) > len(rows) / 10


def test_what_datasketch_finds_and_really_is_similar_is_found() -> None:
    """datasketch as the independent reference: its LSH nominates, exact Jaccard decides, and ours must have rejected the row."""
    curated = Path(__file__).parents[2] / "fixtures" / "rows" / "curated.jsonl"
    texts = [json.loads(line) for line in curated.read_text(encoding="utf-8").splitlines()]
    long = [row["response"] for row in texts if len(row["response"].split()) >= 30][:30]
    edited = [" ".join(["Indeed" if n == at else word for n, word in enumerate(text.split())]) for at, text in enumerate(long)]
    rows = [*long, *edited]
    ours = near(rows, similarity=0.5)
    sets = [{" ".join(words[i : i + 5]).lower() for i in range(len(words) - 4)} for words in map(str.split, rows)]
    index, found = datasketch.MinHashLSH(threshold=0.5, num_perm=128), 0
    for number, shingles in enumerate(sets):
        signature = datasketch.MinHash(num_perm=128)
        signature.update_batch([shingle.encode() for shingle in sorted(shingles)])
        alike = [other for other in index.query(signature) if len(shingles & sets[other]) / len(shingles | sets[other]) >= 0.5]
        if any(ours[other] is None for other in alike):  # an earlier row that was kept
            assert ours[number] is not None, rows[number]
            found += 1
        index.insert(number, signature)
    assert found >= 10, "the reference has to find something, or this compares nothing"
