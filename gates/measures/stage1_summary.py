"""The figures of qc_summary.json, taken again from the records: which of them are not what the run says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from pytest_distill.contracts.stage1 import Distribution, QcSummary, Rates, Thresholds
from pytest_distill.gates.measures.stage1 import TOLERANCE, Run

DELIMITER = "###END###"


def misreported(summary: QcSummary, run: Run, *, runaways: int, leaks: int) -> list[str]:
    """Figures of the summary that the records do not give, each as `name: said, found`.

    `runaways` and `leaks` are rows that the gates' own detectors found. A run may be stricter than they are and report more;
    reporting fewer is a wrong figure.
    """
    kept = run.kept
    wrong = [
        f"{name}: {said}, records give {found}"
        for name, said, found in (*_counts(summary, run), *_rates(summary, run))
        if not _same(said, found)
    ]
    wrong += _distribution("token_stats", summary.token_stats, kept["clean_tokens"])
    for name, stored, column in (
        ("margins.instruction", summary.margins.instruction, "instruction_critique"),
        ("margins.pair", summary.margins.pair, "pair_critique"),
    ):
        part = pl.col(column).struct.field
        wrong += _distribution(name, stored, run.frame.select((part("logp_a") - part("logp_b")).abs()).to_series())
    rates = summary.rates
    if (rates.runaway or 0.0) * kept.height < runaways - TOLERANCE:
        wrong.append(f"rates.runaway: {rates.runaway}, records give {runaways} rows")
    if rates.delimiter_leaks < leaks:
        wrong.append(f"rates.delimiter_leaks: {rates.delimiter_leaks}, records give {leaks}")
    if summary.thresholds_passed != _holds(rates, summary.token_stats, summary.thresholds):
        wrong.append(f"thresholds_passed: {summary.thresholds_passed}, which its own figures do not give")
    return wrong


def _counts(summary: QcSummary, run: Run) -> Iterator[tuple[str, int, int]]:
    answered, said = run.answered, summary.counts
    delimited = answered["completion"].str.contains(DELIMITER, literal=True)
    rule = answered["trim_rule"]
    found = {
        "generated": run.frame.height,
        "responses": answered.height,
        "kept": run.kept.height,
        "delimiter_found": int(delimited.sum()),
        "delimiter_missing": int((~delimited).sum()),
        "heuristic_cutoff": int((rule.is_not_null() & (rule != "delimiter").fill_null(value=False)).sum()),
        "hit_token_limit": int(answered["hit_token_limit"].fill_null(value=False).sum()),
    }
    for name, value in found.items():
        yield f"counts.{name}", getattr(said, name), value
    for critic, column in (("instructions", "instruction_critique"), ("pairs", "pair_critique")):
        good, bad, low = _verdicts(run.frame, column, summary.thresholds.confidence_threshold)
        yield f"acceptance.{critic}_good", getattr(summary.acceptance, f"{critic}_good"), good
        yield f"acceptance.{critic}_bad", getattr(summary.acceptance, f"{critic}_bad"), bad
        yield f"acceptance.{critic}_low_confidence", getattr(summary.acceptance, f"{critic}_low_confidence"), low


def _verdicts(frame: pl.DataFrame, column: str, threshold: float) -> tuple[int, int, int]:
    """Confidently good, confidently bad, and not confident, by the log-probabilities."""
    part = pl.col(column).struct.field
    lead = frame.select(part("logp_a") - part("logp_b")).to_series().drop_nulls()
    return int((lead >= threshold).sum()), int((lead <= -threshold).sum()), int((lead.abs() < threshold).sum())


def _rates(summary: QcSummary, run: Run) -> Iterator[tuple[str, float | None, float | None]]:
    said, answered, threshold = summary.rates, run.answered, summary.thresholds.confidence_threshold
    for name, column, whole in (
        ("instruction_acceptance", "instruction_critique", run.frame.height),
        ("pair_acceptance", "pair_critique", answered.height),
    ):
        good = _verdicts(run.frame, column, threshold)[0]
        yield f"rates.{name}", getattr(said, name), good / whole if whole else None
    hits = int(answered["hit_token_limit"].fill_null(value=False).sum())
    yield "rates.token_limit", said.token_limit, hits / answered.height if answered.height else None


def _distribution(name: str, said: Distribution, values: pl.Series) -> Iterator[str]:
    values = values.drop_nulls().sort().cast(pl.Float64)
    rank = math.ceil(0.95 * len(values)) - 1
    found: dict[str, Any] = {
        "count": len(values),
        "median": values.median(),
        "mean": values.mean(),
        "p95": values[rank] if len(values) else None,
        "min": values.min(),
        "max": values.max(),
    }
    for figure, value in found.items():
        if not _same(getattr(said, figure), value):
            yield f"{name}.{figure}: {getattr(said, figure)}, records give {value}"
    edges = said.histogram.edges
    upper = [*edges[1:-1], math.nextafter(edges[-1], math.inf)]
    if values.len() and (float(values[0]) < edges[0] or float(values[-1]) > edges[-1]):
        yield f"{name}.histogram: does not reach over all values"
    counts = [int(((values >= low) & (values < high)).sum()) for low, high in zip(edges[:-1], upper, strict=True)]
    if counts != list(said.histogram.counts):
        yield f"{name}.histogram: {list(said.histogram.counts)}, records give {counts}"


def _holds(rates: Rates, tokens: Distribution, limits: Thresholds) -> bool:
    """Whether the summary's own figures are within the summary's own thresholds; what cannot be told is not."""
    figures = (rates.runaway, rates.token_limit, tokens.median, rates.instruction_acceptance, rates.pair_acceptance)
    if None in figures:
        return False
    runaway, hits, median, instructions, pairs = (float(figure or 0.0) for figure in figures)
    return (
        runaway < limits.max_runaway_share
        and hits < limits.max_token_limit_share
        and rates.delimiter_leaks <= limits.max_delimiter_leaks
        and median < limits.max_median_tokens
        and instructions >= limits.min_instruction_acceptance
        and pairs >= limits.min_pair_acceptance
    )


def _same(said: object, found: object) -> bool:
    if isinstance(said, (int, float)) and isinstance(found, (int, float)):
        return math.isclose(said, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return said is None and found is None
