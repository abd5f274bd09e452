"""Strategies for the records of grading by domain and by density."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import COUNT, SHA

from pytest_distill.contracts import diversity, domain
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.diversity import DiversityCalibration
from pytest_distill.contracts.domain import (
    DOMAINS,
    Domain,
    DomainBackbone,
    DomainClassifier,
    DomainData,
    DomainMetrics,
    DomainScore,
    DomainTraining,
)

SHARE = st.floats(0, 1)
SAID = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
ID = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)


@st.composite
def classifiers(draw: st.DrawFn) -> DomainClassifier:
    trained = tuple(sorted(draw(st.sets(st.sampled_from(DOMAINS), min_size=2)), key=DOMAINS.index))
    scores = tuple(
        DomainScore(domain=name, precision=draw(SHARE), recall=draw(SHARE), f1=draw(SHARE), rows=draw(st.integers(1, 99)))
        for name in trained
    )
    parts = [draw(COUNT) for _ in range(3)]
    layers = draw(st.integers(1, 99))
    return DomainClassifier(
        trained=trained,
        weights_sha256=draw(SHA),
        temperature=draw(st.floats(0.01, 100)),
        backbone=DomainBackbone(
            name=draw(SAID), family=draw(st.sampled_from(["causal", "encoder"])), sha256=draw(SHA), layers=layers,
            hidden_dim=draw(st.integers(1, 9999)), layer=draw(st.integers(1, layers)), max_tokens=draw(st.integers(1, 9999)),
        ),
        training=DomainTraining(
            epochs=draw(st.integers(1, 9)), lr=draw(st.floats(1e-9, 1)), batch_size=draw(st.integers(1, 99)), seed=draw(COUNT),
            held_out=draw(st.floats(0.01, 0.89)), near_duplicates=draw(st.floats(0.01, 1)), label=draw(SAID),
            group=draw(st.none() | SAID), rows=sum(parts), rows_train=parts[0], rows_calibration=parts[1],
            rows_held_out=parts[2], families=draw(COUNT),
        ),
        metrics=DomainMetrics(
            macro_f1=min(1.0, sum(score.f1 for score in scores) / len(scores)), accuracy=draw(SHARE), majority_f1=draw(SHARE),
            ece_uncalibrated=draw(SHARE), ece=draw(SHARE), domains=scores,
        ),
        data=tuple(draw(st.lists(st.builds(DomainData, batch=ID, sha256=SHA, rows=COUNT), min_size=1, max_size=2))),
    )  # fmt: skip


_SCORES = tuple(DomainScore(domain=name, precision=1.0, recall=1.0, f1=1.0, rows=5) for name in ("code", "math"))


@st.composite
def calibrations(draw: st.DrawFn) -> DiversityCalibration:
    low, radius, high = sorted(draw(st.lists(st.floats(-1, 1), min_size=3, max_size=3)))
    pairs, count = draw(st.booleans()), draw(st.integers(2, 2**40))
    return DiversityCalibration(
        method="pairs" if pairs else "reference", radius=radius, low=low, high=high, count=count,
        duplicates=draw(st.integers(1, count - 1)) if pairs else None, precision=draw(SHARE) if pairs else None,
        recall=draw(SHARE) if pairs else None, f1=draw(SHARE) if pairs else None, quantile=None if pairs else draw(SHARE),
        seed=draw(COUNT), data_sha256=draw(SHA), model_sha256=draw(SHA), created_at="2026-01-31T12:00:00Z",
    )  # fmt: skip


WRITTEN: dict[str, st.SearchStrategy[Contract]] = {
    "diversity_calibration": calibrations(),
    "domain": st.integers(0, 15).flatmap(
        lambda place: st.builds(Domain, id=st.just(place), name=st.just(DOMAINS[place]), confidence=SHARE)
    ),
    "domain_classifier": classifiers(),
}
ONE: dict[str, Contract] = {
    "diversity_calibration": DiversityCalibration(
        method="reference", radius=0.5, low=0.5, high=0.5, count=20, quantile=0.95, seed=0, data_sha256="a" * 64,
        model_sha256="b" * 64, created_at="2026-01-31T12:00:00Z",
    ),
    "domain": Domain(id=1, name="math", confidence=0.5),
    "domain_classifier": DomainClassifier(
        trained=("code", "math"),
        weights_sha256="a" * 64,
        temperature=1.0,
        backbone=DomainBackbone(
            name="m", family="causal", sha256="b" * 64, layers=2, hidden_dim=8, layer=1, max_tokens=9
        ),
        training=DomainTraining(
            epochs=1, lr=1e-4, batch_size=32, seed=0, held_out=0.2, near_duplicates=0.5, label="label", rows=30, rows_train=15,
            rows_calibration=5, rows_held_out=10, families=30,
        ),
        metrics=DomainMetrics(
            macro_f1=1.0, accuracy=1.0, majority_f1=0.3, ece_uncalibrated=0.0, ece=0.0, domains=_SCORES
        ),
        data=(DomainData(batch="b", sha256="c" * 64, rows=30),),
    )
}  # fmt: skip
MODELS = {
    value
    for module in (diversity, domain)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Contract)
}
