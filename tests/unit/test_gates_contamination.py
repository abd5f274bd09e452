"""contamination.ngram: planted benchmark items, exact and edited, alone and inside other text; and what is none."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from pathlib import Path

import polars as pl
import pytest
from judging import Judgement, judge

from pytest_distill.errors import DistillError
from pytest_distill.gates import test_contamination as gates
from pytest_distill.gates.measures.contamination import contamination
from pytest_distill.measuring.measure import declaration
from pytest_distill.policy.model import Contamination

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
FERRY = "A ferry leaves the island every 40 minutes from 6:10 on. Paula reaches the pier at 9:05. How long does she wait for it?"
TULIPS = "A gardener plants tulips in 8 rows of 15 bulbs. A mole eats every sixth bulb. How many are left to flower in spring?"


def policy(root: Path, *benchmarks: tuple[str, str, tuple[str, ...]]) -> Contamination:
    table = Contamination.model_validate(
        {"benchmarks": [{"name": name, "path": path, "fields": fields} for name, path, fields in benchmarks]}
    )
    for benchmark in table.benchmarks:
        benchmark.path.pin(root)
    return table


def small(tmp_path: Path, *items: object, fields: tuple[str, ...] = ("question",)) -> Contamination:
    lines = [json.dumps(item if isinstance(item, dict) else {"question": item}) for item in items]
    (tmp_path / "bench.jsonl").write_text("\n".join(lines))
    return policy(tmp_path, ("small", "bench.jsonl", fields))


def judged(config: Contamination, rows: list[str], prompts: list[str] | None = None) -> Judgement:
    texts = pl.Series(rows, dtype=pl.String)
    asked = pl.Series(prompts if prompts is not None else [""] * len(rows), dtype=pl.String)
    return judge(gates.test_contamination, contamination=declaration(contamination).function(asked, texts, config=config))


def test_a_planted_item_is_named_with_the_piece_that_matched(tmp_path: Path) -> None:
    config = small(tmp_path, FERRY, TULIPS)
    verdict = judged(config, [f"Solve this.\n{TULIPS.upper()}\n100 are left.", "Tulips flower in spring.", FERRY])
    assert verdict.rejected == [True, False, True]
    assert verdict.found[0] is not None
    assert verdict.found[0].startswith("small 2, question: A GARDENER PLANTS TULIPS")
    assert verdict.found[2] == f"small 1, question: {FERRY.removesuffix('?')}"


def test_the_piece_is_right_after_letters_of_many_bytes(tmp_path: Path) -> None:
    verdict = judged(small(tmp_path, FERRY), [f"İstanbul ß 中文 😀 {FERRY}"])
    assert verdict.found == [f"small 1, question: {FERRY.removesuffix('?').lower()}"]


def test_edited_copies_are_found_and_questions_alike_are_not(tmp_path: Path) -> None:
    config = small(tmp_path, FERRY, TULIPS)
    edited = FERRY.replace("40", "25").replace("9:05", "11:47").replace("Paula", "Omar").replace("island", "harbour")
    alike = "A bus leaves the station every 20 minutes. How long does Paula wait for it when she comes at 7:30?"
    assert judged(config, [edited, alike]).rejected == [True, False]


def test_short_items_count_only_as_the_whole_prompt_or_row(tmp_path: Path) -> None:
    config = small(tmp_path, "What is 2 + 2?", "Paris", "4")
    rows = [
        "what is  2 + 2?\n4",
        "I know what is 2 + 2? Four.",
        "Capital of France?\nParis",
        "How many?\n4",
        "paris",
        "What is 3 + 2?\n5",
    ]
    prompts = ["What is 2 + 2?", "Say something", "Capital of France?", "How many?", "", "What is 3 + 2?"]
    assert judged(config, rows, prompts).rejected == [True, False, False, False, True, False]


def test_items_of_numbers_match_by_their_numbers_only(tmp_path: Path) -> None:
    config = small(tmp_path, "120 - 20 = 100, 100 / 4 = 25 and 25 * 2 = 50")
    rows = [
        "so 1, 2, 3: 120 - 20 = 100, 100 / 4 = 25 and 25 * 2 = 50 it is",
        "so 90 - 30 = 60, 60 / 3 = 20 and 20 * 4 = 80 it is",
    ]
    assert judged(config, rows).rejected == [True, False]


def test_texts_without_spaces_are_found_too(tmp_path: Path) -> None:
    item = "渡轮每四十分钟离开小岛一次保拉九点零五分到达码头她要等多久才能上船"
    assert judged(small(tmp_path, item), [f"请回答:{item}", "今天天气很好我们去海边走走吧"]).rejected == [True, False]


def test_choices_numbers_and_nulls_are_text_or_nothing(tmp_path: Path) -> None:
    config = small(tmp_path, {"q": None, "choices": [FERRY, TULIPS], "n": 7}, fields=("q", "choices", "n"))
    verdict = judged(config, [f"{FERRY}\n{TULIPS}", "7", "unrelated"])
    assert verdict.rejected == [True, True, False]


def test_a_field_that_an_item_lacks_is_an_error_of_the_policy(tmp_path: Path) -> None:
    config = small(tmp_path, {"question": FERRY}, {"prompt": TULIPS})
    with pytest.raises(DistillError, match=r"E-POLICY.*small: item 2 has no field question.*It has prompt"):
        judged(config, ["x"])
    config = small(tmp_path, {"question": {"en": FERRY}})
    with pytest.raises(DistillError, match="question of item 1 is no text"):
        judged(config, ["x"])


def test_a_changed_benchmark_file_of_the_same_name_is_read_again(tmp_path: Path) -> None:
    assert judged(small(tmp_path, FERRY), [TULIPS]).rejected == [False]
    assert judged(small(tmp_path, TULIPS), [TULIPS]).rejected == [True]


# ---- on real benchmarks


def records(name: str) -> list[dict[str, str]]:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not there, so contamination was not tried on real benchmarks")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return [json.loads(line) for line in file]


def edited(text: str, vocabulary: list[str], chance: random.Random) -> str:
    """All numbers changed, and one word in twelve (rounded up) replaced by a word of some other question."""
    text = re.sub(r"\d+", lambda _: str(chance.randint(2, 999)), text)
    words = text.split(" ")
    for at in chance.sample(range(len(words)), -(-len(words) // 12)):
        words[at] = chance.choice(vocabulary)
    return " ".join(words)


def planted(items: list[str], hosts: list[str], chance: random.Random) -> tuple[list[str], list[str]]:
    """Each item as a prompt, as an answer, or in the middle of an answer; prompts and whole rows."""
    prompts, rows = [], []
    for number, (item, host) in enumerate(zip(items, hosts, strict=True)):
        cut = chance.randrange(len(host) + 1)
        prompt, answer = [(item, host), (host[:80], item), ("Go on.", f"{host[:cut]}\n{item}\n{host[cut:]}")][number % 3]
        prompts.append(prompt)
        rows.append(f"{prompt}\n{answer}")
    return prompts, rows


@pytest.mark.parametrize(
    ("benchmark", "field"), [("gsm8k_test.jsonl", "question"), ("humaneval.jsonl.gz", "prompt")], ids=["gsm8k", "humaneval"]
)
def test_planted_items_are_caught_exact_and_edited(benchmark: str, field: str) -> None:
    items = [record[field] for record in records(f"benchmarks/{benchmark}")]
    hosts = [record["text"] for record in records("instruct/self_instruct_t0.jsonl.gz")[:: 55_360 // len(items)][: len(items)]]
    config = policy(SHARED, ("benchmark", f"benchmarks/{benchmark}", (field,)))
    chance = random.Random(20)
    vocabulary = [word for item in items for word in item.split()]
    assert judged(config, hosts).rejected == [False] * len(hosts)
    prompts, rows = planted(items, hosts, chance)
    assert judged(config, rows, prompts).rejected == [True] * len(items)
    prompts, rows = planted([edited(item, vocabulary, chance) for item in items], hosts, chance)
    caught = judged(config, rows, prompts).rejected
    assert sum(caught) >= 0.9 * len(items)
    assert sum(chance.sample(caught, 50)) >= 45


@pytest.mark.parametrize("fields", [("question",), ("question", "answer")])
def test_hardly_any_training_question_counts_as_a_test_question(fields: tuple[str, ...]) -> None:
    train = records("benchmarks/gsm8k_train.jsonl.gz")
    config = policy(SHARED, ("gsm8k", "benchmarks/gsm8k_test.jsonl", fields))
    rows = [f"{row['question']}\n{row['answer']}" for row in train]
    assert sum(judged(config, rows, [row["question"] for row in train]).rejected) <= 7
