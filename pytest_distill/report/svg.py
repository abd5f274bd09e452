"""Drawings as inline SVG: histogram, bar, trend, map. Colours come from classes, so that they follow light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pytest_distill.report.figures import Histogram
from pytest_distill.report.html import Html, join, tag
from pytest_distill.report.judged import Past
from pytest_distill.report.rows import Row

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 38, 22


def picture(title: str, text: str, *shapes: Html, width: int, height: int, class_: str) -> Html:
    """An SVG with a name and a description for those who do not see it."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", text),
        *shapes,
        class_=class_,
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=f"{title}. {text}",
    )


def figure(value: float) -> str:
    """A number for people: whole ones with thousands marked, others with three digits."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


def short(count: int) -> str:
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g}{sign}"
    return str(count)


def bar(share: float, class_: str) -> Html:
    """A bar from 0 to 1 of the width it is given; what is there but tiny can still be seen."""
    length = 0.0 if share <= 0 else max(0.6, 100 * share)
    return tag(
        "svg",
        tag("rect", class_="track", width=100, height=8),
        tag("rect", class_=class_, width=f"{length:.2f}", height=8),
        class_="bar",
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def histogram(found: Histogram) -> Html:
    edges, top = found.edges, int(found.all.max())
    plot, base = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM
    scale = np.log1p if found.chart.counts else np.asarray
    start, end = float(scale(edges[0])), float(scale(edges[-1]))

    def x(value: float) -> float:
        return LEFT + plot * (float(scale(min(max(value, edges[0]), edges[-1]))) - start) / (end - start)

    def y(count: int) -> float:
        return base - (base - TOP) * math.log1p(count) / math.log1p(max(top, 1))

    shapes = [
        shape
        for count in _ticks(top)
        for shape in (
            tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y(count):.1f}", y2=f"{y(count):.1f}"),
            tag("text", short(count), class_="tick end", x=LEFT - 5, y=f"{y(count) + 3.5:.1f}"),
        )
    ]
    for counts, class_ in ((found.all, "kept"), (found.rejected, "out")):
        path = "".join(
            f"M{x(edges[n]):.1f} {base}V{y(int(count)):.1f}H{max(x(edges[n]) + 1, x(edges[n + 1]) - 0.8):.1f}V{base}z"
            for n, count in enumerate(counts)
            if count
        )
        shapes += [tag("path", class_=class_, d=path)] if path else []
    shapes.append(tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base))
    for value, anchor in ((edges[0], "start"), (edges[-1], "end")):
        shown = figure(value - 1 if found.chart.counts and anchor == "end" else value)
        shapes.append(tag("text", shown, class_=f"tick {anchor}", x=f"{x(value):.1f}", y=HEIGHT - 7))
    for number, mark in enumerate(found.marks):
        at = x(mark.value + 1 if found.chart.counts and mark.label.startswith("at most") else mark.value)
        height = 11 + 13 * (number % 2)
        anchor = "end" if at > LEFT + plot / 2 else "start"
        shapes += [
            tag("line", class_="bound", x1=f"{at:.1f}", x2=f"{at:.1f}", y1=height - 8, y2=base),
            tag("text", mark.label, class_=f"label {anchor}", x=f"{at + (-4 if anchor == 'end' else 4):.1f}", y=height),
        ]
    bounds = "; ".join(mark.label for mark in found.marks) or "none"
    text = (
        f"{found.rows:,} rows, from {figure(found.low)} to {figure(found.high)} {found.chart.unit}, "
        f"median {figure(found.median)}, 95th percentile {figure(found.p95)}. "
        f"Bounds: {bounds}. {found.beyond:,} rows beyond a bound."
    )
    return picture(found.chart.title, text, *shapes, width=WIDTH, height=HEIGHT, class_="histogram")


def _ticks(top: int) -> list[int]:
    powers = [10**n for n in range(12) if 10**n <= top]
    step = max(1, math.ceil(len(powers) / 4))
    return powers[::step] or [1]


def trend(past: Sequence[Past]) -> Html:
    """One column a run, as high as the share of its rows that went to quarantine; the sign below it is the verdict."""
    step, height, base = 34, 132, 92
    top = max([0.001, *(_share(run) for run in past)])
    shapes = [
        tag("line", class_="axis", x1=44, x2=44 + step * len(past), y1=base, y2=base),
        tag("text", f"{100 * top:.3g}%", class_="tick end", x=40, y=15),
        tag("text", "0%", class_="tick end", x=40, y=base + 3),
    ]
    for number, run in enumerate(past):
        x, size, rows = 52 + step * number, (base - 12) * _share(run) / top, run.record.rows
        passed, newest = run.record.verdict == "PASSED", number == len(past) - 1
        sign = f"M{x + 4} {base + 16}l4 4l8 -9" if passed else f"M{x + 4} {base + 10}l10 10m0 -10l-10 10"
        title = f"{run.name}: {run.record.verdict}, {rows.quarantined:,} of {rows.batch:,} rows"
        shapes.append(
            tag(
                "g",
                tag("title", title),
                tag("rect", class_="out now" if newest else "out", x=x, y=f"{base - size:.1f}", width=18, height=f"{size:.1f}"),
                tag("path", class_=f"sign {'yes' if passed else 'no'}", d=sign),
            )
        )
    text = "; ".join(f"{run.name} {run.record.verdict.lower()}, {100 * _share(run):.3g}% rejected" for run in past)
    return picture(
        "Share of rows rejected, run by run", text, *shapes, width=60 + step * max(len(past), 6), height=height, class_="trend"
    )


def _share(run: Past) -> float:
    rows = run.record.rows
    return rows.quarantined / rows.batch if rows.batch else 0.0


def atlas(rows: Sequence[Row], points: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Html:
    """Kept rows as dots in one path, rejected ones as crosses that say on hovering what they are."""
    width, height, edge = 720, 420, 14
    x = np.round(edge + points[:, 0] * (width - 2 * edge), 1)
    y = np.round(edge + (1 - points[:, 1]) * (height - 2 * edge), 1)
    places = [(f"{a:g}", f"{b:g}") for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    kept = "".join(f"M{a} {b}h0" for row, (a, b) in zip(rows, places, strict=True) if not row.gates)
    crosses = [
        tag("path", tag("title", f"{row.source}:{row.line}, {', '.join(row.gates)}"), d=f"M{a} {b}m-3.5 -3.5l7 7m0 -7l-7 7")
        for row, (a, b) in zip(rows, places, strict=True)
        if row.gates
    ]
    out = len(crosses)
    return picture(
        "Map of the texts",
        f"{len(rows) - out:,} kept rows as dots and {out:,} rejected rows as crosses.",
        tag("rect", class_="frame", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=6),
        tag("path", class_="dots", d=kept),
        tag("g", join(crosses), class_="crosses"),
        width=width,
        height=height,
        class_="atlas",
    )


SIGNS = {
    "PASSED": "M5 12.5l4.5 4.5L19 7.5",
    "FAILED": "M6.5 6.5l11 11m0-11l-11 11",
    "INCOMPLETE": "M12 6v7.5m0 4v.2",
    "passed": "M5 12.5l4.5 4.5L19 7.5",
    "failed": "M6.5 6.5l11 11m0-11l-11 11",
    "did_not_run": "M12 6v7.5m0 4v.2",
    "warned": "M12 6v7.5m0 4v.2",
    "waived": "M12 6v7.5m0 4v.2",
    "not_applicable": "M6 12h12",
}


def sign(status: str) -> Html:
    """A check, a cross, a mark or a dash: never the colour alone."""
    return tag("svg", tag("path", d=SIGNS[status]), class_="sign", viewBox="0 0 24 24", aria_hidden="true", focusable="false")
