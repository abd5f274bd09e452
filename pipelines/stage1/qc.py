"""The quality summary of a generation run: every figure of the specification, taken from the stored candidates.

The gates take the same figures again from the records, in code of their own, and do not trust this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, median

from pytest_distill.contracts.rows import Critique
from pytest_distill.contracts.stage1 import (
    Acceptance,
    Candidate,
    Distribution,
    Histogram,
    Margins,
    QcCounts,
    QcSummary,
    Rates,
    Thresholds,
)
from pytest_distill.pipelines.stage1.cleaning import DELIMITER, TrimRule, clean_response, runs_away

TOKEN_EDGES = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)
MARGIN_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)


def summarise(candidates: Sequence[Candidate], thresholds: Thresholds, *, unit: str) -> QcSummary:
    """The summary of a run or of the union of its shards. `unit` names the tokens, such as "tokens of Qwen2.5-32B"."""
    kept = [c for c in candidates if c.candidate_status == "kept"]
    answered = [c for c in candidates if c.completion is not None]
    first = [c.instruction_critique for c in candidates if c.instruction_critique is not None]
    second = [c.pair_critique for c in candidates if c.pair_critique is not None]
    tokens = distribution([float(c.clean_tokens or 0) for c in kept], TOKEN_EDGES, unit)
    counts = QcCounts(
        generated=len(candidates),
        responses=len(answered),
        kept=len(kept),
        delimiter_found=sum(DELIMITER in (c.completion or "") for c in answered),
        delimiter_missing=sum(DELIMITER not in (c.completion or "") for c in answered),
        heuristic_cutoff=sum(c.trim_rule not in (None, "delimiter") for c in answered),
        hit_token_limit=sum(bool(c.hit_token_limit) for c in answered),
    )
    acceptance = Acceptance(
        instructions_good=sum(c.is_good and c.confident for c in first),
        instructions_bad=sum(not c.is_good and c.confident for c in first),
        instructions_low_confidence=sum(not c.confident for c in first),
        pairs_good=sum(c.is_good and c.confident for c in second),
        pairs_bad=sum(not c.is_good and c.confident for c in second),
        pairs_low_confidence=sum(not c.confident for c in second),
    )
    rates = Rates(
        instruction_acceptance=_share(acceptance.instructions_good, len(candidates)),
        pair_acceptance=_share(acceptance.pairs_good, len(answered)),
        token_limit=_share(counts.hit_token_limit, len(answered)),
        runaway=_share(sum(runs_away(c.response or "", instruction=c.instruction) for c in kept), len(kept)),
        delimiter_leaks=sum(_leaks(c.response or "") for c in kept),
    )
    reasons = tuple(failures(rates, tokens, thresholds))
    return QcSummary(
        counts=counts,
        acceptance=acceptance,
        token_stats=tokens,
        margins=Margins(instruction=_margins(first), pair=_margins(second)),
        thresholds=thresholds,
        rates=rates,
        thresholds_passed=not reasons,
        failed_reasons=reasons,
    )


def failures(rates: Rates, tokens: Distribution, thresholds: Thresholds) -> Iterator[str]:
    """Which thresholds do not hold, in words. A rate that cannot be told fails."""
    shares = (
        ("runaway", rates.runaway, thresholds.max_runaway_share),
        ("token-limit hits", rates.token_limit, thresholds.max_token_limit_share),
    )
    for name, value, limit in shares:
        if value is None or value >= limit:
            yield f"{name}: {_shown(value)}, allowed is below {limit:.1%}"
    if rates.delimiter_leaks > thresholds.max_delimiter_leaks:
        yield f"delimiter leakage: {rates.delimiter_leaks} rows, allowed are {thresholds.max_delimiter_leaks}"
    if tokens.median is None or tokens.median >= thresholds.max_median_tokens:
        yield f"median tokens: {tokens.median}, allowed is below {thresholds.max_median_tokens:g}"
    accepted = (
        ("instruction acceptance", rates.instruction_acceptance, thresholds.min_instruction_acceptance),
        ("pair acceptance", rates.pair_acceptance, thresholds.min_pair_acceptance),
    )
    for name, value, limit in accepted:
        if value is None or value < limit:
            yield f"{name}: {_shown(value)} of generated, needed is {limit:.1%}"


def distribution(values: Sequence[float], edges: Sequence[float], unit: str) -> Distribution:
    """Figures and histogram of values that are 0 or more. The last bin reaches to the largest value."""
    ordered = sorted(values)
    if ordered and ordered[-1] > edges[-1]:
        edges = (*edges, ordered[-1])
    counts = [0] * (len(edges) - 1)
    place = 0
    for value in ordered:
        while place < len(counts) - 1 and value >= edges[place + 1]:
            place += 1
        counts[place] += 1
    return Distribution(
        count=len(ordered),
        median=median(ordered) if ordered else None,
        mean=fmean(ordered) if ordered else None,
        p95=ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None,
        min=ordered[0] if ordered else None,
        max=ordered[-1] if ordered else None,
        unit=unit,
        histogram=Histogram(edges=tuple(edges), counts=tuple(counts)),
    )


def _margins(critiques: Sequence[Critique]) -> Distribution:
    return distribution([c.margin for c in critiques], MARGIN_EDGES, "nats")


def _leaks(response: str) -> bool:
    return clean_response(response).trim_rule in (TrimRule.DELIMITER, TrimRule.FRAGMENT)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _shown(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
