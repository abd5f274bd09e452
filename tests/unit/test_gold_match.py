"""Bulk against gold, on answers like gold's and on shifted ones, each named by its figure."""

from __future__ import annotations

import json
import random
from pathlib import Path

import polars as pl
import pytest

from pytest_distill.gates.measures.gold_match import effects
from pytest_distill.measuring.two_sample import holm

MARGINS = {"max_delta": 0.2, "max_difference": 0.15, "max_refusal_difference": 0.05}
SHIPPED = Path(__file__).parents[2] / "fixtures" / "rows" / "gold.jsonl"
THINGS = ["river", "copper", "maple", "harbour", "lantern", "violin", "glacier", "meadow", "compass", "orchard"]
FRENCH = "La rivière coule doucement vers le port où les bateaux attendent depuis longtemps sous une pluie fine."
REFUSAL = "I can't help with that, because it would put somebody else at risk."


def rows(count: int, seed: int) -> pl.DataFrame:
    """Answers of one to four sentences, a list now and then, one in five a refusal."""
    rng = random.Random(seed)
    asked, answered = [], []
    for _ in range(count):
        a, b = rng.sample(THINGS, 2)
        asked.append(f"Tell me how the {a} and the {b} are alike{' and where they differ' * rng.randint(0, 1)}.")
        sentences = [
            f"The {a} is {rng.choice(['older', 'smaller', 'warmer', 'brighter'])} than the {b}.",
            f"Both the {b} and the {a} {rng.choice(['change', 'last', 'wear out'])} with the years.",
            f"People have {rng.choice(['drawn', 'used', 'praised'])} the {a} for a long time.",
            "Which one matters more depends on what you need.",
        ]
        text = " ".join(rng.sample(sentences, rng.randint(1, 4)))
        if rng.random() < 0.2:
            text = "\n".join(f"- {sentence}" for sentence in rng.sample(sentences, 3))
        answered.append(REFUSAL if rng.random() < 0.2 else text)
    return pl.DataFrame({"q": asked, "a": answered})


def refuted(bulk: pl.DataFrame, gold: pl.DataFrame) -> set[str]:
    found = dict(effects(bulk, gold, **MARGINS))
    return {name for name, p in zip(found, holm([effect.p for effect in found.values()]), strict=True) if p < 0.05}


def answers(frame: pl.DataFrame, expression: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(expression.alias("a"))


@pytest.mark.parametrize("size", [10, 80])
def test_bulk_from_gold_s_distribution_passes(size: int) -> None:
    assert [refuted(rows(200, seed), rows(size, 1000 + seed)) for seed in range(10)] == [set()] * 10


ONCE_MORE = pl.col("a") + " " + pl.col("a")


@pytest.mark.parametrize(
    ("change", "figure"),
    [
        (ONCE_MORE, "length of answers"),
        (pl.col("a").str.to_lowercase(), "lower case throughout"),
        (pl.lit(FRENCH), "words of the gold set"),
        (pl.col("a").str.strip_chars_end("."), "closing punctuation"),
        (pl.concat_str(pl.lit('{"answer": "'), pl.col("a").str.replace_all("\n", " "), pl.lit('"}')), "JSON"),
        (pl.concat_str(pl.lit("Use `x = 1`. "), pl.col("a")), "code"),
        (pl.concat_str(pl.lit("- one\n- two\n"), pl.col("a")), "list items"),
        (pl.when(pl.col("a") == REFUSAL).then(pl.lit("The river is older than the copper.")).otherwise("a"), "refusals"),
        (pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit(REFUSAL)).otherwise("a"), "refusals"),
    ],
)
def test_shifted_bulk_fails_and_the_figure_is_named(change: pl.Expr, figure: str) -> None:
    assert figure in refuted(answers(rows(300, 1), change), rows(120, 2))


@pytest.mark.parametrize("figure", ["lower case throughout", "words of the gold set"])
def test_ten_gold_rows_are_enough_for_what_is_far_off(figure: str) -> None:
    change = pl.col("a").str.to_lowercase() if figure.startswith("lower") else pl.lit(FRENCH)
    assert figure in refuted(answers(rows(150, 1), change), rows(10, 2))


def test_garbage_fails_against_the_gold_set_that_is_shipped() -> None:
    gold = pl.DataFrame([json.loads(line) for line in SHIPPED.read_text("utf-8").splitlines()]).select(
        q="instruction", a="response"
    )
    assert refuted(pl.DataFrame({"q": ["a"] * 100, "a": ["zz qq " * 60] * 100}), gold)
    assert refuted(pl.concat([gold] * 10), gold) == set()


def test_effects_have_intervals_and_signs() -> None:
    found = dict(effects(answers(rows(200, 1), ONCE_MORE), rows(60, 2), **MARGINS))
    assert all(effect.low <= effect.value <= effect.high for effect in found.values())
    assert found["length of answers"].low > 0
