"""Canonical JSON is that of RFC 8785: byte for byte what the reference implementation writes."""

from __future__ import annotations

import json
import struct

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_distill.batch.canonical import MAX_SAFE_INTEGER, NoCanonicalFormError, canonical, ecmascript_number

BITS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
FINITE = (BITS | st.floats()).filter(lambda f: f == f and abs(f) != float("inf"))
SAFE = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUE = st.recursive(
    st.none() | st.booleans() | SAFE | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUE)
@settings(max_examples=400, deadline=None)
@example({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\r": 4, "1": 5, "\u0080": 6})  # the RFC's own example of an order
@example({"a": [1.0, {"b": -0.0}], "c": "\x00\x1f\x7f\u2028"})
def test_every_value_has_the_bytes_of_the_reference(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(FINITE)
@settings(max_examples=800, deadline=None)
@example(1e21)
@example(1e20)
@example(123456789012345680000.0)
@example(1e-6)
@example(1.5e-7)
@example(-0.0)
@example(5e-324)
@example(9007199254740993.0)
def test_numbers_are_written_as_ecmascript_writes_them(number: float) -> None:
    assert ecmascript_number(number).encode() == rfc8785.dumps(number)


@given(VALUE)
@settings(max_examples=100, deadline=None)
def test_writing_a_value_again_does_not_change_its_canonical_form(value: object) -> None:
    assert canonical(json.loads(json.dumps(value, indent=3, sort_keys=True))) == canonical(value)
    assert canonical(json.loads(canonical(value))) == canonical(value)


def test_the_same_number_in_two_spellings_has_one_form() -> None:
    assert canonical(json.loads('{"a": 1e-7, "b": 100}')) == canonical(json.loads('{"b": 1.0E+2, "a": 0.0000001}'))


@pytest.mark.parametrize(
    "value", [2**53 + 1, {"id": 12345678901234567891}, 10**400, [float("nan")], float("inf"), {"\ue000": 2**60 + 1}]
)
def test_what_a_double_cannot_hold_is_refused_and_not_rounded(value: object) -> None:
    with pytest.raises(NoCanonicalFormError):
        canonical(value)
    with pytest.raises(rfc8785.CanonicalizationError):
        rfc8785.dumps(value)


def test_a_large_integer_that_is_a_double_is_that_double_in_both_spellings() -> None:
    assert canonical(json.loads("9007199254740992")) == canonical(json.loads("9007199254740992.0")) == b"9007199254740992"
    assert canonical(json.loads("[100000000000000000000]")) == canonical(json.loads("[1e20]"))


def test_the_value_itself_is_left_alone() -> None:
    value = {"a": {"b": [1.0, 2]}, "c": 3.5}
    canonical(value)
    assert value == {"a": {"b": [1.0, 2]}, "c": 3.5}
    assert [type(v) for v in value["a"]["b"]] == [float, int]
