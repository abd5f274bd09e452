"""The workspace's own JSON Schema for rows: draft 2020-12, offline, in linear time.

Validation is the `jsonschema` package's. Two things differ. References reach the schema itself and the standard's own
meta-schemas, never the network. And `pattern` and `patternProperties` run in RE2, because a schema's patterns meet hostile
rows: Python's engine can take exponential time where RE2 cannot. RE2 has no look-around and no back-references, so a schema
that uses them is refused; otherwise its reading is nearer to ECMA 262 than Python's (`\\d` is ASCII, `$` is the very end).
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from pytest_distill.errors import Code, DistillError, one_line

MESSAGE = 200  # characters of a fault that are kept


@dataclass(frozen=True)
class RowValidator:
    """A schema that was checked, and the name under which the policy knows it."""

    name: str
    _validator: Any

    def fault(self, row: Any) -> str | None:
        """The first violation of a row as `path: message`, None when it satisfies the schema.

        Raises E-POLICY where the schema itself turns out unusable: a reference that leads nowhere or in a circle.
        """
        import referencing.exceptions as referencing_errors

        try:
            error = next(self._validator.iter_errors(row), None)
        except (RecursionError, referencing_errors.Unresolvable) as problem:
            raise _unusable(self.name, f"a reference leads nowhere or in a circle ({problem})") from problem
        return None if error is None else one_line(f"{error.json_path}: {error.message}")[:MESSAGE]


@functools.lru_cache(maxsize=4)
def load_validator(data: bytes, name: str) -> RowValidator:
    """A checked validator from a schema's bytes. Raises E-POLICY when it is no usable schema of draft 2020-12."""
    from jsonschema import FormatChecker
    from jsonschema.exceptions import SchemaError

    try:
        schema = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _unusable(name, f"it is no JSON: {error}") from error
    if not isinstance(schema, (dict, bool)):
        raise _unusable(name, "a schema is an object or a boolean")
    if isinstance(schema, dict) and schema.get("$schema", _DRAFT).rstrip("#") != _DRAFT:
        raise _unusable(name, f"it declares {schema['$schema']}, known is {_DRAFT}")
    kind = _linear_validator()
    try:
        kind.check_schema(schema, format_checker=FormatChecker(formats=()))  # patterns are checked by who runs them, below
    except SchemaError as error:
        raise _unusable(name, f"{error.json_path}: {error.message}") from error
    for pattern in _patterns(schema):
        _compiled(pattern, name)
    validator = RowValidator(name, kind(schema, registry=_registry()))
    validator.fault({})  # what cannot be resolved at all shows on any row
    return validator


# ECMA 262 knows the categories of Unicode by long names and scripts by "Script=Greek", RE2 by "L" and "Greek".
_LONG_NAME = re.compile(r"(\\[pP]\{)(?:(?:Script|sc|General_Category|gc)=)?(\w+)\}")
_SHORT = {
    "Letter": "L",
    "Lowercase_Letter": "Ll",
    "Uppercase_Letter": "Lu",
    "Mark": "M",
    "Number": "N",
    "Decimal_Number": "Nd",
    "Punctuation": "P",
    "Symbol": "S",
    "Separator": "Z",
}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _unusable(name: str, why: str) -> DistillError:
    return DistillError(Code.POLICY, f"{name} cannot be used as a JSON Schema: {why}", "See [record_schema] in distill.toml.")


def _patterns(schema: Any) -> Iterator[str]:
    """Every pattern below a schema, wherever a subschema may stand."""
    if isinstance(schema, list):
        for item in schema:
            yield from _patterns(item)
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        if isinstance(schema.get("patternProperties"), dict):
            yield from schema["patternProperties"]
        for key, value in schema.items():
            if key not in ("const", "enum", "default", "examples"):
                yield from _patterns(value)


@functools.cache
def _compiled(pattern: str, name: str) -> Any:
    import re2

    quiet = re2.Options()
    quiet.log_errors = False
    try:
        return re2.compile(_LONG_NAME.sub(lambda m: m[1] + _SHORT.get(m[2], m[2]) + "}", pattern), quiet)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error.args[0])
        raise _unusable(name, f"RE2 refuses the pattern {pattern!r}: {reason}") from error


def _registry() -> Any:
    """The meta-schemas of the standard and nothing else: a registry without a way to retrieve never asks the network."""
    import jsonschema_specifications

    return jsonschema_specifications.REGISTRY


@functools.cache
def _linear_validator() -> Any:
    """Draft 2020-12 with every regular expression run by RE2.

    jsonschema calls `re.search` from five functions. They are taken as they are, with their module's name `re` bound to RE2.
    The library itself is not touched, and tests/unit/test_gates_schema.py pins that these five are all.
    """
    from jsonschema import Draft202012Validator, _keywords, _utils, validators

    engine = types.SimpleNamespace(search=lambda pattern, text: _compiled(pattern, "the schema").search(text))
    additional = _rebound(_utils.find_additional_properties, re=engine)
    evaluated = _rebound(_utils.find_evaluated_property_keys_by_schema, re=engine)
    evaluated.__globals__["find_evaluated_property_keys_by_schema"] = evaluated
    return validators.extend(
        Draft202012Validator,
        {
            "pattern": _rebound(_keywords.pattern, re=engine),
            "patternProperties": _rebound(_keywords.patternProperties, re=engine),
            "additionalProperties": _rebound(_keywords.additionalProperties, find_additional_properties=additional),
            "unevaluatedProperties": _rebound(_keywords.unevaluatedProperties, find_evaluated_property_keys_by_schema=evaluated),
        },
    )


def _rebound(function: Callable[..., Any], **names: Any) -> types.FunctionType:
    """A copy of a function that finds `names` where it would find its module's."""
    assert isinstance(function, types.FunctionType)
    return types.FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__)
