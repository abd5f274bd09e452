"""Acceptance sampling by attributes: how many rows to look at, and how many defects to accept. A single plan (n, c), exact.

A plan is the smallest n, with a c that goes with it, for which a lot at the acceptable quality (AQL) is refused with a risk of
alpha at most, the producer's, and one at the limiting quality (LQ, also LTPD) is accepted with a risk of beta at most, the
consumer's. Chances are hypergeometric for a lot of known size, which drawing without replacement gives, and binomial for a lot
without end. W. C. Guenther, Use of the Binomial, Hypergeometric and Poisson Tables to Obtain Sampling Plans, JQT 1 (1969).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_distill.policy.model import InspectionTable, Policy

MOST_DEFECTS: Final = 300  # where the search ends: AQL and LQ may lie as close as they like, and then every row is looked at
MOST_ROWS: Final = 1_000_000  # of a plan without a lot


@dataclass(frozen=True)
class SamplingPlan:
    """`rows` (n) of a lot are looked at, and it is accepted with at most `accept` (c) defects among them. `lot` None: endless."""

    lot: int | None
    rows: int
    accept: int

    def chance(self, share: float) -> float:
        """The chance that a lot with that share of defects is accepted: a point of the operating characteristic (OC) curve.

        In a lot of known size the share is rounded down to whole rows. Raises ValueError for a share outside 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"a share of defects lies between 0 and 1, not at {share}")
        if self.lot is None:
            return binomial(self.accept, self.rows, share)
        return hypergeometric(self.accept, self.rows, math.floor(share * self.lot + 1e-9), self.lot)

    def curve(self, most: float, points: int = 120) -> list[tuple[float, float]]:
        """Share of defects and chance of acceptance, from no defects to a share of `most`."""
        return [(share, self.chance(share)) for share in (most * step / points for step in range(points + 1))]


def hypergeometric(c: int, n: int, defects: int, lot: int) -> float:
    """P(at most c defects among n rows drawn without replacement from a lot of which `defects` are)."""
    least = max(0, n - (lot - defects))  # more than the good rows cannot be good
    if c >= min(n, defects):
        return 1.0
    if c < least:
        return 0.0
    return min(1.0, math.fsum(_hypergeometric_terms(least, c, n, defects, lot)))


def _hypergeometric_terms(least: int, c: int, n: int, defects: int, lot: int) -> list[float]:
    """P(exactly k) for k from `least` to c: the first as a ratio of binomial coefficients, each next by its ratio."""
    if least == 0:  # none of the defects is drawn: the shorter of two equal products
        short, long = sorted((n, defects))
        log = math.fsum(math.log((lot - long - i) / (lot - i)) for i in range(short))
    else:  # every good row is drawn, and of the defects those n - good that fill the sample
        log = math.fsum(math.log((n - i) / (lot - i)) for i in range(lot - defects))
    terms = [math.exp(log)]
    logs = log
    for k in range(least, c):
        logs += math.log((defects - k) * (n - k)) - math.log((k + 1) * (lot - defects - n + k + 1))
        terms.append(math.exp(logs))
    return terms


def binomial(c: int, n: int, share: float) -> float:
    """P(at most c defects among n rows of which each is one with the chance `share`)."""
    if c >= n or share == 0:
        return 1.0
    if share == 1:
        return 0.0
    log, odds = n * math.log1p(-share), math.log(share) - math.log1p(-share)
    terms = [math.exp(log)]
    for k in range(c):
        log += math.log(n - k) - math.log(k + 1) + odds
        terms.append(math.exp(log))
    return min(1.0, math.fsum(terms))


def single_plan(*, aql: float, limiting_quality: float, alpha: float, beta: float, lot: int | None = None) -> SamplingPlan:
    """The smallest plan that keeps both risks. With a lot the acceptable one has floor(AQL * lot) defects and the limiting one
    ceil(LQ * lot), so that every lot at or beyond either share is covered; looking at every row always keeps both.

    Raises ValueError unless 0 < AQL < LQ < 1 and both risks lie between 0 and 1, or where a plan without a lot gets out of hand.
    """
    if not 0 < aql < limiting_quality < 1 or not (0 < alpha < 1 and 0 < beta < 1):
        raise ValueError("a plan needs 0 < AQL < limiting quality < 1, and risks between 0 and 1")
    most = MOST_ROWS if lot is None else lot
    if lot is None:
        good, poor = aql, limiting_quality
    else:
        good, poor = math.floor(aql * lot + 1e-9), math.ceil(limiting_quality * lot - 1e-9)

    def chance(c: int, n: int, quality: float) -> float:
        return binomial(c, n, quality) if lot is None else hypergeometric(c, n, int(quality), lot)

    n = 0
    for c in range(MOST_DEFECTS):
        n = _smallest(lambda size, c=c: chance(c, size, poor) <= beta, n, most)  # type: ignore[misc]
        if chance(c, n, good) >= 1 - alpha:
            return SamplingPlan(lot, n, c)
        if n == most:
            break
    if lot is None:
        raise ValueError(
            f"AQL {aql} and limiting quality {limiting_quality} lie too close: no plan accepts {MOST_DEFECTS} defects"
        )
    return SamplingPlan(lot, lot, int(good))


def accepting(*, rows: int, limiting_quality: float, beta: float, lot: int) -> int:
    """The most defects that so many rows may show while the consumer's risk stays beta at most; -1 where not even none may."""
    poor, c = math.ceil(limiting_quality * lot - 1e-9), -1
    while c + 1 <= rows and hypergeometric(c + 1, rows, poor, lot) <= beta:
        c += 1
    return c


def _smallest(holds: Callable[[int], bool], low: int, most: int) -> int:
    """The smallest number above `low` for which a condition holds that stays true once it is; `most` where none does."""
    step, high = 1, min(low + 1, most)
    while high < most and not holds(high):
        low, step = high, step * 2
        high = min(low + step, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def why_not_asked(policy: Policy, *, bulk: bool) -> str | None:
    """Why a batch needs no inspection; None where it needs one: generated bulk always, others as the policy says."""
    if bulk or policy.inspection.mode == "always" or policy.inspection.rows > 0:
        return None
    return "for generated bulk, and the policy asks for no other inspection ([inspection] mode)"


def plan_for(policy: Policy, *, bulk: bool, lot: int) -> SamplingPlan:
    """The plan of a batch of `lot` rows: the policy's single plan, or at least `[inspection] rows` of them.

    Where the policy asks for those rows alone (a spot-check of a batch that is no generated bulk), none may be a defect.
    """
    asked = policy.inspection
    floor = min(asked.rows, lot)
    if not bulk and asked.mode != "always" and floor:
        return SamplingPlan(lot, floor, 0)
    return _at_least(asked, floor, lot)


def _at_least(asked: InspectionTable, floor: int, lot: int) -> SamplingPlan:
    if lot == 0:
        return SamplingPlan(0, 0, 0)
    aql, limiting = asked.aql, asked.limiting_quality
    plan = single_plan(aql=aql, limiting_quality=limiting, alpha=asked.alpha, beta=asked.beta, lot=lot)
    if floor <= plan.rows:
        return plan
    return SamplingPlan(lot, floor, accepting(rows=floor, limiting_quality=limiting, beta=asked.beta, lot=lot))
