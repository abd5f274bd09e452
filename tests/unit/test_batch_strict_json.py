"""Strict JSON accepts what RFC 8259 accepts, refuses the rest by name, and changes no value."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_distill.batch.ingest.records import MAX_DEPTH, Malformed
from pytest_distill.batch.ingest.strict_json import parse, parse_object
from pytest_distill.contracts.quarantine import Reason

SUITE = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")) / "hostile" / "json_test_suite"

SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def same(left: object, right: object) -> bool:
    """Equal, and of equal types: 1 is not 1.0, and not True."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return left == right


def reason_of(data: bytes) -> Reason:
    with pytest.raises(Malformed) as caught:
        parse(data)
    return caught.value.reason


@settings(max_examples=300)
@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_any_value_comes_back_exactly(value: object, ascii_only: bool, indent: object, separators: tuple[str, str]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators)
    assert same(parse(text.encode()), value)


@settings(max_examples=200)
@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), st.data())
def test_a_key_given_twice_is_found_wherever_it_hides(value: dict, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    space = data.draw(st.sampled_from(["", " ", "\t", "\n", " \r\n "]))
    pairs = [f"{json.dumps(name)}{space}:{json.dumps(item)}" for name, item in [*value.items(), (key, 1)]]
    inner = "{" + ",".join(pairs) + "}"
    assert reason_of(inner.encode()) is Reason.DUPLICATE_KEY
    assert reason_of(f'{{"a":[1,{inner}],"b":": \\": "}}'.encode()) is Reason.DUPLICATE_KEY


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":1}', Reason.DUPLICATE_KEY),
        (b'{"a":1,"\\u0061":1}', Reason.DUPLICATE_KEY),
        (b'{"a\\\\":1,"a\\\\":1}', Reason.DUPLICATE_KEY),
        (b"NaN", Reason.NON_FINITE_NUMBER),
        (b'{"a":-Infinity}', Reason.NON_FINITE_NUMBER),
        (b"[1e400]", Reason.NON_FINITE_NUMBER),
        (b"1" * 400, Reason.NON_FINITE_NUMBER),
        (b"1" * 100_000, Reason.NON_FINITE_NUMBER),
        (b'"\\ud800"', Reason.LONE_SURROGATE),
        (b'{"\\udc00":1}', Reason.LONE_SURROGATE),
        (b'"\\ud800\\ud800"', Reason.LONE_SURROGATE),
        (b'"\xed\xa0\x80"', Reason.INVALID_UTF8),
        (b'"\xc0\xaf"', Reason.INVALID_UTF8),
        (b'"caf\xe9"', Reason.INVALID_UTF8),
        (b"\xef\xbb\xbf{}", Reason.BYTE_ORDER_MARK),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), Reason.TOO_DEEP),
        (b"[" * 2_000_000, Reason.TOO_DEEP),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, Reason.TOO_DEEP),
        (b'["' + b"[" * 500 + b"]", Reason.MALFORMED_JSON),
        (b"", Reason.MALFORMED_JSON),
        (b"{'a':1}", Reason.MALFORMED_JSON),
        (b'{"a":1,}', Reason.MALFORMED_JSON),
        (b'{"a":1} x', Reason.MALFORMED_JSON),
        (b'"a\nb"', Reason.MALFORMED_JSON),
        (b"01", Reason.MALFORMED_JSON),
    ],
)
def test_each_malformation_has_its_own_reason(data: bytes, reason: Reason) -> None:
    assert reason_of(data) is reason


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b'"' + b"[" * 500 + b'"', "[" * 500),
        (b'{"a":1}\r', {"a": 1}),
        (b"18446744073709551616", 18446744073709551616),
        (b"-9223372036854775809", -9223372036854775809),
        (b"9223372036854775808.0", 9223372036854775808.0),
        (b'{"n":[123456789012345678901234567890]}', {"n": [123456789012345678901234567890]}),
        (b'"\\ud83d\\ude00\\u0000"', "😀\0"),
        (b'{"say":"a\\":b : c"}', {"say": 'a":b : c'}),
        (b"-0.0", -0.0),
    ],
)
def test_legal_values_are_kept_exactly(data: bytes, value: object) -> None:
    found = parse(data)
    assert value is None or same(found, value)


@pytest.mark.parametrize(("data", "said"), [(b"[]", "an array"), (b'"x"', "a string"), (b"null", "null"), (b"1", "a number")])
def test_what_is_no_object_is_told_by_its_kind(data: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=f"{said}, not an object") as caught:
        parse_object(data)
    assert caught.value.reason is Reason.NOT_AN_OBJECT


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0d8aNe1- \n', max_size=40).map(str.encode))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    try:
        value = parse(data)
    except Malformed:
        return
    assert same(json.loads(data), value)


@pytest.mark.skipif(
    not SUITE.is_dir(), reason="JSONTestSuite is not there (DISTILL_SHARED_DATA): 318 hostile files were not tried"
)
def test_the_json_test_suite() -> None:
    stricter = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}  # legal JSON, and data lost
    wrong = set()
    files = sorted(SUITE.glob("*.json"))
    for file in files:
        try:
            parse(file.read_bytes())
            accepted = True
        except Malformed:
            accepted = False
        if accepted != {"y": True, "n": False}.get(file.name[0], accepted):
            wrong.add(file.name)
    assert wrong == stricter
    assert len(files) > 300


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": "never closed}\n', "Unterminated string starting at character 7"),
        (b"\n", "nothing but white space"),
        (b"  \r\n", "nothing but white space"),
        (b'{"a": "two\nlines"}\n', "Invalid control character at character 11"),
    ],
)
def test_a_line_that_is_cut_off_says_so(data: bytes, said: str) -> None:
    with pytest.raises(Malformed) as told:
        parse_object(data)
    assert (told.value.reason, told.value.message) == (Reason.MALFORMED_JSON, said)
