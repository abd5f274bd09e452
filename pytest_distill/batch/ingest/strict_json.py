"""Strict JSON: one value from bytes, exactly as written, or why not.

Refused besides what RFC 8259 refuses: duplicate keys, NaN and Infinity (also numbers that overflow to it), lone surrogates,
a byte order mark, nesting beyond MAX_DEPTH. Integers stay exact, also those beyond 64 bits.

orjson reads nearly every value; it is silent about duplicate keys and turns integers beyond 64 bits into floats. A value is
taken from it only where neither can have happened, which costs four byte counts; the rest goes through the standard library.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import orjson

from pytest_distill.batch.ingest.records import MAX_DEPTH, Malformed
from pytest_distill.contracts.quarantine import Reason

BOM = b"\xef\xbb\xbf"
MAX_DIGITS = 308  # an integer of more overflows a double, so most readers of an export could not read it
_BEYOND_64_BITS = float(2**63)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_UNSURE = -1 << 62


def parse(data: bytes) -> Any:
    """The value of one JSON text. Raises Malformed."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _parse_strictly(data)
    if _keys(value, 1) == _pairs_at_most(data):
        return value
    return _parse_strictly(data)


def parse_object(data: bytes) -> dict[str, Any]:
    """The object that `data` holds. Raises Malformed, with NOT_AN_OBJECT for any other value."""
    value = parse(data)
    if type(value) is not dict:
        raise Malformed(Reason.NOT_AN_OBJECT, f"{_NAMES.get(type(value), 'a number')}, not an object")
    return value


_NAMES: dict[type, str] = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def _pairs_at_most(data: bytes) -> int:
    """An upper bound of the key-value pairs in the text: each has a quote and then a colon, with at most white space between."""
    count = data.count
    return count(b'":') + count(b" :") + count(b"\t:") + count(b"\n:") + count(b"\r:")


def _keys(value: Any, depth: int) -> int:
    """How many keys survived parsing (equal to the bound on pairs: no key was lost); below zero when the value is in doubt."""
    kind = type(value)
    if kind is dict:
        total, items = len(value), value.values()
    elif kind is list:
        total, items = 0, value
    else:
        return _UNSURE if kind is float and not -_BEYOND_64_BITS < value < _BEYOND_64_BITS else 0
    if depth > MAX_DEPTH:
        return _UNSURE
    for item in items:
        kind = type(item)
        if kind is not str and kind is not int:
            total += _keys(item, depth + 1)
    return total


def _parse_strictly(data: bytes) -> Any:
    if data.startswith(BOM):
        raise Malformed(Reason.BYTE_ORDER_MARK, "starts with a byte order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(Reason.INVALID_UTF8, f"byte {error.start + 1} is no UTF-8 (0x{data[error.start]:02x})") from error
    _check_depth(data)
    # The line's own end is no part of a value: a string that it cuts off is unterminated, and says so.
    text = text.rstrip(" \t\r\n")
    if not text:
        raise Malformed(Reason.MALFORMED_JSON, "nothing but white space")
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
        )  # fmt: skip
    except json.JSONDecodeError as error:
        raise Malformed(Reason.MALFORMED_JSON, f"{error.msg.removesuffix(' at')} at character {error.pos + 1}") from error
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise Malformed(
                Reason.LONE_SURROGATE, f"half of a surrogate pair: \\u{ord(error.object[error.start]):04x}"
            ) from error
    return value


def _check_depth(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKET.finditer(_STRING.sub(b"", data)):
        if found[0] in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")
        else:
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Malformed(Reason.DUPLICATE_KEY, f"the key {twice[:80]!r} occurs twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise Malformed(Reason.NON_FINITE_NUMBER, f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed(Reason.NON_FINITE_NUMBER, f"{text[:40]} overflows to infinity")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise Malformed(Reason.NON_FINITE_NUMBER, f"an integer of {len(text)} digits overflows to infinity")
    return int(text)
