"""Dates are the same however they are written, and nothing else is a date."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.measuring import dates
from pytest_distill.measuring.fidelity import differences, figures

WRITTEN = (
    "{0:%Y-%m-%d}",
    "{0:%B} {0.day}, {0.year}",
    "{0.day} {0:%b} {0.year}",
    "the {0.day}th of {0:%B}, {0.year}",
    "{0:%b}. {0.day} {0.year}",
)


@given(st.dates(datetime.date(1000, 1, 1), datetime.date(2999, 12, 31)), st.sampled_from(WRITTEN))
def test_a_date_is_one_value_in_every_spelling(date: datetime.date, written: str) -> None:
    rest, found = dates.split(f"Signed on {written.format(date)}.")
    assert found == [dates.BELOW - (date.year * 10_000 + date.month * 100 + date.day)]
    assert not any(sign.isdigit() for sign in rest)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Due on March 3rd and on 4 April.", [303, 404]),
        ("Open since March 2019.", [20190300]),
        ("It may 12 times; 05/12/2024; version 2024-13-01; May 5% hold; June 12:30; Mayor 5.", []),
    ],
)
def test_a_month_needs_a_day_or_a_year(text: str, found: list[int]) -> None:
    assert dates.split(text)[1] == [dates.BELOW - value for value in found]


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert all(value <= dates.BELOW for value in dates.split(text)[1])


def test_another_date_is_another_number() -> None:
    said = "The lease was signed on 2024-05-12."
    assert differences(figures(said, "They signed the lease on the 12th of May 2024.", 0.9)) == ()
    changed = ("numbers-came", "numbers-changed", "numbers-gone")
    assert differences(figures(said, "They signed the lease on the 12th of June 2024.", 0.9)) == changed
    assert "numbers-gone" in differences(figures(said, "They signed the lease.", 0.9))
