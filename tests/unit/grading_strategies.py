"""Strategies for scores, scorings and calibrations: whatever a scorer may have said, and a fit may have found."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st
from strategies import COUNT, SHA, TEXT

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.calibration import Calibration, CalibrationDigests, HeldOut, Interval, QualityThresholds
from pytest_distill.contracts.fidelity import (
    Difference,
    Fidelity,
    FidelityCalibration,
    FidelityHeldOut,
    FidelityPair,
    FidelityScore,
    Figure,
)
from pytest_distill.contracts.grading import (
    DIMENSIONS,
    Attempt,
    RowScore,
    ScoredDomain,
    Scorer,
    ScorerOutput,
    ScoringPlan,
    ScoringSummary,
    ScoringUnit,
)

WORD = st.text("abc äß", min_size=1, max_size=8).filter(str.strip)
SHARE = st.floats(0, 1)

scores = {name: st.floats(0, highest) for name, highest in DIMENSIONS.items()}
domain = st.builds(ScoredDomain, id=st.integers(0, 15), confidence=SHARE)
output = st.builds(ScorerOutput, **scores, aggregated=SHARE, domain=domain, scorer_model=WORD, scorer_version=WORD)
scorer = st.builds(
    Scorer, model=WORD, version=WORD, revision=WORD, weights_sha256=st.none() | SHA, tokenizer_hash=st.none() | TEXT,
    template_sha256=st.none() | SHA, constrained=st.booleans(), rubric_version=WORD, rubric_sha256=SHA,
)  # fmt: skip
plan = st.builds(
    ScoringPlan, batch=st.just("a-1"), parent_sha256=SHA, scorer=scorer, columns=st.lists(WORD, max_size=3).map(tuple),
    seed=COUNT, retries=st.integers(0, 9), max_new_tokens=st.integers(1, 99), temperature=st.floats(0, 2),
    unit_rows=st.integers(1, 99),
)  # fmt: skip
attempts = st.lists(st.builds(Attempt, code=TEXT, message=TEXT, reply=TEXT), min_size=1, max_size=2).map(tuple)
row = st.builds(RowScore, row=COUNT, output=st.none() | output, failed=attempts)
unit = st.builds(
    ScoringUnit, plan_sha256=SHA, number=COUNT, rows=st.lists(row, max_size=2).map(tuple), tokens_read=COUNT, tokens_written=COUNT
)


@st.composite
def summaries(draw: st.DrawFn) -> ScoringSummary:
    scored, failures = draw(COUNT), draw(st.dictionaries(WORD, COUNT, max_size=3))
    return ScoringSummary(
        parent_sha256=draw(SHA), scorer=draw(scorer), weights=dict.fromkeys(DIMENSIONS, 0.2),
        rows=scored + sum(failures.values()),
        scored=scored, failures=failures, attempts_failed=failures, tokens_read=draw(COUNT), tokens_written=draw(COUNT),
    )  # fmt: skip


interval = st.lists(SHARE, min_size=3, max_size=3).map(sorted).map(lambda x: Interval(low=x[0], value=x[1], high=x[2]))
thresholds = st.lists(SHARE, min_size=2, max_size=2).map(sorted).map(lambda x: QualityThresholds(low=x[0], high=x[1]))
held_out = st.builds(
    HeldOut, count=st.integers(1, 99), auc=interval, balanced_accuracy=interval, precision=st.none() | interval,
    recall=st.none() | interval, rejected_share=SHARE, doubtful_share=SHARE,
)  # fmt: skip
digests = st.builds(CalibrationDigests, data=SHA, model=SHA, rubric=SHA, tokenizer=st.none() | SHA)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    shares = draw(st.lists(st.integers(1, 99), min_size=5, max_size=5).filter(lambda x: len(set(x)) > 1))
    return Calibration(
        weights={name: share / sum(shares) for name, share in zip(DIMENSIONS, shares, strict=True)},
        thresholds=draw(thresholds), count=draw(st.integers(1, 99)), labelled_by="people", scorer_model=draw(WORD),
        scorer_version=draw(WORD), digests=draw(digests), weight_intervals={name: draw(interval) for name in DIMENSIONS},
        threshold_intervals={"low": draw(interval), "high": draw(interval)}, held_out=draw(held_out), precision=draw(SHARE),
        seed=draw(COUNT),
    )  # fmt: skip


verified = st.builds(
    lambda score, model, version: FidelityScore(
        fidelity_score=score, passed=score >= 4, verifier_model=model, version=version
    ),
    st.integers(1, 5), WORD, WORD,
)  # fmt: skip
found_differences = st.lists(st.sampled_from(get_args(Difference)), unique=True).map(tuple)
fidelity = st.builds(
    Fidelity, original=WORD, rephrased=WORD, calibration_sha256=SHA, cosine=st.floats(-1, 1), score=SHARE,
    differences=found_differences, decision=st.sampled_from(["pass", "reject", "verify"]), verifier=st.none() | verified,
)  # fmt: skip


@st.composite
def fidelity_calibrations(draw: st.DrawFn) -> FidelityCalibration:
    low, high = sorted(draw(st.tuples(SHARE, SHARE)))
    weights = {name: draw(st.floats(0, 9)) * (1 if name == "cosine" else -1) for name in get_args(Figure)}
    return FidelityCalibration(
        low=low, high=high, constant=draw(st.floats(-9, 9)), weights=weights, count=draw(st.integers(10, 99)),
        faithful=draw(st.integers(1, 9)), model_sha256=draw(SHA), data_sha256=draw(SHA), seed=draw(COUNT),
        held_out=draw(st.builds(
            FidelityHeldOut, count=st.integers(1, 99), precision=SHARE, recall=SHARE, f1=SHARE, f1_doubtful_passed=SHARE,
            f1_decided=SHARE, verify_share=SHARE,
        )),
    )  # fmt: skip


WRITTEN: dict[str, st.SearchStrategy[Contract]] = {
    "scorer_output": output,
    "scoring_plan": plan,
    "scoring_unit": unit,
    "scoring": summaries(),
    "calibration": calibrations(),
    "fidelity": fidelity,
    "fidelity_pair": st.builds(FidelityPair, original=WORD, rephrased=WORD, faithful=st.none() | st.booleans()),
    "fidelity_score": verified,
    "fidelity_calibration": fidelity_calibrations(),
}

_SHA = "0" * 64
_SCORER = Scorer(model="m", version="v", revision="r", constrained=True, rubric_version="1", rubric_sha256=_SHA)
_SURE = Interval(value=0.5, low=0.4, high=0.6)
ONE: dict[str, Contract] = {
    "scorer_output": ScorerOutput(
        **dict.fromkeys(DIMENSIONS, 0.0), aggregated=0.0, domain=ScoredDomain(id=0, confidence=0.0), scorer_model="m",
        scorer_version="v",
    ),
    "scoring_plan": ScoringPlan(
        batch="a", parent_sha256=_SHA, scorer=_SCORER, columns=(), seed=0, retries=0, max_new_tokens=1, temperature=0.0,
        unit_rows=1,
    ),
    "scoring_unit": ScoringUnit(plan_sha256=_SHA, number=0, rows=(), tokens_read=0, tokens_written=0),
    "scoring": ScoringSummary(
        parent_sha256=_SHA, scorer=_SCORER, weights=dict.fromkeys(DIMENSIONS, 0.2), rows=0, scored=0, tokens_read=0,
        tokens_written=0,
    ),
    "calibration": Calibration(
        weights={**dict.fromkeys(DIMENSIONS, 0.0), "helpfulness": 1.0}, thresholds=QualityThresholds(low=0.4, high=0.6), count=1,
        labelled_by="people", scorer_model="m", scorer_version="v",
        digests=CalibrationDigests(data=_SHA, model=_SHA, rubric=_SHA),
        weight_intervals={}, threshold_intervals={},
        held_out=HeldOut(count=1, auc=_SURE, balanced_accuracy=_SURE, rejected_share=0.0, doubtful_share=0.0), precision=0.9,
        seed=0,
    ),
    "fidelity": Fidelity(
        original="a", rephrased="b", calibration_sha256=_SHA, cosine=0.9, score=0.9, differences=(), decision="pass"
    ),
    "fidelity_pair": FidelityPair(original="a", rephrased="b"),
    "fidelity_score": FidelityScore(fidelity_score=4, passed=True, verifier_model="m", version="v"),
    "fidelity_calibration": FidelityCalibration(
        low=0.5, high=0.9, constant=0.0, weights=dict.fromkeys(get_args(Figure), 0.0), count=2, faithful=1, model_sha256=_SHA,
        data_sha256=_SHA, seed=0,
        held_out=FidelityHeldOut(
            count=1, precision=1, recall=1, f1=1, f1_doubtful_passed=1, f1_decided=1, verify_share=0
        ),
    ),
}  # fmt: skip
