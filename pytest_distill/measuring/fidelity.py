"""In what a rephrased text differs from the original when both are compared exactly, and what that and a cosine decide.

Stages store what they found by it, gates decide again from what was stored. No model is needed here.
"""

from __future__ import annotations

from typing import Final

from pytest_distill.contracts.fidelity import Decision, Difference, FidelityCalibration
from pytest_distill.measuring import facts

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
LOOSE: Final = frozenset({0.5, 2.0})  # a pair, both, twice as old and half as old: good rephrasings say these without a number
SIGNS: Final = {"$": "dollar", "€": "euro"}


def differences(original: str, rephrased: str, *, shortest: float) -> tuple[Difference, ...]:
    """What the two do not share, sorted. Names and units that came are no difference, only those that are gone.

    numbers   as sets, however they are written: one is gone, or one is there that was not; LOOSE ones aside
    negation  one denies more often than the other
    names     a word in upper case inside a sentence is gone
    units     a unit or currency is gone
    length    the rephrasing has fewer words than `shortest` times the original's
    """
    found: list[Difference] = []
    if (facts.numbers(original).keys() ^ facts.numbers(rephrased).keys()) - LOOSE:
        found.append("numbers")
    if facts.negations(original) != facts.negations(rephrased):
        found.append("negation")
    if facts.names(original) - {word.lower() for word in facts.words(rephrased)}:
        found.append("names")
    if units(original) - units(rephrased):
        found.append("units")
    if length(original, rephrased) < shortest:
        found.append("length")
    return tuple(sorted(found))


def units(text: str) -> frozenset[str]:
    words = {UNITS[word] for word in map(str.lower, facts.words(text)) if word in UNITS}
    return frozenset(words | {unit for sign, unit in SIGNS.items() if sign in text})


def length(original: str, rephrased: str) -> float:
    """Words of the rephrasing as a share of the original's."""
    return len(rephrased.split()) / max(len(original.split()), 1)


def decide(cosine: float, found: tuple[Difference, ...], calibration: FidelityCalibration) -> Decision:
    """cosine > high passes, < low rejects, the verifier gets both edges and the rest. Differences only make it stricter."""
    if cosine < calibration.low or set(found) & set(calibration.rejecting):
        return "reject"
    if cosine <= calibration.high or found:
        return "verify"
    return "pass"
