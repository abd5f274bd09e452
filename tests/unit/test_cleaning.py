"""Cutting raw completions of a base model: every rule, what each must spare, and what holds for any text."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_distill.pipelines.stage1.cleaning import DELIMITER, Cleaned, TrimRule, clean_response

CUT = [
    ("Paris###END###\n\nInstruction: next", "Paris", TrimRule.DELIMITER),
    ("One.\n\nTwo.\n###END### more ###END###", "One.\n\nTwo.", TrimRule.DELIMITER),
    ("###END###", "", TrimRule.DELIMITER),
    ("Paris\n###", "Paris", TrimRule.FRAGMENT),
    ("Paris ###EN", "Paris", TrimRule.FRAGMENT),
    ("Paris ### ###\nLyon", "Paris", TrimRule.FRAGMENT),
    ("Paris\n###END##\n", "Paris", TrimRule.FRAGMENT),
    ("Paris\n\nWhat is the capital of Spain?", "Paris", TrimRule.DOUBLE_NEWLINE),
    ("Paris\r\n \t\r\nMadrid", "Paris", TrimRule.DOUBLE_NEWLINE),
    ("- one\n- two\n\nWhat next?", "- one\n- two", TrimRule.DOUBLE_NEWLINE),
    ("```\na\n```\n\nWhat next?", "```\na\n```", TrimRule.DOUBLE_NEWLINE),
    ("4\nInstruction: Name a fruit.", "4", TrimRule.LINE_START),
    ("4\n### Instruction:\nName a fruit.", "4", TrimRule.LINE_START),
    ("4\nInstruction 2\nName a fruit.", "4", TrimRule.LINE_START),
    ("4\nQ: And 3+3?\nA: 6", "4", TrimRule.LINE_START),
    ("4\nA: 6", "4", TrimRule.LINE_START),
    ("4\n  Response: 6", "4", TrimRule.LINE_START),
    ("4\nQuestion: 6?", "4", TrimRule.LINE_START),
    ("Q: And 3+3?", "", TrimRule.LINE_START),
    ("```python\nx = 1\nQ: And 3+3?", "```python\nx = 1", TrimRule.LINE_START),
    ("4\nnext question please", "4", TrimRule.NEW_QUESTION),
    ("4\nMoving on.", "4", TrimRule.NEW_QUESTION),
    ("4\nNOW FOR something else", "4", TrimRule.NEW_QUESTION),
    ("4\nAnother question", "4", TrimRule.NEW_QUESTION),
]

SPARED = [
    "4",
    "Paris",
    "Hola",
    "No.",
    "Here is the code:\n\nprint(1)",
    "Les étapes :\n\nmélanger",
    "1. Mix.\n\n2. Bake.\n\n3. Eat.",
    "- one\n\n  still one\n\n- two",
    "To do:\n1.\n\nwash",
    "```python\ndef f():\n    return 1\n\n\ndef g():\n    return 2\n```",
    "```yaml\nQ: what\nA: that\n###\n```",
    "~~~\n```\n\nx\n~~~",
    "```python\nx = 1\n\ny = 2",
    "# Title\n### Steps\nMix.",
    "### Steps ###\nMix.",
    "#### 42",
    "In the next question he asks why, moving on to another question.",
    "Instructional design matters.",
    "Vitamin A: eyes",
    "Nextquestion",
    "The pound sign is #",
]


@pytest.mark.parametrize(("raw", "text", "rule"), CUT)
def test_each_rule_cuts_where_it_should(raw: str, text: str, rule: TrimRule) -> None:
    assert clean_response(raw) == Cleaned(text, rule)


@pytest.mark.parametrize("raw", SPARED)
def test_an_answer_is_left_whole(raw: str) -> None:
    assert clean_response(f" \n{raw}\n\n") == Cleaned(raw, None)


def test_the_first_rule_in_the_text_wins() -> None:
    assert clean_response("4\nQ: x\n\nmore").trim_rule is TrimRule.LINE_START
    assert clean_response("4\n\nQ: x").trim_rule is TrimRule.DOUBLE_NEWLINE


TEXTS = [
    "a",
    "Paris.",
    "What is that?",
    "Name a fruit.",
    "It is so, as far as anyone can tell from here.",
    "Dear Ann,",
    "x = 1;",
    "1.",
    "- item",
    "Q:",
    "A: b",
    "#",
    "steps:",
    "moving on",
    "Instruction",
    "### Title ###",
]
FENCES = ["```", "~~~", "```python", "###", "###EN", DELIMITER]
SPACES = ["\n", "\n\n", "\r\n", " ", "  ", "\t"]
pieces = st.lists(st.sampled_from([*TEXTS, *FENCES, *SPACES]), max_size=30).map("".join)


@given(st.one_of(pieces, st.text()))
@example("a ### ###\n\nb")
def test_the_answer_is_a_beginning_of_the_completion_and_holds_no_delimiter(raw: str) -> None:
    cleaned = clean_response(raw)
    assert raw.strip().startswith(cleaned.text)
    assert cleaned.text == cleaned.text.strip()
    assert DELIMITER not in cleaned.text
    assert (cleaned.trim_rule is None) == (cleaned.text == raw.strip())


@given(pieces)
def test_cleaning_twice_cuts_no_further(raw: str) -> None:
    once = clean_response(raw)
    if once.trim_rule is not TrimRule.DELIMITER:  # before a delimiter, blank lines are part of the answer
        assert clean_response(once.text) == Cleaned(once.text, None)


@given(st.text(), st.text())
def test_what_follows_the_delimiter_never_matters(answer: str, rest: str) -> None:
    assert clean_response(f"{answer}{DELIMITER}{rest}").text == answer.partition(DELIMITER)[0].strip()


@pytest.mark.parametrize(
    "unit", ["x:\n\n", "- a\n\n", "### ", "```\n", "\n \n", "  a\n\n", "#", "a, ", "What? ", "Title\n\nB c.\n\n", "x  -y = "]
)
def test_hostile_repetition_costs_linear_time(unit: str) -> None:
    def growth() -> float:
        short, long = (min(_timed("x:" + unit * repeats) for _ in range(3)) for repeats in (2_000, 64_000))
        return long / max(short, 0.001)

    # 32 times the text: linear work takes 32 times as long, quadratic work 1,024 times. A busy machine blurs it, so the best of
    # five tries counts.
    assert any(growth() < 200 for _ in range(5))


def _timed(text: str) -> float:
    started = time.process_time()
    clean_response(text)
    return time.process_time() - started
