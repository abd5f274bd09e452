"""The little language of transforms: where in a source row a value comes from. Compiled once into plain functions.

    "constant"              text without braces, a number, a boolean: itself
    "{a.b.0}"               the value at that path as it is, whatever its type; absent when there is none or it is null
    "review:{file}"         text with paths put in; absent as soon as one of them is. {@sig} is the row's signature, 16 digits
    ["{ts}", "{time}"]      the first that is there
    { join = […], by = "" } those that are there, as text
    { map = "{verdict}", to = { ok = "accept" }, otherwise = "…" }
    { function = "name" }   a plain function of the row: ours by name, yours as "file.py:name" beside the TOML file

Conditions (`when`) of markers: a value, which has to be there and neither false, zero nor empty; or
{ is = value, equals | one_of | at_least | above | at_most | below | ends_with = … }.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pytest_distill.errors import Code, DistillError

Row = dict[str, Any]
Value = Callable[[Row, str], Any]  # (source row, its sig_hash) -> value, None when absent
Condition = Callable[[Row, str], bool]
Function = Callable[[Row], Any]

_PLACE = re.compile(r"\{([^{}]+)\}")
SIGNATURE = "@sig"
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda found, wanted: type(found) is type(wanted) and bool(found == wanted),
    "one_of": lambda found, wanted: found in wanted,
    "at_least": lambda found, wanted: _number(found) and found >= wanted,
    "above": lambda found, wanted: _number(found) and found > wanted,
    "at_most": lambda found, wanted: _number(found) and found <= wanted,
    "below": lambda found, wanted: _number(found) and found < wanted,
    "ends_with": lambda found, wanted: isinstance(found, str) and found.endswith(wanted),
}


def value(spec: Any, functions: Mapping[str, Function], where: str) -> Value:
    """Compiles one value. Raises E-POLICY, naming `where`, for what the language does not know."""
    if isinstance(spec, str):
        return _text(spec, where)
    if isinstance(spec, bool | int | float):
        return lambda row, sig: spec  # noqa: ARG005
    if isinstance(spec, list) and spec:
        return _first([value(item, functions, where) for item in spec])
    if isinstance(spec, dict):
        if spec.keys() == {"function"}:
            name = spec["function"]
            if name not in functions:
                raise _wrong(where, f"there is no function {name!r}; there are {', '.join(sorted(functions))}")
            function = functions[name]
            return lambda row, sig: function(row)  # noqa: ARG005
        if spec.keys() - {"by"} == {"join"} and isinstance(spec["join"], list):
            return _join([value(item, functions, where) for item in spec["join"]], str(spec.get("by", " ")))
        if spec.keys() - {"otherwise"} == {"map", "to"} and isinstance(spec["to"], dict):
            return _map(value(spec["map"], functions, where), spec["to"], spec.get("otherwise"))
    raise _wrong(where, f"{spec!r} is no value")


def condition(spec: Any, functions: Mapping[str, Function], where: str) -> Condition:
    """Compiles a `when`. Raises E-POLICY."""
    if not isinstance(spec, dict) or "is" not in spec:
        found = value(spec, functions, where)
        return lambda row, sig: bool(found(row, sig))
    found = value(spec["is"], functions, where)
    names = spec.keys() - {"is"}
    if len(names) != 1 or not names <= _COMPARE.keys():
        raise _wrong(where, f"a condition has `is` and one of {', '.join(_COMPARE)}")
    name = names.pop()
    compare, wanted = _COMPARE[name], spec[name]
    return lambda row, sig: compare(found(row, sig), wanted)


def at(row: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path of keys and positions; None when there is nothing."""
    for part in path:
        if type(row) is dict:
            row = row.get(part)
        elif type(row) is list and part.isdigit() and int(part) < len(row):
            row = row[int(part)]
        else:
            return None
    return row


def _text(spec: str, where: str) -> Value:
    names = _PLACE.findall(spec)
    if _PLACE.sub("", spec).count("{") or _PLACE.sub("", spec).count("}"):
        raise _wrong(where, f"{spec!r} has a brace too many")
    if not names:
        return lambda row, sig: spec  # noqa: ARG005
    places = [_place(name) for name in names]
    if _PLACE.fullmatch(spec):
        return places[0]
    pieces = _PLACE.split(spec)[::2]

    def filled(row: Row, sig: str) -> str | None:
        text = pieces[0]
        for place, piece in zip(places, pieces[1:], strict=True):
            found = place(row, sig)
            if found is None:
                return None
            text += _as_text(found) + piece
        return text

    return filled


def _place(name: str) -> Value:
    if name == SIGNATURE:
        return lambda row, sig: sig[:16]  # noqa: ARG005
    if "." not in name:
        return lambda row, sig: row.get(name)  # noqa: ARG005
    path = tuple(name.split("."))
    return lambda row, sig: at(row, path)  # noqa: ARG005


def _first(values: list[Value]) -> Value:
    def first(row: Row, sig: str) -> Any:
        for each in values:
            found = each(row, sig)
            if found is not None:
                return found
        return None

    return first


def _join(values: list[Value], by: str) -> Value:
    def joined(row: Row, sig: str) -> str | None:
        found = [_as_text(item) for each in values if (item := each(row, sig)) is not None]
        return by.join(text for text in found if text) or None

    return joined


def _map(found: Value, to: dict[str, Any], otherwise: Any) -> Value:
    def mapped(row: Row, sig: str) -> Any:
        key = found(row, sig)
        return None if key is None else to.get(_as_text(key), otherwise)

    return mapped


def _as_text(item: Any) -> str:
    if type(item) is str:
        return item
    if item is True or item is False:
        return "true" if item else "false"
    if type(item) is list:
        return "\n".join(map(_as_text, item))
    return str(item)


def _number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _wrong(where: str, problem: str) -> DistillError:
    return DistillError(Code.POLICY, f"{where}: {problem}", "docs/evidence.md explains the language.")
