"""Rephrasings spoilt on purpose, seeded: a number changed, a negation added, a clause dropped. For benchmarks/fidelity.py."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_NUMBER = re.compile(r"(?<![\w.,/])\d+(?:,\d{3})*(?:\.\d+)?(?![\w/]|\.\d)")
_VERB = re.compile(r"\b(is|are|was|were|has|have|can|will|does|do|did|would|should|returns?|takes?|gives?)\b")
_OTHER_VERB = re.compile(r"\b([a-z]+(?:ed|es|s))\b(?= (?:a|an|the|his|her|their|\d+|\$\d+)\b)")
_CLAUSE = re.compile(r"(?<=[.!?;,])\s+|\n+")


def number(text: str, seed: int) -> str | None:
    """One number becomes another one, near it. None for a text without digits."""
    draw = random.Random(f"number {seed}")
    places = list(_NUMBER.finditer(text))
    if not places:
        return None
    place = draw.choice(places)
    value = float(place.group().replace(",", ""))
    other = value + draw.choice([1, 2, 3, 5, 10, -1, -2]) * (1 if value < 100 else 10)
    other = other if other > 0 and other != value else value + 4
    written = f"{other:g}" if other < 1e6 else f"{other:.0f}"
    return f"{text[: place.start()]}{written}{text[place.end() :]}"


def negation(text: str, seed: int) -> str | None:
    """One statement is denied. None where no verb is found."""
    draw = random.Random(f"negation {seed}")
    places = list(_VERB.finditer(text))
    if places:
        place = draw.choice(places)
        denied = "never " + place.group() if place.group().startswith(("return", "take", "give")) else place.group() + " not"
        return f"{text[: place.start()]}{denied}{text[place.end() :]}"
    places = list(_OTHER_VERB.finditer(text))
    if not places:
        return None
    place = draw.choice(places)
    return f"{text[: place.start()]}never {place.group()}{text[place.end() :]}"


def clause(text: str, seed: int) -> str | None:
    """One clause or sentence of at least four words is left out. None where only one is there."""
    draw = random.Random(f"clause {seed}")
    parts = _CLAUSE.split(text)
    long = [place for place, part in enumerate(parts) if len(part.split()) >= 4]
    if len(long) < 2:
        return None
    gone = draw.choice(long)
    return " ".join(part for place, part in enumerate(parts) if place != gone)


KINDS: dict[str, Callable[[str, int], str | None]] = {"number": number, "negation": negation, "clause": clause}
