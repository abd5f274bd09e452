"""What two programs for one task share however they are named and laid out: words, calls, literals, operators, examples.

Python functions only (`def`), read with patterns and never run or parsed: half a function is compared too. The examples of a
docstring, an assert or a printed call are compared by shape: `f([1.0, 2.0], 0.5)` giving `False` is `([N],N)->B`.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from typing import Final, NamedTuple

from pytest_distill.measuring.facts import STOP, stem, stems

DEFINITION: Final = re.compile(r"^[ \t]*(?:async )?def[ \t]+(\w+)[ \t]*\(([^)]*)\)", re.M)
_DOCSTRING = re.compile(r'("""|\'\'\')(.*?)(?:\1|\Z)', re.S)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of a name: snake_case and camelCase
_NAME = re.compile(r"[A-Za-z_]\w*")
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
_STRING = re.compile(r"'([^'\n]{1,60})'|\"([^\"\n]{1,60})\"")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_OPERATOR = re.compile(
    r"%|//|\*\*|==|!=|<=|>=|<|(?<!-)>|\+=|-=|\*|\[::-1\]|\b(?:return|if|elif|for|while|not|and|or|len|sorted|sort|True|False|None)\b"
)
_EXAMPLE = re.compile(
    r">>>\s*\w+(?P<asked>\(.*\))\s*\n\s*(?P<told>\S[^\n]*)"
    r"|\b(?!def\b)\w+(?P<given>\([^\n]*\))\s*(?:==|=>|->|➞|=|should return|returns|return)\s*"
    r"(?P<gives>[^\n#:]+?)(?:$|[#.,](?:\s|$))",
    re.M,
)
# Lines of a docstring that show and do not tell: a call with a literal, or a literal, with what it gives; the heading above them.
_SHOWN = re.compile(
    r"[\"'(]*[A-Za-z_]\w*[ ]?\(\s*(?:[-\d'\"“\[({]|True\b|False\b|None\b)[^\n]*\)|[\[\"'(][^\n]*?(?:==|=>|->|➞|→)"
    r"|(?:in|out)put[ ]?:[^\n]*\d"
    r"|(?:for )?(?:e\.g\.|examples?|instance|illustrations?)\b[^.\n]*$",
    re.I,
)
_PRINTED = re.compile(r"print\(\w+(\([^\n]*\))\)")
_LITERAL = re.compile(r"[NSB]|\[\]|None")


class Snippet(NamedTuple):
    """A program as what is compared of it."""

    said: str  # what was asked, the functions' names and `told`, for a model of meaning
    told: str  # the docstrings without their examples
    words: frozenset[str]  # stems of the description
    named: frozenset[str]  # stems of the description and of all parts of names
    calls: frozenset[str]
    strings: frozenset[str]
    numbers: frozenset[str]
    operators: Counter[str]
    parameters: int
    examples: frozenset[str]
    inputs: frozenset[str]


def is_code(text: str) -> bool:
    """Whether a Python function is defined there."""
    return DEFINITION.search(text) is not None


def snippet(text: str, asked: str = "") -> Snippet:
    """The parts of a program that hold a function; `asked` is the prompt, where the program answers one."""
    names = [match.group(1) for match in DEFINITION.finditer(text)]
    told = ". ".join(prose for match in _DOCSTRING.finditer(text) if (prose := _prose(match.group(2))))
    said = ". ".join(part for part in [asked.strip(), *(" ".join(_parts(name)) for name in names), told] if part)
    body = _DOCSTRING.sub(" ", text)
    identifiers = [name for name in _NAME.findall(body) if not keyword.iskeyword(name)]
    named = {stem(part) for name in identifiers for part in _parts(name) if len(part) > 1 and part not in STOP}
    first = DEFINITION.search(text)
    examples, inputs = _examples(text)
    return Snippet(
        said=said,
        told=told,
        words=(words := stems(said)),
        named=words | named,
        calls=frozenset(_CALL.findall(body)),
        strings=frozenset(single or double for single, double in _STRING.findall(text)),
        numbers=frozenset(_NUMBER.findall(text)),
        operators=Counter("for" if found == "while" else found for found in _OPERATOR.findall(body)),
        parameters=sum(bool(part.strip()) for part in first.group(2).split(",")) if first else 0,
        examples=examples,
        inputs=inputs,
    )


def _parts(name: str) -> list[str]:
    return [part.lower() for part in _PART.findall(name)]


def _prose(docstring: str) -> str:
    """A docstring without its examples: prompts of an interpreter with the line after each, and lines that show a value."""
    kept, answer = [], False
    for line in map(str.strip, docstring.splitlines()):
        if line.startswith(">>>"):
            answer = True
        elif answer:
            answer = False
        elif line and not _SHOWN.match(line):
            kept.append(line)
    return " ".join(kept)


def _examples(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Shapes of the examples, and of their inputs alone (printed calls too)."""
    examples, inputs = set(), set()
    for match in _EXAMPLE.finditer(text):
        given = _shape(match["asked"] or match["given"])
        if _LITERAL.search(given):
            inputs.add(given)
            examples.add(f"{given}->{_shape(match['told'] or match['gives'])}")
    for match in _PRINTED.finditer(text):
        given = _shape(match.group(1))
        if _LITERAL.search(given):
            inputs.add(given)
    return frozenset(examples), frozenset(inputs)


def _shape(value: str) -> str:
    """A literal with every string S, number N, truth value B and name v; equal neighbours once. At most 40 characters."""
    value = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"|“[^”]*”", "S", value[:400].strip().rstrip(",."))
    value = re.sub(r"-?\d+(?:\.\d+)?", "N", value)
    value = re.sub(r"\b(?:True|False)\b", "B", value)
    value = re.sub(r"\b(?!None\b)[A-Za-z_]\w+", "v", value)
    value = re.sub(r"\s+", "", value)
    for _ in range(3):
        value = re.sub(r"(\b[NSBv]\b|\[[NSBv]*\])(?:,\1)+", r"\1", value)
    return value[:40]
