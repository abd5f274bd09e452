"""The scorer: the document's rules, class by class; extractions by their parents; nothing but its arguments."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
from evidence_strategies import evidence as any_evidence
from evidence_workspace import (
    LATER,
    analysis,
    append,
    collect,
    evidence,
    experiment,
    fact,
    finding,
    make,
    outcome,
    patch,
    review,
    scored,
    scrum,
    tree,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_distill import clock
from pytest_distill.contracts.evidence import CATEGORIES, ModelLedgerEntry, ScoredRun
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import purity, score, scoring, store
from pytest_distill.pipelines.evidence.score import Parent, score_record


@pytest.fixture(autouse=True)
def pinned_clock():
    with clock.pinned(LATER):
        yield


A, P, R, H = CATEGORIES


@pytest.mark.parametrize(
    ("stream", "row", "category", "reason"),
    [
        ("scrum_reviews", scrum(attempt=1), A, "attempt 1"),
        ("scrum_reviews", scrum(attempt=2), P, "attempt 2"),
        ("scrum_reviews", scrum(attempt=3), P, "attempt 3"),
        ("scrum_reviews", scrum(attempt=4), P, "attempt 4"),
        ("scrum_reviews", scrum(attempt=None), H, "no marker"),
        ("scrum_reviews", scrum(attempt=0), H, "no marker"),
        ("observer_reviews", review(verdict="accept"), A, "accepted"),
        ("observer_reviews", review(verdict="reject"), R, "rejected"),
        ("observer_reviews", review(verdict="cycle"), P, "once more"),
        ("observer_reviews", review(verdict="maybe"), H, "no observer"),
        ("audits", finding("info"), A, "low"),
        ("audits", finding("LOW"), A, "low"),
        ("audits", finding("medium"), P, "medium"),
        ("audits", finding("high"), R, "audit_severity_high"),
        ("audits", finding("critical", drift=True), R, "drift"),
        ("audits", finding("unheard of"), H, "no observer"),
        ("contract_analyses", analysis("accept"), A, "accepted"),
        ("contract_analyses", analysis("accept", ok=False), R, "not_ok"),
        ("contract_analyses", analysis("reject"), R, "rejected"),
        ("contract_analyses", analysis(None), H, "no observer"),
        ("auto_apply", patch("committed"), A, "committed"),
        ("auto_apply", patch("build_red_reverted"), R, "build_red_reverted"),
        ("auto_apply", patch("all_rejected"), H, "neither"),
        ("outcomes", outcome(3, 3), A, "every event"),
        ("outcomes", outcome(3, 3, gaps=1), P, "gap"),
        ("outcomes", outcome(3, 2), H, "not every event"),
        ("mode_experiments", experiment(text=""), R, "empty"),
        ("mode_experiments", experiment(0.8), A, "0.80"),
        ("mode_experiments", experiment(0.79), P, "0.79"),
        ("mode_experiments", experiment(0.5), P, "0.50"),
        ("mode_experiments", experiment(0.49), R, "0.49"),
        ("mode_experiments", experiment(0.9, latency_ms=120_001), P, "120 s"),
        ("mode_experiments", experiment(0.9, latency_ms=120_000), A, "0.90"),
        ("mode_experiments", experiment(0.1, latency_ms=120_001), R, "0.10"),
        ("mode_experiments", experiment(None, latency_ms=120_001), P, "120 s"),
        ("mode_experiments", experiment(None), H, "grounded"),
        ("mode_experiments", experiment(None, validation_results={"grounded": 3, "claims": 4}), P, "0.75"),
        ("distilled_facts", fact(), H, "without a verdict"),
    ],
)
def test_a_row_of_each_kind_has_its_category(tmp_path: Path, stream: str, row, category: str, reason: str) -> None:
    (found,) = scored(make(tmp_path, **{stream: [row]})).values()
    assert found.category == category
    assert any(reason in each for each in found.reasons), found.reasons
    assert found.scorer_version == score.SCORER_VERSION


def test_the_fourth_attempt_is_dear(tmp_path: Path) -> None:
    (found,) = scored(make(tmp_path, scrum_reviews=[scrum(attempt=4)])).values()
    assert "high cost: 4 attempts" in found.reasons


@pytest.mark.parametrize(
    ("verdicts", "category"),
    [
        (["accept"], A),
        (["reject"], R),
        (["cycle"], P),
        (["accept", "accept"], A),
        (["accept", "reject"], H),
        ([], H),
        (["maybe"], H),
    ],
)
def test_an_extraction_has_the_category_its_task_has(tmp_path: Path, verdicts: list[str], category: str) -> None:
    reviews = [review(verdict=verdict, text=f"{number}") for number, verdict in enumerate(verdicts)]
    workspace = make(
        tmp_path, distilled_facts=[fact("observer_review:src/a.rs")], observer_reviews=[*reviews, review("src/z.rs")]
    )
    found = scored(workspace)["d-1"]
    assert found.category == category
    assert (found.joined_run_id is not None) == (category != H)


def test_a_verdict_that_comes_later_reaches_the_extraction(tmp_path: Path) -> None:
    workspace = make(tmp_path, distilled_facts=[fact("observer_review:src/a.rs")], observer_reviews=[review("src/z.rs")])
    assert scored(workspace)["d-1"].category == H
    append(tmp_path, "observer_reviews", review("src/a.rs"))
    with clock.pinned("2026-05-01T00:00:00Z"):
        found = scored(workspace)
    assert found["d-1"].category == A
    assert found["d-1"].scored_at == "2026-05-01T00:00:00Z"
    assert [run.scored_at for run in found.values() if run.evidence_task_id.endswith("z.rs")] == [LATER], "not scored again"


def test_there_is_one_score_for_every_row_in_the_same_order(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding("high", finding_id="F1"), finding(finding_id="F2")], outcomes=[outcome()])
    assert list(scored(workspace)) == ["audit:F1", "audit:F2", "run-1"] == [row.run_id for row in evidence(workspace)]


def test_scoring_again_adds_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding("high"), finding("low", finding_id="F2")], distilled_facts=[fact()])
    scored(workspace)
    before = tree(tmp_path / "scored-runs")
    with clock.pinned("2026-05-05T05:05:05Z"):
        found = scoring.score(workspace)
        assert (found.rows, found.out) == (3, 0)
        (tmp_path / ".distill/evidence" / scoring.STATE).unlink()
        found = scoring.score(workspace)  # nothing is remembered: all is scored, and nothing is new
    assert (found.rows, found.out) == (3, 0)
    assert tree(tmp_path / "scored-runs") == before


def test_another_scorer_scores_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make(tmp_path, audits=[finding()])
    scored(workspace)
    monkeypatch.setattr(scoring, "SCORER_VERSION", "9.9.9")
    assert scoring.score(workspace).out == 1
    assert {run.scorer_version for run in scored(workspace).values()} == {"9.9.9"}


def test_scores_that_were_edited_are_made_again(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding("high")])
    scored(workspace)
    path = next((tmp_path / "scored-runs").rglob("audits.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"rejected"', b'"accepted"'))
    assert scoring.score(workspace).out == 1
    assert [run.category for run in store.rows(path, ScoredRun)] == [R]


def test_how_each_model_did_is_summed_up(tmp_path: Path) -> None:
    rows = [
        review(verdict=verdict, text=str(number))
        for number, verdict in enumerate(["accept", "accept", "reject", "cycle", "maybe"])
    ]
    workspace = make(tmp_path, observer_reviews=rows, model_trust=[
        {"ts": 1772323200123, "model": "m", "task_type": "retry", "outcome": "rejected", "run_id": "t1"},
    ])  # fmt: skip
    scored(workspace)
    found = {e.task_type: e for e in store.rows(tmp_path / "scored-runs" / scoring.LEDGER, ModelLedgerEntry)}
    entry = found["observer_review"]
    assert (entry.model, entry.sample_count, entry.accepted, entry.partially_accepted, entry.rejected) == ("m", 4, 2, 1, 1)
    assert entry.success_rate == 0.5
    assert found["retry"].success_rate == 0.0


def test_without_evidence_there_is_nothing_to_score(tmp_path: Path) -> None:
    with pytest.raises(DistillError) as caught:
        scoring.score(make(tmp_path))
    assert caught.value.code is Code.SOURCE


@given(any_evidence, st.none() | st.builds(Parent, st.sampled_from([None, *CATEGORIES]), st.just("p")))
@settings(max_examples=80, deadline=None)
def test_every_record_has_a_category_and_a_reason_and_always_the_same(record, parent) -> None:
    found = score_record(record, parent)
    assert found.category in CATEGORIES
    assert found.reasons
    assert all(found.reasons)
    assert score_record(record, parent) == found
    assert record.scored_by == "join" or score_record(record) == found, "a parent is for extractions only"


def test_the_scorer_is_pure() -> None:
    for name, function in inspect.getmembers(score, inspect.isfunction):
        if function.__module__ == score.__name__:
            assert purity.impurities(function) == [], name


def test_the_scorers_version_is_a_constant_of_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    source = inspect.getsource(score)
    assert f'SCORER_VERSION = "{score.SCORER_VERSION}"' in source
    assert "environ" not in source
    for name in ("SCORER_VERSION", "DISTILL_SCORER_VERSION"):
        monkeypatch.setenv(name, "7.7.7")
    namespace: dict[str, object] = {"__name__": "again", "__file__": score.__file__}
    exec(compile(source, score.__file__, "exec"), namespace)  # as it would be with that environment
    assert namespace["SCORER_VERSION"] == score.SCORER_VERSION
    assert os.environ["SCORER_VERSION"] == "7.7.7"


def test_collect_is_needed_before_score(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding()])
    collect(workspace)
    assert scoring.score(workspace).rows == 1
