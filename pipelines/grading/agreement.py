"""How far scorers agree on the same rows: for each dimension rank correlation, weighted kappa and the mean difference."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.domain import DOMAINS
from pytest_distill.contracts.grading import DIMENSIONS, EQUAL_WEIGHTS, SCORES, ScorerOutput
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.replay.statistics import bootstrap_interval

Floats = npt.NDArray[np.float64]
MEAN: Final = "aggregated"
_STEPS: Final = 10  # categories of `aggregated` for kappa, whose other dimensions have one for each whole score


_HEAD: Final = (
    "scorer_a", "scorer_b", "dimension", "rows", "only_a", "only_b", "spearman", "weighted_kappa", "mean_difference",
    "ci_low", "ci_high",
)  # fmt: skip


class Scored(NamedTuple):
    """A scored batch: its name, its scores by the row they are of, and the digest of that row's texts."""

    name: str
    scores: dict[str, ScorerOutput]
    texts: dict[str, str]


class Agreement(NamedTuple):
    """Of two scorers on one dimension. `difference` is the mean of b - a, with its 95% interval (bootstrap over rows).

    `spearman` is None where one of them gives every row the same. `kappa` is quadratically weighted over whole scores; of
    domains, which have no order, it is Cohen's own.
    """

    a: str
    b: str
    dimension: str
    rows: int
    only_a: int
    only_b: int
    spearman: float | None
    kappa: float | None
    difference: float | None
    low: float | None
    high: float | None


def scored(batch: Batch, columns: Sequence[str]) -> Scored:
    """Reads a scored batch. A row is known by its id, which has to be there and unique. Raises E-COLUMN, E-SCORE-…."""
    from pytest_distill.pipelines.grading.reply import complete_output

    for name in ("id", SCORES, *columns):
        if name not in batch.column_names:
            raise DistillError(Code.COLUMN, f"{batch.id} has no column {name!r}", "`distill score` makes batches with scores.")
    rows = batch.frame(["id", SCORES, *columns]).to_dicts()
    outputs: dict[str, ScorerOutput] = {}
    texts: dict[str, str] = {}
    for row in rows:
        key = str(row["id"])
        if key in outputs:
            raise DistillError(Code.COLUMN, f"{batch.id} has the id {key!r} twice", "Rows are matched by their ids.")
        outputs[key] = complete_output(row[SCORES], weights=EQUAL_WEIGHTS)
        texts[key] = storage.sha256_bytes(storage.canonical_json([row[name] for name in columns]))
    return Scored(batch.id, outputs, texts)


def compare(batches: Sequence[Scored], *, seed: int = 0) -> list[Agreement]:
    """Every pair of scorers on every dimension. Raises E-KIND where two have no row in common, or other texts under one id."""
    return [found for a, b in combinations(batches, 2) for found in _pair(a, b, seed)]


def _pair(a: Scored, b: Scored, seed: int) -> Iterator[Agreement]:
    keys = [key for key in a.scores if key in b.scores]
    if not keys:
        raise DistillError(Code.KIND, f"{a.name} and {b.name} have no row in common", "Score the same batch with both.")
    if other := next((key for key in keys if a.texts[key] != b.texts[key]), None):
        raise DistillError(Code.KIND, f"{a.name} and {b.name} have other texts under the id {other!r}", "Score the same batch.")
    alone = (len(a.scores) - len(keys), len(b.scores) - len(keys))
    for name, highest in {**DIMENSIONS, MEAN: 1.0}.items():
        first, second = (np.array([getattr(one.scores[key], name) for key in keys]) for one in (a, b))
        difference = second - first
        low, high = bootstrap_interval(difference.tolist(), seed=seed, resamples=2000)
        steps = _STEPS if name == MEAN else int(highest)
        yield Agreement(
            a.name, b.name, name, len(keys), *alone,
            spearman=spearman(first, second),
            kappa=weighted_kappa(_steps(first, highest, steps), _steps(second, highest, steps), steps + 1),
            difference=float(difference.mean()), low=low, high=high,
        )  # fmt: skip
    domains = [np.array([one.scores[key].domain.id for key in keys]) for one in (a, b)]
    kappa = weighted_kappa(domains[0], domains[1], len(DOMAINS), ordered=False)
    yield Agreement(a.name, b.name, "domain", len(keys), *alone, None, kappa, None, None, None)


def _steps(values: Floats, highest: float, steps: int) -> npt.NDArray[np.int64]:
    """The nearest of `steps` steps up to the highest score, halves upwards."""
    return np.floor(values * steps / highest + 0.5).astype(np.int64)


def spearman(a: Floats, b: Floats) -> float | None:
    """Pearson's correlation of midranks (Spearman 1904); None where one of them does not vary."""
    ranks = [_midranks(values) for values in (a, b)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = math.sqrt(float((centred[0] @ centred[0]) * (centred[1] @ centred[1])))
    return float(centred[0] @ centred[1]) / scale if scale else None


def _midranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def weighted_kappa(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], categories: int, *, ordered: bool = True) -> float | None:
    """Agreement beyond chance (Cohen 1968), disagreements weighted by their square; unweighted where categories have no order.

    None where both always say the same one thing: chance alone would agree.
    """
    seen = np.zeros((categories, categories))
    np.add.at(seen, (a, b), 1.0)
    place = np.arange(categories)
    weights = np.subtract.outer(place, place).astype(float) ** 2 if ordered else 1.0 - np.eye(categories)
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / seen.sum()
    expected = float((weights * chance).sum())
    return 1.0 - float((weights * seen).sum()) / expected if expected else None


def as_csv(found: Sequence[Agreement]) -> bytes:
    """One line for each pair and dimension; what does not exist is empty."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_HEAD)
    for one in found:
        lines.writerow(["" if value is None else f"{value:.6f}" if isinstance(value, float) else value for value in one])
    return text.getvalue().encode()


def as_values(found: Sequence[Agreement]) -> list[Mapping[str, object]]:
    return [one._asdict() for one in found]
