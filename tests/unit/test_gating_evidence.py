"""Figures and their bounds, what counts as use of a column, and how a found piece is shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.contracts.run import Bound
from pytest_distill.errors import DistillError
from pytest_distill.gating.evidence import Limits, as_number, excerpt, holds, tracked

FINITE = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, FINITE)
def test_bounds_mean_what_arithmetic_means(value: float, limit: float) -> None:
    results = {op: holds(value, Bound(op=op, value=limit)) for op in ("below", "at_most", "above", "at_least", "equals")}  # type: ignore[arg-type]
    assert results == {
        "below": value < limit,
        "at_most": value <= limit,
        "above": value > limit,
        "at_least": value >= limit,
        "equals": value == limit,
    }


@pytest.mark.parametrize("op", ["below", "at_most", "above", "at_least"])
@pytest.mark.parametrize("value", ["1", True, False, ""])
def test_texts_and_truths_have_no_order(op: Any, value: Any) -> None:
    assert not holds(value, Bound(op=op, value=1))
    assert not holds(1, Bound(op=op, value=value))


def test_a_truth_is_no_number() -> None:
    assert not holds(True, Bound(op="equals", value=1))
    assert not holds(1, Bound(op="equals", value=True))
    assert holds(True, Bound(op="equals", value=True))
    assert holds("a", Bound(op="equals", value="a"))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        (0.5, 0.5),
        (np.float64(0.5), 0.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        ("a", "a"),
        (pl.Series([1.5]).mean(), 1.5),
    ],
)
def test_what_is_a_figure(value: Any, number: Any) -> None:
    found = as_number(value)
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize(
    "value",
    [None, math.nan, math.inf, -math.inf, np.float32("nan"), pl.Series([1]), [1], b"1", Decimal(1), object(), 1j],
    ids=lambda value: type(value).__name__,  # a repr may hold an address, and workers of xdist have to agree on names
)
def test_what_is_none(value: Any) -> None:
    assert as_number(value) is None


USES: dict[str, Callable[[pl.Series], Any]] = {
    "compared": lambda s: s > 1,
    "added to": lambda s: s + 1,
    "added": lambda s: 1 + s,
    "mean": lambda s: s.mean(),
    "length": len,
    "iterated": list,
    "indexed": lambda s: s[0],
    "sliced": lambda s: s[1:],
    "to list": lambda s: s.to_list(),
    "to numpy": lambda s: s.to_numpy(),
    "as array": np.asarray,
    "to arrow": lambda s: s.to_arrow().to_pylist(),
    "in a frame": lambda s: pl.DataFrame({"a": s}),
    "literal": lambda s: pl.select(pl.lit(s).sum()).item(),
    "concatenated": lambda s: pl.concat([s, s]),
    "renamed": lambda s: s.rename("x"),
    "filtered by another": lambda s: s.filter(pl.Series([True, False, True])),
    "filtering another": lambda s: pl.Series([1, 2, 3]).filter(s == 1),
    "with another": lambda s: pl.Series([1, 2, 3]) - s,
    "is in": lambda s: pl.Series([1]).is_in(s),
    "text": lambda s: s.cast(pl.String).str.len_chars(),
    "sum": sum,
    "equals": lambda s: s.equals(s),
    "value counts": lambda s: s.value_counts().height,
    "mapped": lambda s: s.map_elements(lambda x: x, return_dtype=pl.Int64),
}


@pytest.mark.parametrize("name", USES)
def test_any_operation_on_a_column_is_use_and_gives_what_it_would_give(name: str) -> None:
    used: set[str] = set()
    plain = pl.Series("n", [1, 2, 3])
    found, expected = USES[name](tracked(plain, "n", used)), USES[name](plain)
    assert used == {"n"}
    if isinstance(expected, pl.Series):
        assert (found.name, found.dtype, found.to_list()) == (expected.name, expected.dtype, expected.to_list())
    else:
        assert type(found) is type(expected)
        assert repr(found) == repr(expected)


def test_holding_a_column_is_no_use() -> None:
    used: set[str] = set()
    column = tracked(pl.Series([1, 2]), "n", used)
    kept = {"a": [column], "b": column}
    assert isinstance(kept["b"], pl.Series)
    assert column is kept["b"]
    assert used == set()


def test_what_is_derived_from_a_column_is_plain() -> None:
    used: set[str] = set()
    derived = tracked(pl.Series([1, 2]), "n", used) + 1
    used.clear()
    assert derived.sum() == 5
    assert used == set()


def test_a_gate_that_writes_into_a_column_reaches_nobody_else() -> None:
    plain = pl.Series([1, 2, 3])
    column = tracked(plain, "n", set())
    column[0] = 100
    column.append(pl.Series([4]))
    column.extend(pl.Series([5]))
    column.sort(descending=True, in_place=True)
    assert plain.to_list() == [1, 2, 3]


@given(st.text(max_size=200), st.text(min_size=1, max_size=150), st.text(max_size=200))
def test_an_excerpt_holds_the_piece_where_it_says(before: str, piece: str, after: str) -> None:
    shown, start, end = excerpt(before + piece + after, piece)
    assert start is not None
    assert end is not None
    assert shown[start:end] == piece[:120]
    assert len(shown) <= 60 + 120 + 60 + 2


@given(st.text(max_size=300), st.text(max_size=300) | st.none())
def test_an_excerpt_is_never_long_and_never_loses_what_was_found(text: str, piece: str | None) -> None:
    shown, _, _ = excerpt(text, piece)
    assert len(shown) <= 120 + 3 + 121 + 1
    assert not piece or piece[:120] in shown


def test_a_piece_without_surroundings_is_no_surrounding_of_its_own() -> None:
    assert excerpt("x" * 200, "x" * 200) == ("x" * 120 + "…", 0, 120)
    assert excerpt("short", "short") == ("short", 0, 5)


def test_limits_are_read_and_never_written() -> None:
    limits = Limits("own.gate", {"bound": 3})
    assert limits.bound == 3
    with pytest.raises(DistillError, match=r"own\.gate has no limit 'bond'"):
        _ = limits.bond
    with pytest.raises(DistillError, match=r"limits are set in distill\.toml"):
        limits.bound = 4
    assert limits.bound == 3
