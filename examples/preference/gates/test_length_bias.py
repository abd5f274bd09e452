"""Preference must not be a matter of length."""

import polars as pl

from pytest_distill import gate, measure


@measure(version=1)
def chosen_is_longer(chosen: pl.Series, rejected: pl.Series) -> pl.Series:
    """Whether the chosen answer has more characters than the rejected one."""
    return chosen.str.len_chars() > rejected.str.len_chars()


@gate("preference.length-bias", applies={"kind": ["preference"]}, limits={"max_share": 0.7})
def test_the_longer_answer_does_not_nearly_always_win(chosen_is_longer, require, limits):
    """In a fair share of the pairs the shorter answer was chosen."""
    require("share of pairs whose chosen answer is longer", chosen_is_longer.mean(), at_most=limits.max_share)
