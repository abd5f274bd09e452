"""A support assistant must not promise dates: nobody checked them."""

import polars as pl

from pytest_distill import gate, measure


@measure(version=1)
def promised_date(response: pl.Series) -> pl.Series:
    """The promise in an answer, such as "by Friday"; null where there is none."""
    return response.str.extract(r"(?i)\b((?:by|before|on) (?:mon|tues|wednes|thurs|fri|satur|sun)day)\b")


@gate("support.promises", rejects="promised_date")
def test_no_dates_are_promised(promised_date, response, quarantine):
    """Answers promise no date."""
    quarantine(promised_date.is_not_null(), found=promised_date, text=response)
