"""RFC 8785 canonical JSON, fast: the bytes that `rfc8785.dumps` gives, some thirty times sooner.

orjson already writes strings as the RFC wants them. What is left are numbers, written as ECMAScript writes them, and the order
of keys beyond the Basic Multilingual Plane, where UTF-16 and UTF-8 disagree.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

MAX_SAFE_INTEGER = 2**53 - 1
_HIGH = "\ud800"  # from here on UTF-16 code units and code points may be in different orders


class NoCanonicalFormError(ValueError):
    """A value that RFC 8785 cannot write: an integer that a double cannot hold, or a number that is not finite."""


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value as a strict parser gives it. Raises NoCanonicalFormError."""
    try:
        return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)
    except _OtherOrderError:
        return _in_utf16_order(value)


class _OtherOrderError(Exception):
    pass


def _in_utf16_order(value: Any) -> bytes:
    if type(value) is dict:
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return b"{" + b",".join(orjson.dumps(key) + b":" + _in_utf16_order(value[key]) for key in keys) + b"}"
    if type(value) is list:
        return b"[" + b",".join(map(_in_utf16_order, value)) + b"]"
    return orjson.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """`value` with its floats as the text they get. A container without any is handed on as it is, not copied."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        changed = None
        for key, item in value.items():
            if not key.isascii() and max(key) >= _HIGH:
                raise _OtherOrderError
            if type(item) is not str and (plain := _plain(item)) is not item:
                changed = dict(value) if changed is None else changed
                changed[key] = plain
        return value if changed is None else changed
    if kind is list:
        items = [item if type(item) is str else _plain(item) for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if kind is int:
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else _large(value)
    if kind is float:
        return orjson.Fragment(ecmascript_number(value))
    raise TypeError(f"{kind.__name__} is no JSON value")


def _large(value: int) -> orjson.Fragment:
    """An integer as the double that it is, where writing that double gives these digits: 2**53 is, 2**53 + 1 is not.

    The reference refuses all of them, so the same number written as 1e20 and with its 21 digits would have two fates.
    """
    try:
        text = ecmascript_number(float(value))
    except OverflowError as error:
        raise NoCanonicalFormError("an integer overflows a double") from error
    if text != str(value):
        raise NoCanonicalFormError(f"{value} is an integer that no double holds")
    return orjson.Fragment(text)


def ecmascript_number(value: float) -> str:
    """A double as ECMAScript's Number::toString writes it: the shortest digits that read back as the same number."""
    if not math.isfinite(value):
        raise NoCanonicalFormError(f"{value} is no JSON number")
    text = repr(value)  # the same shortest digits, in Python's layout
    if "e" not in text:
        whole, _, rest = text.partition(".")
        return text if rest != "0" else "0" if whole == "-0" else whole
    digits, _, exponent = text.partition("e")
    sign = "-" if digits[0] == "-" else ""
    whole, _, rest = digits.lstrip("-").partition(".")
    significant, power = whole + rest, int(exponent)
    if 0 <= power < 21:
        return sign + significant + "0" * (power - len(rest))
    if -7 < power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{significant}"
    return f"{digits}e{power:+d}"
