"""Dates in running English text, one value for every way to write one: "May 12, 2024", "12th of May 2024" and "2024-05-12"."""

from __future__ import annotations

import re
from typing import Final

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
BELOW: Final = -1e8  # a date lies below it, and no number of a text does, so that both are counted and compared alike

_MONTH = (
    r"(?P<month{0}>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY = r"(?P<day{0}>[12][0-9]|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year{0}>[12][0-9]{{3}})"
_DATE = re.compile(
    r"\b(?:"
    + "|".join(
        [
            r"(?P<year0>[12][0-9]{3})-(?P<month0>0[1-9]|1[0-2])-(?P<day0>0[1-9]|[12][0-9]|3[01])",
            rf"{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?".format(1),
            rf"{_MONTH} {_DAY}(?![0-9%:])(?:,? {_YEAR})?".format(2),
            rf"{_MONTH},? {_YEAR}".format(3),
        ]
    )
    + r")\b"
)


def split(text: str) -> tuple[str, list[float]]:
    """The text without its dates, and these as numbers below BELOW: year, month and day, 0 where none is said.

    A month needs a day or a year beside it. "05/12/2024" is left in the text: it says two days, as one reads it.
    """
    found = []

    def take(match: re.Match[str]) -> str:
        said = {name.rstrip("0123456789"): value for name, value in match.groupdict().items() if value}
        month = int(said["month"]) if said["month"].isdigit() else 1 + MONTHS.index(said["month"][:3].lower())
        found.append(BELOW - (int(said.get("year", 0)) * 10_000 + month * 100 + int(said.get("day", 0))))
        return " "

    return _DATE.sub(take, text), found
