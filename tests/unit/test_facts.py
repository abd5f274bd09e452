"""Numbers, names, negations and code as what two wordings of one text share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.measuring import facts, snippets

CLOSE = """
def has_close(numbers: list, t: float) -> bool:
    ''' Any two closer than t?
    >>> has_close([1.0, 2.0], 0.5)
    False
    '''
    for a in numbers: return abs(a)
"""
NEAR = """
def near(nums, gap):
    '''Are two nearer than gap?
    >>> near([3.5, 4, 9], 1)
    True
    '''
    while nums: return abs(gap)
"""


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("three quarters of the 15", {0.75: 1, 15: 1}),
        ("3/4ths of 15", {0.75: 1, 15: 1}),
        ("75% of 15, 75 percent, 75 per cent", {0.75: 3, 15: 1}),
        ("two hundred and fifty-five", {255: 1}),
        ("twenty-five and six", {25: 1, 6: 1}),
        ("a third of 2,000", {0.333333: 1, 2000: 1}),
        ("2 million", {2_000_000: 1}),
        ("five and six", {5: 1, 6: 1}),
        ("-5 degrees, pages 10-12", {-5: 1, 10: 1, 12: 1}),
        ("one apple, a single apple, 1 apple", {}),
        ("twice as many as a dozen", {2: 1, 12: 1}),
        ("three, four", {3: 1, 4: 1}),
        ("half past", {0.5: 1}),
        ("$1.50 or .75", {1.5: 1, 0.75: 1}),
    ],
)
def test_numbers_are_the_same_however_they_are_written(text: str, numbers: dict[float, int]) -> None:
    assert dict(facts.numbers(text)) == numbers


@given(st.text(alphabet=st.sampled_from("0123456789.,/-−% \ntwo half hundred and third percent ٣²①"), max_size=60) | st.text())
def test_no_text_breaks_the_comparison(text: str) -> None:
    assert all(not math.isnan(value) for value in facts.numbers(text))
    assert facts.shared(facts.numbers(text), facts.numbers(text)) == 1.0
    assert facts.negations(text) >= 0
    assert facts.names(text) <= {word.lower() for word in facts.words(text)}
    made = snippets.snippet(text)
    assert made == snippets.snippet(text)
    assert facts.asked(text).strip() in text


@given(st.integers(2, 10**9))
def test_a_number_with_separators_is_the_number_without(value: int) -> None:
    assert facts.numbers(f"{value:,} of them") == facts.numbers(f"{value} of them")


def test_names_stand_in_upper_case_inside_a_sentence() -> None:
    assert facts.names("Then Paula met Omar. Trains leave. In June they left.") == {"paula", "omar", "june"}


def test_what_is_asked_is_the_last_question() -> None:
    assert facts.asked("Is it late? A ferry leaves at 9. When does she arrive? Think well.") == "When does she arrive?"
    assert facts.asked("Name a gas. Explain.") == "Explain."


def test_denials_are_counted_contracted_or_not() -> None:
    assert facts.negations("It isn't safe, never was, and nobody said it cannot be.") == 4
    assert facts.negations("It is safe; notable, known.") == 0


def test_programs_share_examples_by_shape_and_words_by_meaning() -> None:
    first, other = snippets.snippet(CLOSE), snippets.snippet(NEAR)
    assert first.examples == other.examples == {"([N],N)->B"}
    assert first.operators == other.operators
    assert first.calls & other.calls >= {"abs"}
    assert first.parameters == other.parameters == 2
    assert first.said == "has close. Any two closer than t?"
    assert snippets.snippet("def f(x): pass\nassert f('a') == 3").examples == {"(S)->N"}


def test_what_a_program_says_it_does_leaves_its_examples_out() -> None:
    told = [
        "The area of a triangle, 2 digits; -1 where area(a, b, c) is none.",
        *("For example:", "area(3, 4, 5) == 6.00", "area(1, 2, 10) gives -1", '"abc" => 3', "[1, 2] -> [2, 1]"),
        "Three sides (any two over the third) make one.",
    ]
    made = snippets.snippet('def area(a, b, c):\n    """\n    ' + "\n    ".join(told) + '\n    """')
    assert made.said == f"area. {told[0]} {told[-1]}"


def test_prose_is_no_code() -> None:
    assert snippets.is_code("x = 1\nasync def go(a):\n  pass")
    assert not snippets.is_code("They def (initely) went; def go: no.")
