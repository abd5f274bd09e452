"""The agreement of scorers as one SVG that stands alone: correlations on the left, mean differences on the right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from pytest_distill.contracts.grading import DIMENSIONS
from pytest_distill.pipelines.grading.agreement import Agreement
from pytest_distill.report.html import Html, join, tag
from pytest_distill.report.svg import picture

_STEP, _HEAD, _LEFT, _PANEL, _GAP = 22, 58, 110, 250, 40
_WIDTH: Final = _LEFT + 2 * _PANEL + _GAP + 20
_STYLE: Final = Html(
    "<style>svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#1f2328}line{stroke:#d0d7de}line.zero{stroke:#57606a}"
    "line.interval{stroke:#0550ae;stroke-width:2}circle{fill:#0550ae}rect.kappa{fill:#bc4c00}.tick{fill:#57606a;font-size:10px}"
    ".end{text-anchor:end}.middle{text-anchor:middle}.head{font-weight:600}</style>"
)


def plot(found: Sequence[Agreement]) -> bytes:
    """Circles are Spearman's correlation, squares the kappa; differences are shares of a dimension's highest score."""
    shapes: list[Html] = [_STYLE]
    top = 0
    words = []
    for (a, b), ones in groupby(found, key=lambda one: (one.a, one.b)):
        lines = list(ones)
        shapes.append(_pair(f"{a} and {b}, {lines[0].rows:,} rows", lines, top))
        top += _HEAD + _STEP * len(lines) + 16
        words += [
            f"{a} and {b}: " + ", ".join(f"{one.dimension} {_shown(one.spearman)} and {_shown(one.kappa)}" for one in lines)
        ]
    drawn = picture(
        "Agreement of scorers", "Spearman's correlation and weighted kappa. " + ". ".join(words), *shapes,
        width=_WIDTH, height=top, class_="agreement",
    )  # fmt: skip
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).encode() + b"\n"


def _pair(title: str, lines: Sequence[Agreement], top: int) -> Html:
    right = _LEFT + _PANEL + _GAP
    bottom = top + _HEAD + _STEP * len(lines) - 6
    spans = [
        abs(value) / DIMENSIONS.get(one.dimension, 1.0) for one in lines for value in (one.low, one.high) if value is not None
    ]
    reach = max([0.05, *spans]) * 1.1
    parts = [
        tag("text", title, class_="head", x=10, y=top + 18),
        tag("text", "Spearman (circle), kappa (square)", class_="tick middle", x=_LEFT + _PANEL / 2, y=top + 34),
        tag("text", "mean difference, share of the highest score", class_="tick middle", x=right + _PANEL / 2, y=top + 34),
    ]
    for start, end, left in ((-1.0, 1.0, _LEFT), (-reach, reach, right)):
        for value in (start, 0.0, end):
            x = _x(value, end, left)
            parts.append(tag("line", class_="zero" if value == 0 else None, x1=x, x2=x, y1=top + 48, y2=bottom))
            parts.append(tag("text", f"{value:+.2g}" if value else "0", class_="tick middle", x=x, y=top + 45))
    for number, one in enumerate(lines):
        y = top + _HEAD + _STEP * number + 4
        parts.append(tag("text", one.dimension, class_="end", x=_LEFT - 10, y=y + 4))
        if one.kappa is not None:
            parts.append(tag("rect", class_="kappa", x=f"{float(_x(one.kappa, 1, _LEFT)) - 4:.1f}", y=y - 4, width=8, height=8))
        if one.spearman is not None:
            parts.append(tag("circle", cx=_x(one.spearman, 1, _LEFT), cy=y, r=4))
        if one.difference is not None and one.low is not None and one.high is not None:
            highest = DIMENSIONS.get(one.dimension, 1.0)
            low, middle, high = (_x(value / highest, reach, right) for value in (one.low, one.difference, one.high))
            parts += [tag("line", class_="interval", x1=low, x2=high, y1=y, y2=y), tag("circle", cx=middle, cy=y, r=3)]
    return tag("g", join(parts))


def _x(value: float, reach: float, left: float) -> str:
    return f"{left + _PANEL * (min(max(value / reach, -1.0), 1.0) + 1) / 2:.1f}"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"
