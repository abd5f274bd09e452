"""What a text says that a model of meaning does not see: its numbers, names, negations, and the stems of its content words.

Embeddings put "add 3 and 6" beside "add 3 and 7" and "is safe" beside "is not safe". These functions compare such things exactly.
They are rules for English and for digits anywhere, made to agree on two wordings of one text, not to parse language: "three
quarters", "3/4", "75%" and "0.75" are one number.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_UNITS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_STOP = """
a an the of to in on at for from by with and or but if then than that this these those is are was were be been being am do
does did has have had having he she it they them him his her hers its their theirs i you we me my your our us as so not no
how what which who whom whose when where why many much more most some any all each every both few other such only own same
too very can will would should could may might must just there here out up down into over after before again per also
"""
_NEGATIONS = "no not never none nobody nothing nowhere neither nor cannot without except unless"
UNITS: Final = {word: value for value, word in enumerate(_UNITS.split())}
TENS: Final = {word: 10 * place for place, word in enumerate(_TENS.split(), start=2)}
POWERS: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
# Words that say a number of their own. "Once" and "single" are left out, like "a": two wordings disagree on them freely.
SAID: Final = {
    "half": 0.5, "halves": 0.5, "halved": 0.5, "twice": 2, "double": 2, "doubled": 2, "doubles": 2, "thrice": 3, "triple": 3,
    "tripled": 3, "triples": 3, "quadruple": 4, "quadrupled": 4, "dozen": 12, "dozens": 12, "decade": 10, "decades": 10,
    "couple": 2, "pair": 2, "fortnight": 14,
}  # fmt: skip
PARTS: Final = {
    "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6,
    "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8, "ninth": 9, "tenth": 10, "tenths": 10,
}  # fmt: skip
STOP: Final = frozenset(_STOP.split())
NEGATIONS: Final = frozenset(_NEGATIONS.split())
_NUMBERED: Final = UNITS.keys() | TENS.keys() | POWERS.keys() | SAID.keys()

_TOKEN = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?(?:\s?/\s?\d+)?%?|\.\d+%?|[^\W\d_]+(?:['’][^\W\d_]+)?|%")
_SIGNS = frozenset("-−.")
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"(?<=[.!?:;])[\"'”’)]*\s+|\n+")


def numbers(text: str) -> Counter[float]:
    """The numbers of a text with how often each stands there, whether in digits, words, fractions or percent.

    A number directly before a part is a fraction ("three quarters" is 0.75), number words that belong together are one ("two
    hundred and fifty"). One is left out, because wordings disagree on it freely ("a", "one", "a single").
    """
    tokens = [match.group().lower() for match in _TOKEN.finditer(_hyphens(text))]
    found = Counter(_rounded(value) for value in _numbers([*tokens, "", ""]))
    del found[1.0]
    return found


def _numbers(tokens: list[str]) -> Iterator[float]:
    """Values in the order of the text; `tokens` end with two empty ones."""
    open_ = _Open()
    for place, token in enumerate(tokens[:-1]):
        if open_.value is not None:
            if open_.takes(token, tokens[place + 1]):
                continue
            yield open_.close()
        if token[:1].isdecimal() or token[:1] in _SIGNS:
            value, whole = _digits(token)
            if whole:
                open_ = _Open(value, digits=True)
            else:
                yield value
        elif token in UNITS or token in TENS:
            open_ = _Open(float(UNITS.get(token, TENS.get(token, 0))))
        elif token in SAID:
            yield SAID[token]
        elif token in PARTS and place and tokens[place - 1] == "a":
            yield 1 / PARTS[token]


@dataclass
class _Open:
    """A number that following words may still change. `done` once they have divided it."""

    value: float | None = None
    digits: bool = False
    done: bool = False

    def takes(self, word: str, following: str) -> bool:
        """Whether the word belongs to the number, which then has changed."""
        value = self.value
        if value is None or self.done:
            return False
        if word in POWERS:
            self.value = value * POWERS[word]
        elif word in PARTS and 0 < value < 20 and value == int(value):
            self.value, self.done = value / PARTS[word], True
        elif word in {"percent", "%"} or (word == "per" and following == "cent"):
            self.value, self.done = value / 100, True
        elif self.digits or value <= 0:
            return False
        elif word == "and" and value % 100 == 0:
            return following in UNITS or following in TENS
        else:
            more = UNITS.get(word, TENS.get(word))
            room = 10 if value % 10 == 0 and value % 100 >= 20 else 100 if value % 100 == 0 else 0
            if more is None or not 0 < more < room:
                return False
            self.value = value + more
        return True

    def close(self) -> float:
        value, self.value, self.done = self.value, None, False
        assert value is not None
        return value


def _hyphens(text: str) -> str:
    """Hyphens inside words are spaces ("twenty-five", "5-pound"); those before a digit stay signs."""
    return re.sub(r"(?<=\w)-(?=\w)", " ", text)


def _digits(word: str) -> tuple[float, bool]:
    """Value, and whether words after it may still change it."""
    percent = word.endswith("%")
    body = word.rstrip("%").replace("−", "-").replace(",", "").replace(" ", "")
    top, _, bottom = body.partition("/")
    value = float(top) / (float(bottom or 1) or 1.0)
    return (value / 100 if percent else value), not (percent or bottom)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


@functools.lru_cache(maxsize=1 << 17)
def stem(word: str) -> str:
    """A short form that inflections of one English word mostly share: the ending cut, at most six letters kept."""
    for ending in ("ing", "ied", "ies", "ed", "es", "ly", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)][:6]
    return word[:6]


def words(text: str) -> list[str]:
    """Every run of letters."""
    return _WORD.findall(text)


def stems(text: str) -> frozenset[str]:
    """Stems of the content words: no stop words, no number words, no digits."""
    return frozenset(
        stem(word) for word in (found.lower() for found in _WORD.findall(text)) if word not in STOP and word not in _NUMBERED
    )


def names(text: str) -> frozenset[str]:
    """Words in upper case that do not begin a sentence, in lower case."""
    found = set()
    for sentence in _SENTENCE.split(text):
        for word in _WORD.findall(sentence)[1:]:
            if len(word) > 1 and word[0].isupper() and word.lower() not in STOP:
                found.add(word.lower())
    return frozenset(found)


def negations(text: str) -> int:
    """How many words deny something, contracted ones ("isn't") included."""
    words = re.findall(r"[^\W\d_]+(?:['’]t)?", text.lower())
    return sum(word in NEGATIONS or word.endswith(("n't", "n’t")) for word in words)


def asked(text: str) -> str:
    """The sentence that asks: the last that ends with a question mark, else the last."""
    sentences = [part for part in _SENTENCE.split(text.strip()) if part and part.strip()]
    questions = [part for part in sentences if part.rstrip("\"'”’) ").endswith("?")]
    return (questions or sentences or [""])[-1]


def shared(first: Counter[float], second: Counter[float]) -> float:
    """Jaccard similarity of two multisets of numbers; 1 where neither has any."""
    union = sum((first | second).values())
    return sum((first & second).values()) / union if union else 1.0
