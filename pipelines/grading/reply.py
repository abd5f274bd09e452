"""From what a model wrote to a score, or to a refusal with a code of its own. Nothing is repaired, and nothing is clamped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from json import JSONDecodeError
from typing import Any, Final

from pydantic import ValidationError

from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.grading import DIMENSIONS, TOLERANCE, ScorerOutput, aggregate
from pytest_distill.errors import Code, DistillError

_AGAIN: Final = "A score is one JSON object and nothing else."
_SPACE: Final = " \t\n\r"
# What a judge is asked for. The rest of the contract is known here: what ran, and what the scores give.
ASKED: Final = (*DIMENSIONS, "domain")
STAMPED: Final = ("aggregated", "scorer_model", "scorer_version")


class _TwiceError(ValueError):
    pass


class _NotFiniteError(ValueError):
    pass


def scorer_output(text: str, *, model: str, version: str, weights: Mapping[str, float]) -> ScorerOutput:
    """The score in a judge's reply, stamped with what ran.

    Fields that are stamped may be in the reply; then they have to agree. Raises E-SCORE-…: JSON, PROSE, SEVERAL, MISSING, EXTRA,
    TYPE, NAN, RANGE, AGGREGATED, MODEL.
    """
    value = json_object(text)
    if isinstance(value.get("scorer_model", model), str) and value.get("scorer_model", model) != model:
        raise _wrong(Code.SCORE_MODEL, f"the reply says it is from {value['scorer_model']!r}, and {model!r} ran")
    if isinstance(value.get("scorer_version", version), str) and value.get("scorer_version", version) != version:
        raise _wrong(Code.SCORE_MODEL, f"the reply says it is from version {value['scorer_version']!r}, and {version!r} ran")
    check_fields(value, required=ASKED, allowed=STAMPED)
    placed = {"aggregated": 0.0, "scorer_model": model, "scorer_version": version, **value}
    checked = _validated(placed)
    total = aggregate(checked.scores, weights)
    if "aggregated" in value:
        check_aggregated(checked, weights)
    return checked.model_copy(update={"aggregated": round(total, 6)})


def complete_output(text: str, *, weights: Mapping[str, float]) -> ScorerOutput:
    """A whole scorer output that was made elsewhere: every field of the document has to be there."""
    value = json_object(text)
    check_fields(value, required=tuple(ScorerOutput.model_fields))
    checked = _validated(value)
    check_aggregated(checked, weights)
    return checked


def check_aggregated(output: ScorerOutput, weights: Mapping[str, float]) -> None:
    """Raises E-SCORE-AGGREGATED when the stored mean is more than 0.005 from what the scores give."""
    total = aggregate(output.scores, weights)
    if abs(output.aggregated - total) > TOLERANCE + 1e-9:
        raise _wrong(Code.SCORE_AGGREGATED, f"aggregated is {output.aggregated:g}, and the scores give {total:.4f}")


def json_object(text: str) -> dict[str, Any]:
    """The one JSON object that a text is. Raises E-SCORE-JSON, -PROSE, -SEVERAL, -NAN."""
    body = text.strip(_SPACE)
    start = body.find("{")
    try:
        value, end = _DECODER.raw_decode(body)
    except _TwiceError as error:
        raise _wrong(Code.SCORE_JSON, f"the reply has the key {error} twice") from error
    except _NotFiniteError as error:
        raise _wrong(Code.SCORE_NAN, f"the reply holds {error}, which is no number") from error
    except (JSONDecodeError, RecursionError) as error:
        if start > 0 and _holds_object(body[start:]):
            raise _wrong(Code.SCORE_PROSE, f"there is text around the JSON: {body[:start].strip()[:60]!r}") from error
        raise _wrong(Code.SCORE_JSON, f"the reply is no JSON: {body[:60]!r}") from error
    rest = body[end:].strip(_SPACE)
    if rest and _holds_object(rest.lstrip(_SPACE + ",")):
        raise _wrong(Code.SCORE_SEVERAL, f"there is a second JSON object behind the first: {rest[:60]!r}")
    if rest:
        raise _wrong(Code.SCORE_PROSE, f"there is text behind the JSON: {rest[:60]!r}")
    if not isinstance(value, dict):
        raise _wrong(Code.SCORE_JSON, f"the reply is a JSON {type(value).__name__}, and no object")
    return value


def check_fields(value: Mapping[str, Any], *, required: Iterable[str], allowed: Iterable[str] = ()) -> None:
    """Raises E-SCORE-MISSING, E-SCORE-EXTRA."""
    wanted = tuple(required)
    if missing := [name for name in wanted if name not in value]:
        raise _wrong(Code.SCORE_MISSING, f"the reply has no {', '.join(missing)}")
    if extra := sorted(set(value) - set(wanted) - set(allowed)):
        raise _wrong(Code.SCORE_EXTRA, f"the reply has a field too many: {', '.join(extra)[:100]}")


def _validated(value: Mapping[str, Any]) -> ScorerOutput:
    """Raises E-SCORE-NAN, -RANGE, -MISSING and -EXTRA (inside `domain`), -TYPE: the first field that is wrong."""
    try:
        return ScorerOutput.model_validate(value)
    except ValidationError as error:
        kind = error.errors(include_url=False, include_context=False)[0]["type"]
        code = _CODES.get(kind, Code.SCORE_TYPE)
        raise _wrong(code, first_problem(error)) from error


_CODES: Final = {
    "missing": Code.SCORE_MISSING,
    "extra_forbidden": Code.SCORE_EXTRA,
    "finite_number": Code.SCORE_NAN,
    "greater_than_equal": Code.SCORE_RANGE,
    "less_than_equal": Code.SCORE_RANGE,
}


def _wrong(code: Code, what: str) -> DistillError:
    return DistillError(code, what, _AGAIN)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise _TwiceError(repr(name[:60]))
        value[name] = item
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotFiniteError(text[:60])
    return number


def _constant(text: str) -> float:
    raise _NotFiniteError(text)


def _holds_object(text: str) -> bool:
    """Does a text begin with a JSON object, whatever is in it?"""
    try:
        return isinstance(json.JSONDecoder().raw_decode(text)[0], dict)
    except (ValueError, RecursionError):
        return False


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_constant)
