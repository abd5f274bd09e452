"""Histograms of the standard measures that gates bound, with the bounds of the run; read through the measure cache.

Memory holds the values of one measure at a time, shard by shard.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_distill.contracts.run import GateRecord
from pytest_distill.errors import DistillError, one_line
from pytest_distill.measuring.columns import Columns

if TYPE_CHECKING:
    from pytest_distill.report.judged import Judged

BINS = 48
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A bound to draw: a limit of a gate, or a value of the policy (`gate` None). `median` bounds the median, not rows."""

    gate: str | None
    name: str
    op: Literal["<", "<=", ">", ">="]
    median: bool = False


@dataclass(frozen=True)
class Chart:
    """One figure of one standard measure. `among` (field, gate, limit) keeps the rows whose field reaches that limit."""

    title: str
    gate: str  # the chart is drawn when this gate judged
    measure: str
    field: str | None
    unit: str
    lines: tuple[Line, ...]
    among: tuple[str, str] | None = None
    note: str = ""

    @property
    def counts(self) -> bool:
        """Whole numbers over a wide range, drawn on a logarithmic axis; otherwise shares from 0 to 1."""
        return self.unit in ("tokens", "words")


def _share(title: str, field: str, limit: str, note: str, floor: str = "min_words", of: str = "words") -> Chart:
    line = Line("quality.repetition", limit, "<=")
    return Chart(title, "quality.repetition", "quality", field, "share", (line,), (of, floor), note)


CHARTS = (
    Chart(
        "Length of answers",
        "length.answer",
        "answer_tokens",
        None,
        "tokens",
        (
            Line("length.answer", "min_answer_tokens", ">="),
            Line("length.answer", "max_answer_tokens", "<="),
            Line("length.median-answer", "max_median_answer_tokens", "<", median=True),
        ),
    ),
    Chart(
        "Length of prompts",
        "length.prompt",
        "prompt_tokens",
        None,
        "tokens",
        (Line("length.prompt", "max_prompt_tokens", "<="),),
    ),
    Chart(
        "Length of documents",
        "length.document",
        "answer_words",
        None,
        "words",
        (Line("length.document", "min_words", ">="), Line("length.document", "max_words", "<=")),
    ),
    Chart(
        "Confidence in the allowed languages",
        "text.language",
        "language_confidence",
        None,
        "share",
        (Line(None, "language.min_confidence", ">="),),
        note="Rows whose language can be told.",
    ),
    Chart(
        "Similarity to an earlier row",
        "duplicates.near",
        "near_duplicate_of",
        "jaccard",
        "share",
        (Line(None, "duplicates.similarity", "<"),),
        note="Rows that are near or exact duplicates.",
    ),
    Chart(
        "Coverage by a benchmark item",
        "contamination.ngram",
        "contamination",
        "coverage",
        "share",
        (Line("contamination.ngram", "min_coverage", "<"),),
    ),
    _share("Characters in repeated 5-word phrases", "duplicate_5", "max_duplicate_5", "Answers long enough for this bound."),
    _share("Most frequent 2-word phrase", "top_2", "max_top_2", "Answers long enough for this bound."),
    _share("Repeated lines", "repeated_lines", "max_repeated_lines", "Answers long enough for this bound."),
    Chart(
        "Characters that are symbols",
        "quality.symbols",
        "quality",
        "symbol_share",
        "share",
        (Line("quality.symbols", "max_symbol_share", "<="),),
        ("chars", "min_chars"),
        "Answers long enough for this bound.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A bound as it is drawn."""

    label: str
    value: float


@dataclass(frozen=True)
class Histogram:
    """Rows per bin: `all` of them, and how many of those are in quarantine. `edges` has one value more than there are bins."""

    chart: Chart
    edges: Floats
    all: NDArray[np.int64]
    rejected: NDArray[np.int64]
    marks: tuple[Mark, ...]
    rows: int
    low: float
    median: float
    p95: float
    high: float
    beyond: int


@dataclass(frozen=True)
class Missing:
    """A chart that could not be drawn, and why."""

    chart: Chart
    why: str


def histograms(judged: Judged, columns: Columns, rejected: NDArray[np.bool_]) -> Iterator[Histogram | Missing]:
    """A histogram for every chart whose gate judged in this run, in the order of `CHARTS`."""
    judging = {gate.id: gate for gate in judged.record.gates if gate.status not in ("not_applicable", "did_not_run")}
    wanted = [chart for chart in CHARTS if chart.gate in judging]
    for name, charts in itertools.groupby(wanted, key=lambda chart: chart.measure):
        group = list(charts)
        try:
            values = _values(columns, name, group, judging)
        except DistillError as error:
            yield from (Missing(chart, one_line(error.message)) for chart in group)
            continue
        yield from (
            _histogram(chart, v, rejected, _marks(chart, judging, judged)) for chart, v in zip(group, values, strict=True)
        )


def _values(columns: Columns, name: str, charts: list[Chart], judging: dict[str, GateRecord]) -> list[Floats]:
    """One array per chart over all rows; NaN where a row has no value or does not belong."""
    import polars as pl

    found: list[list[Floats]] = [[] for _ in charts]
    for part in columns.parts(name):
        fields = part.struct.unnest() if isinstance(part.dtype, pl.Struct) else pl.DataFrame()  # once for all charts
        for chart, pieces in zip(charts, found, strict=True):
            values = fields[chart.field] if chart.field else part
            if chart.field == "jaccard":
                values = values.set(fields["of"].is_null(), None)
            if chart.among:
                field, limit = chart.among
                floor = judging[chart.gate].limits.get(limit)
                values = values.set(fields[field] < (floor if isinstance(floor, (int, float)) else 0), None)
            pieces.append(values.cast(pl.Float64).fill_null(float("nan")).to_numpy())
    return [np.concatenate(pieces) if pieces else np.empty(0) for pieces in found]


def _marks(chart: Chart, judging: dict[str, GateRecord], judged: Judged) -> list[tuple[Line, float]]:
    """The bounds that were in force. A policy that was edited since says nothing about this run."""
    found = []
    for line in chart.lines:
        value: object = None
        if line.gate is not None:
            value = judging[line.gate].limits.get(line.name) if line.gate in judging else None
        elif judged.workspace.policy.sha256 == judged.record.policy_sha256:
            table, _, name = line.name.partition(".")
            value = getattr(judged.workspace.policy.table(table), name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((line, float(value)))
    return found


def _histogram(chart: Chart, values: Floats, rejected: NDArray[np.bool_], lines: list[tuple[Line, float]]) -> Histogram | Missing:
    finite = np.isfinite(values)
    known, out = values[finite], rejected[finite]
    if not len(known):
        return Missing(chart, "no row has such a value")
    low, high = float(known.min()), float(known.max())
    edges = _edges(chart, low, high, [value for _, value in lines])
    beyond = np.zeros(len(known), np.bool_)
    for line, value in lines:
        if not line.median:
            beyond |= ~{"<": known < value, "<=": known <= value, ">": known > value, ">=": known >= value}[line.op]
    words = {"<": "under", "<=": "at most", ">": "over", ">=": "at least"}
    marks = tuple(Mark(f"{'median ' if line.median else ''}{words[line.op]} {value:,g}", value) for line, value in lines)
    # A lower bound of 0 bounds nothing, and its line would hide the axis.
    marks = tuple(mark for mark, (line, value) in zip(marks, lines, strict=True) if not (line.op == ">=" and value <= 0))
    median, p95 = (float(v) for v in np.quantile(known, [0.5, 0.95], method="inverted_cdf"))
    counted = np.histogram(known, edges)[0]
    return Histogram(
        chart, edges, counted, np.histogram(known[out], edges)[0], marks, len(known), low, median, p95, high, int(beyond.sum())
    )  # fmt: skip


def _edges(chart: Chart, low: float, high: float, bounds: list[float]) -> Floats:
    """Bin edges that take in all values and all bounds. Counts: whole numbers in growing steps."""
    start, end = min([low, *bounds]), max([high, *bounds])
    if chart.counts:
        grown = np.expm1(np.linspace(np.log1p(start), np.log1p(end + 1), BINS + 1))
        edges = np.unique(np.floor(grown))
        return np.append(edges[edges < end + 1], end + 1)
    start, end = min(0.0, start), max(end, start + 0.05)
    return np.linspace(start, 1.0 if end > 0.6 and end <= 1.0 else end * 1.04, BINS + 1)
