"""quality.repetition and quality.symbols: what they catch, and what they leave alone."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import polars as pl
import pytest
from judging import judge

from pytest_distill.gates import test_repetition as repetition_gate
from pytest_distill.gates import test_symbols as symbols_gate
from pytest_distill.gates.measures.quality import quality, repeated_piece
from pytest_distill.measuring.measure import declaration

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))

PROSE = (
    "Rivers carry sand from the hills to the sea. On their way they sort it: heavy grains sink first, light ones travel far. "
    "Where the current slows, banks grow, and after a flood their shape is never what it was. People who live by a river learn "
    "to read these changes. They know which bend will be cut off next spring, which ford is safe after rain, and where the ice "
    "will break. None of this is written down. It is passed on in talk, while nets are mended, and a child who listens long "
    "enough knows more about water than any map can tell."
)
POEM = "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream."
LIST = "- apples\n- pears\n- plums\n- figs\n- quinces\n- grapes\n- cherries\n- dates"
HEADINGS = (
    "# Setup\n\n## Install\n\nRun it.\n\n## Use\n\nCall `main`.\n\n### Notes\n\nNone.\n\n# Help\n\n## Ask\n\nWrite to us.\n\n" * 1
)
PYTHON = (
    "# Sums the squares of a list.\ndef squares(xs):\n    # start at zero\n    total = 0\n    for x in xs:  # every item\n"
    "        total += x * x  # its square\n    return total  # done\n\n\n# Shows it.\nprint(squares([1, 2, 3]))  # 14\n"
)
INCLUDES = """#include <stdio.h>
#include <math.h>
#define SQ(x) ((x)*(x))

int main(void) {
    printf("%d\\n", SQ(3));
    return 0;
}
"""
JSON = json.dumps({"name": "kettle", "tags": ["steel", "1 l"], "price": {"eur": 24.5}, "stock": None}, indent=2)
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"
HINDI = "नदियाँ पहाड़ियों से समुद्र तक रेत ले जाती हैं और रास्ते में उसे छाँटती जाती हैं, भारी कण पहले डूबते हैं।"
THAI = "แม่น้ำพัดพาทรายจากภูเขาลงสู่ทะเลและคัดแยกเม็ดทรายไปตลอดทางน้ำที่ไหลช้าลงทำให้เกิดตลิ่ง"
SHORT = ["4", "Paris", "Hola", "No.", "", "Yes, yes, yes!", "1, 2, 3, 4, 5, 6", "Ha ha ha ha", "東京は日本の首都です。", "x = 1"]


def rejected(gate: object, answers: list[str]) -> list[bool]:
    texts = pl.Series(answers, dtype=pl.String)
    return judge(gate, quality=declaration(quality).function(texts), answer_text=texts).rejected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        "I do not know. " * 40,
        "the " * 12,
        "and so on and so on and so on and so on and so on and so on",
        "再见 再见 再见 再见 再见 再见 再见 再见 再见 再见 再见 再见",
        "\n".join(["The answer to this question is of course simple, as you will see."] * 3),
        PROSE + "\n\n" + PROSE + "\n\n" + PROSE,
        PROSE + "\n" + "It is what it is. " * 20,
        "\n".join(f"{line}" for line in [*PROSE.split(". "), *["Please subscribe to read on."] * 8]),
    ],
)
def test_answers_that_repeat_themselves_are_caught(answer: str) -> None:
    assert rejected(repetition_gate.test_repetition, [answer, PROSE]) == [True, False]


@pytest.mark.parametrize("answer", [*SHORT, POEM, LIST, HEADINGS, PYTHON, INCLUDES, JSON, TABLE, PROSE, HINDI, THAI])
def test_short_answers_lists_poems_and_code_do_not_repeat_themselves(answer: str) -> None:
    assert rejected(repetition_gate.test_repetition, [answer]) == [False]


@pytest.mark.parametrize(
    "answer",
    [
        "$$%%^^&&**(( ))!!@@##$$ %%^^&&**(())--==++ a1 ~~ {}[]|\\ <>?/ ;;::",
        " ".join(["#love #life #happy sun and sea"] * 10),
        "well... " * 25 + "so it goes, on and on, " * 6,
        "═" * 30 + "╬" * 30,
    ],
)
def test_symbol_soup_is_caught(answer: str) -> None:
    assert rejected(symbols_gate.test_symbols, [answer]) == [True]


@pytest.mark.parametrize(
    "answer",
    [*SHORT, POEM, LIST, HEADINGS * 5, PYTHON * 3, INCLUDES * 3, JSON, TABLE, PROSE, HINDI, THAI, "★★★★★", "Wait... what?"],
)
def test_headings_comments_code_and_stars_are_no_symbol_soup(answer: str) -> None:
    assert rejected(symbols_gate.test_symbols, [answer]) == [False]


def test_a_limit_decides() -> None:
    texts = pl.Series([PYTHON])
    figures = declaration(quality).function(texts)
    strict = judge(symbols_gate.test_symbols, limits={"max_symbol_share": 0.1}, quality=figures, answer_text=texts)
    assert strict.rejected == [True]
    strict = judge(
        repetition_gate.test_repetition, limits={"min_words": 5, "max_top_2": 0.01}, quality=figures, answer_text=texts
    )
    assert strict.rejected == [True]


def test_what_repeats_is_shown() -> None:
    texts = pl.Series(["A word of warning to all.\nfine\nA word of warning to all.\n" * 20, PROSE])
    judgement = judge(repetition_gate.test_repetition, quality=declaration(quality).function(texts), answer_text=texts)
    assert judgement.found == ["A word of warning to all.", None]
    assert judgement.why == ["max_repeated_lines = 0.3, here 0.967", None]
    short = pl.Series(["no no no no no no no no no no no no no", "One two three four five six seven eight nine ten. " * 3])
    judgement = judge(repetition_gate.test_repetition, quality=declaration(quality).function(short), answer_text=short)
    assert judgement.why == ["max_loop_share", "max_duplicate_5_short"]
    assert repeated_piece("no no no maybe") == "no"
    assert repeated_piece("all different words") is None


def test_an_empty_batch_has_figures_too() -> None:
    assert len(declaration(quality).function(pl.Series([], dtype=pl.String))) == 0


def test_real_code_answers_are_spared() -> None:
    path = SHARED / "code" / "codegen_instruct.json.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there, so the gates were not tried on 4,535 real code answers")
    with gzip.open(path) as file:
        answers = [row["response"] or "" for row in json.load(file)]
    assert sum(rejected(symbols_gate.test_symbols, answers)) <= 5
    assert sum(rejected(repetition_gate.test_repetition, answers)) <= 5
