"""In what a rephrased text differs from the original when both are compared exactly, and what that and a cosine decide.

A cosine alone tells little: a changed number or a dropped clause hardly moves it, and a free rephrasing moves it more. So a
logistic regression weighs it together with what rules find; its weights come from labelled pairs.

Stages store what they found by it, gates decide again from what was stored. No model is needed here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, get_args

from pytest_distill.contracts.fidelity import Decision, Difference, FidelityCalibration, Figure
from pytest_distill.measuring import dates, facts

# One spelling for a unit, so that "5 km" and "five kilometres" agree. Words that are no unit by themselves ("second", "foot") and
# those that rephrasings replace freely ("times") are left out.
_UNITS = """
km=kilometer kilometers=kilometer kilometer=kilometer kilometre=kilometer kilometres=kilometer miles=mile mile=mile
kg=kilogram kilogram=kilogram kilograms=kilogram kilo=kilogram kilos=kilogram pounds=pound pound=pound lbs=pound
ounces=ounce ounce=ounce
cm=centimeter centimeters=centimeter centimeter=centimeter inches=inch inch=inch liters=liter liter=liter litre=liter litres=liter
gallons=gallon gallon=gallon celsius=celsius fahrenheit=fahrenheit dollars=dollar dollar=dollar euros=euro euro=euro
hours=hour hour=hour minutes=minute minute=minute weeks=week week=week months=month month=month
"""
UNITS: Final = dict(pair.split("=") for pair in _UNITS.split())
SIGNS: Final = {"$": "dollar", "€": "euro"}
LOOSE: Final = frozenset({0.5, 2.0})  # a pair, both, twice as old and half as old: good rephrasings say these without a number
RATIOS: Final = (7.0, 12.0, 24.0, 60.0)  # days, months or a dozen, hours, minutes: "two weeks" is "14 days"
ORDINALS: Final = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip
# An original that says so in other words may be denied in so many: "unripe" is "not ripe", "out of" is "did not have any".
_DENIED = re.compile(
    r"\b(non\w*|un(?!i|d)\w+|absent|refus\w+|fail\w*|lack\w*|devoid|malfunction\w*|declin\w+|remain\w*|left\w*|rest|other than|"
    r"out of|late|tardy|exceed\w*|otherwise|else|other cases?|false)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\?|\bhow (many|much|long|far|old|tall|often)\b|\bwhat('s| is| was| will| would| are)\b|"
    r"\b(calculate|determine|find|compute|estimate|work out|figure out)\b",
    re.IGNORECASE,
)
_MIXED = re.compile(r"\b(\d{1,9})\s+(\d{1,9})/([1-9]\d{0,8})\b")
_CLAUSE = re.compile(r"(?<=[.!?;,:])\s+|\n+|\band\b|\bif\b|\bbut\b")
_DIFFERENCES: Final[tuple[Difference, ...]] = get_args(Difference)


def figures(original: str, rephrased: str, cosine: float) -> dict[Figure, float]:
    """What is weighed; 0 says no difference, but for the cosine. Names and units that came are none, only those that are gone.

    cosine        of the model of meaning
    clause        of the original's clauses, the one that is kept least: the share of its content words and numbers that is gone
    ending        0 or 1: the original ends as a sentence does, and the rephrasing breaks off
    fewer         the share by which the rephrasing says fewer numbers, whichever they are: a clause that is gone often held one
    names         0 or 1: a word in upper case inside a sentence is gone
    negation      0, 1 or 2: one denies more often than the other; 2 where nothing in an original speaks for a denial that came
    numbers-changed  0 or 1: one number stands there less often, and another one more often
    numbers-came  0, 1 or 2: numbers that the original does not say, however written; LOOSE and converted ones aside
    numbers-gone  0, 1 or 2: numbers that the rephrasing does not say
    question      0, 1 or 2: a question has become a statement, or nothing is asked any more
    repeated      the share of the original's numbers that is gone, each as often as it stands there
    shorter       the share of the original's words by which the rephrasing is shorter
    units         0 or 1: a unit or currency is gone
    unsaid        the share of the original's content words that is gone
    """
    said, told = numbers(original), numbers(rephrased)
    stems, stated = facts.stems(rephrased), told.keys() | LOOSE | _ordered(rephrased)
    gone = _missing(said, told.keys() | _ordered(rephrased), told)
    came = _missing(told, said.keys() | _ordered(original), said)
    before, after = facts.negations(original), facts.negations(rephrased)
    own = facts.stems(original)
    fewer, more = said - told, told - said
    exchanged = not (_all_converted(fewer, more) or _all_converted(more, fewer))
    lost = sum(max(0, often - told[value]) for value, often in said.items() if value not in LOOSE)
    return {
        "cosine": cosine,
        "clause": _least_kept(original, stems, stated),
        "ending": float(
            original.rstrip().endswith((".", "?", "!")) and not rephrased.rstrip(" \n\"')”’").endswith((".", "?", "!"))
        ),
        "fewer": max(0.0, 1.0 - told.total() / max(said.total(), 1)) if said else 0.0,
        "names": float(bool(facts.names(original) - {word.lower() for word in facts.words(rephrased)})),
        "negation": float(after > before) + float(after > before and not _DENIED.search(original)) or float(before > after) / 2,
        "numbers-changed": float(exchanged),
        "numbers-came": float(min(came, 2)),
        "numbers-gone": float(min(gone, 2)),
        "question": float("?" in original and "?" not in rephrased)
        + float(bool(_ASKS.search(facts.asked(original))) and not _ASKS.search(rephrased)),
        "repeated": lost / max(said.total(), 1),
        "shorter": max(0.0, 1.0 - len(rephrased.split()) / max(len(original.split()), 1)),
        "units": float(bool(units(original) - units(rephrased))),
        "unsaid": 1.0 - len(own & stems) / max(len(own), 1),
    }


def differences(found: Mapping[Figure, float]) -> tuple[Difference, ...]:
    """Those of the figures that say in so many words what is not the same, sorted."""
    return tuple(name for name in _DIFFERENCES if found[name] > 0)


def numbers(text: str) -> Counter[float]:
    """The numbers of a text as `facts` reads them, "1 1/2" as one, and its dates, each as a number of `dates`."""
    rest, said = dates.split(text)
    found = facts.numbers(_MIXED.sub(lambda found: str(int(found[1]) + int(found[2]) / int(found[3])), rest))
    found.update(said)
    return found


def _missing(own: Iterable[float], other: AbstractSet[float], plain: Iterable[float]) -> int:
    """How many of the numbers the other text does not say, neither as they are nor converted."""
    stated = {*plain, 1.0}
    return sum(value not in LOOSE and value not in other and not _converted(value, stated) for value in own)


def _converted(value: float, others: Collection[float]) -> bool:
    """Whether it is one of the others in another unit of time or count, or one of so many parts ("one in five" is a fifth).

    A date is neither.
    """
    if value < dates.BELOW:
        return False

    def near(first: float, second: float) -> bool:
        return math.isclose(first, second, rel_tol=1e-5)

    return any(
        near(value * other, 1.0) or any(near(value * ratio, other) or near(value, other * ratio) for ratio in RATIOS)
        for other in others
    )


def _all_converted(own: Collection[float], others: Collection[float]) -> bool:
    return all(_converted(value, others) for value in own)


def _ordered(text: str) -> frozenset[float]:
    """What ordinals and parts may say: "a fifth" is 0.2, and "fifth grade" is 5."""
    said = {word: ORDINALS.get(word) or facts.PARTS.get(word) for word in map(str.lower, facts.words(text))}
    return frozenset(number for value in said.values() if value for number in (float(value), float(f"{1 / value:.6g}")))


def _least_kept(original: str, stems: AbstractSet[str], stated: AbstractSet[float]) -> float:
    worst = 0.0
    for part in _CLAUSE.split(original):
        words, values = facts.stems(part), numbers(part).keys()
        total = len(words) + len(values)
        if total >= 2:
            worst = max(worst, 1.0 - (len(words & stems) + len(values & stated)) / total)
    return worst


def units(text: str) -> frozenset[str]:
    words = {UNITS[word] for word in map(str.lower, facts.words(text)) if word in UNITS}
    return frozenset(words | {unit for sign, unit in SIGNS.items() if sign in text})


def score(found: Mapping[Figure, float], calibration: FidelityCalibration) -> float:
    """How sure the calibration is that a pair with these figures is faithful, 0 to 1."""
    total = math.fsum([calibration.constant, *(weight * found[name] for name, weight in sorted(calibration.weights.items()))])
    return round(1.0 / (1.0 + math.exp(-max(-40.0, min(40.0, total)))), 6)


def decide(sure: float, calibration: FidelityCalibration) -> Decision:
    """score > high passes, < low rejects, the verifier gets both edges and the rest."""
    if sure < calibration.low:
        return "reject"
    return "verify" if sure <= calibration.high else "pass"
