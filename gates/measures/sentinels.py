"""Did a base model follow a bare instruction? Judged by what its output says, not by its shape.

The loader that ran the sentinels judges them too; this is the gate's own opinion, from the stored outputs alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import re2

from pytest_distill.contracts.stage1 import SENTINELS, Sentinel

_PIG_LATIN = re2.compile(r"(?i)\bello-?hay\b|\borld-?way\b")
_NUMBERING = re2.compile(r"(?m)^[ \t]*\d{1,2}[.)][ \t]+")
_NUMBER = re2.compile(r"\d+")
_SEASON = re2.compile(
    r"(?i)\b(winter|spring|summer|autumn|fall)\b(?: season)?[ ,]*(?:(?:is|are|has|have|brings?|comes?|begins?|starts?|means|"
    r"lasts?|follows)\b|[:–—-])"
)
_FREEZING = re2.compile(r"(?i)^[^.\n]{0,80}?(?:^|[^\d.])(?:0|32|273(?:\.15)?|zero|thirty[- ]two)(?:[^\d.]|\.?$|\.\D)")


def followed(sentinel: Sentinel) -> bool:
    """True when the output does what the prompt says: obeys the instruction, or completes the sentence with the fact."""
    return _JUDGES[sentinel.name](sentinel.output)


def passes(sentinel: Sentinel) -> bool | None:
    """What the stored record should say: None where nothing is expected."""
    if sentinel.expected == "reported":
        return None
    return followed(sentinel) == (sentinel.expected == "completed")


def missing(sentinels: tuple[Sentinel, ...]) -> list[str]:
    """Tasks that were not put to the model bare, with exactly their own prompt and expectation, or not in production's shape."""
    bare = {(s.name, s.prompt, s.expected) for s in sentinels if s.shape == "bare"}
    shaped = {
        task.name
        for task in SENTINELS
        for s in sentinels
        if s.shape == "production" and s.name == task.name and task.prompt in s.prompt
    }
    left_out = [f"{task.name} (bare)" for task in SENTINELS if tuple(task) not in bare]
    return left_out + [f"{task.name} (production)" for task in SENTINELS if task.name not in shaped]


def cut(sentinels: tuple[Sentinel, ...]) -> list[str]:
    """Sentinels whose stored output cannot be whole: too little text for its tokens, or, where it is judged, nothing in it."""
    short = (s for s in sentinels if len(s.output.encode()) < s.output_tokens or (s.passed is not None and not s.output.strip()))
    return [f"{s.name} ({s.shape})" for s in short]


def repeated(sentinels: tuple[Sentinel, ...]) -> int:
    """Outputs that another bare task has too: what a model says to five different prompts is not the same."""
    outputs = [" ".join(s.output.split()) for s in sentinels if s.shape == "bare" and s.output.strip()]
    return len(outputs) - len(set(outputs))


def _three_primes(output: str) -> bool:
    numbers = [int(n) for n in _NUMBER.findall(_NUMBERING.sub("", output)) if len(n) < 7][:3]
    return len(set(numbers)) == 3 and all(n > 10 and _is_prime(n) for n in numbers)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def _json_keys(output: str) -> bool:
    return any(isinstance(value, dict) and {"name", "age"} <= value.keys() for value in _objects(output))


def _objects(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    for position, character in enumerate(text[:4096]):
        if character == "{":
            try:
                yield decoder.raw_decode(text, position)[0]
            except (json.JSONDecodeError, RecursionError):
                continue
    # Thirty tokens may end inside the object: both keys with values are an answer.
    if '"name":' in text.replace(" :", ":") and '"age":' in text.replace(" :", ":"):
        yield {"name": None, "age": None}


def _seasons(output: str) -> bool:
    return len({str(season).lower().replace("fall", "autumn") for season in _SEASON.findall(output)}) >= 2


_JUDGES: dict[str, Callable[[str], bool]] = {
    "pig_latin": lambda output: _PIG_LATIN.search(output) is not None,
    "three_primes": _three_primes,
    "json_keys": _json_keys,
    "seasons": _seasons,
    "completion": lambda output: _FREEZING.search(output) is not None,
}
assert set(_JUDGES) == {task.name for task in SENTINELS}
