"""Drift: what differs between two runs, and how much it matters."""

from __future__ import annotations

import json
from typing import Any

import pytest
import receipt_strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_distill.contracts.receipts import (
    DriftReport,
    RecordCounts,
    RunSummary,
    StageLine,
    StageReceipt,
    Validation,
    io_hash,
    pct_change,
    run_hash,
)
from pytest_distill.errors import DistillError
from pytest_distill.stages import drift

A, B = "a" * 64, "b" * 64


def line(
    stage: str = "score", *, given: str = A, left: str = B, errors: tuple[str, ...] = (), completed: bool = True, **counts: int
) -> StageLine:
    materialised = {name.removeprefix("stands_"): n for name, n in counts.items() if name.startswith("stands_")}
    found = RecordCounts.model_validate({name: n for name, n in counts.items() if not name.startswith("stands_")})
    return StageLine(
        stage=stage, input_hash=given, output_hash=left, record_counts=found, materialised=materialised,
        passed=found.skipped == 0 and not errors, completed=completed, errors=errors,
    )  # fmt: skip


def run(number: int, *lines: StageLine) -> RunSummary:
    return RunSummary(
        run_id=f"{number:06d}", pipeline="run-all", version="1", stages=lines,
        totals=sum((one.record_counts for one in lines), RecordCounts()),
        overall_passed=bool(lines) and all(one.passed and one.completed for one in lines), run_hash=run_hash(lines),
        started_at="", duration_seconds=number,
    )  # fmt: skip


def compare(before: StageLine | None, after: StageLine | None, *, warn_percent: float = 20.0) -> DriftReport:
    return drift.compare(run(1, *filter(None, [before])), run(2, *filter(None, [after])), warn_percent=warn_percent)


def kinds(report: DriftReport) -> list[str]:
    return [flag.kind for flag in report.flags]


def test_two_equal_runs_are_ok() -> None:
    report = compare(line(in_=10, out=9), line(in_=10, out=9))
    assert (report.severity, report.flags, report.run_hash_match) == ("ok", (), True)


@pytest.mark.parametrize(("now", "severity"), [(100, "ok"), (120, "ok"), (121, "warn"), (80, "ok"), (79, "warn"), (0, "warn")])
def test_more_than_a_fifth_up_or_down_is_a_warning_and_a_fifth_is_none(now: int, severity: str) -> None:
    report = compare(line(given=A, out=100), line(given=B, left=A, out=now))
    assert report.severity == severity
    assert kinds(report) == (["swing"] if severity == "warn" else [])


@pytest.mark.parametrize(("percent", "severity"), [(5.0, "warn"), (50.0, "ok")])
def test_the_share_that_warns_is_the_policys(percent: float, severity: str) -> None:
    assert compare(line(out=100), line(given=B, out=130), warn_percent=percent).severity == severity


def test_a_swing_that_rounds_to_the_bound_is_still_one() -> None:
    assert pct_change(1_000_000, 1_200_001) == 20.0
    assert compare(line(out=1_000_000), line(given=B, out=1_200_001)).severity == "warn"


def test_from_nothing_to_something_is_a_warning_without_a_percentage() -> None:
    report = compare(line(rejected=0), line(given=B, rejected=3))
    assert kinds(report) == ["from_zero"]
    assert {delta.name: delta.pct_change for delta in report.stages[0].deltas}["rejected"] is None


def test_from_nothing_to_nothing_is_no_change() -> None:
    assert compare(line(), line()).severity == "ok"


def test_a_new_class_of_error_is_a_warning_and_a_known_one_is_none() -> None:
    before = line(errors=("E-COLUMN: a is missing",))
    assert kinds(compare(before, line(errors=("E-COLUMN: b is missing",)))) == []
    report = compare(before, line(errors=("E-COLUMN: b is missing", "E-KIND: no rows")))
    assert [(flag.kind, flag.message) for flag in report.flags] == [("new_error_class", "E-KIND: no rows")]


def test_the_same_input_with_another_output_is_an_alert() -> None:
    report = compare(line(given=A, left=A), line(given=A, left=B))
    assert (report.severity, kinds(report)) == ("alert", ["deterministic_violation"])
    assert report.stages[0].deterministic_violation


def test_another_input_with_another_output_is_no_violation() -> None:
    report = compare(line(given=A, left=A), line(given=B, left=B))
    assert (report.severity, report.stages[0].input_hash_match, report.stages[0].output_hash_match) == ("ok", False, False)


@pytest.mark.parametrize(("before", "after", "kind"), [(None, line(), "stage_new"), (line(), None, "stage_missing")])
def test_a_stage_of_one_run_only_is_a_warning_and_matches_nothing(before: Any, after: Any, kind: str) -> None:
    report = compare(before, after)
    assert (report.severity, kinds(report), report.stages[0].input_hash_match) == ("warn", [kind], None)


@pytest.mark.parametrize("which", ["before", "after"])
def test_a_stage_that_did_not_complete_is_held_against_nothing(which: str) -> None:
    broken = line(left=A, completed=False, errors=("OSError: disk",))
    report = compare(broken, line()) if which == "before" else compare(line(), broken)
    assert (report.stages[0].output_hash_match, report.stages[0].deterministic_violation) == (None, False)
    assert report.severity == ("ok" if which == "before" else "warn")


def test_an_idempotent_second_run_is_ok_because_what_stands_is_compared() -> None:
    first = line(in_=14, out=14, stands_rows=14)
    second = line(in_=14, out=0, deduped=14, stands_rows=14)
    assert compare(first, second).severity == "ok"
    assert compare(line(in_=14, out=14), line(in_=14, out=0, deduped=14)).severity == "warn", "what was written would mislead"


def test_the_worst_flag_is_the_severity() -> None:
    assert compare(line(given=A, left=A, out=1), line(given=A, left=B, out=9)).severity == "alert"


@given(receipt_strategies.summaries(), receipt_strategies.summaries(), st.floats(1, 100))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_report_is_of_these_two_runs_and_of_no_time(one: RunSummary, other: RunSummary, percent: float) -> None:
    report = drift.compare(one, other, warn_percent=percent)
    later = other.model_copy(update={"started_at": "later", "duration_seconds": 9.5, "git_sha": None})
    assert drift.compare(one, later, warn_percent=percent) == report
    assert {stage.stage for stage in report.stages} == {s.stage for s in (*one.stages, *other.stages)}


@given(receipt_strategies.summaries())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_does_not_drift_from_itself(summary: RunSummary) -> None:
    report = drift.compare(summary, summary, warn_percent=20.0)
    assert {flag.kind for flag in report.flags} <= {"incomplete"}


# -- planted faults ---------------------------------------------------------------------------------------------------------


def test_an_input_hash_match_that_is_always_true_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: with it, every change of the input would be an alert, or none would ever be one."""
    monkeypatch.setattr(drift, "match", lambda prior, now: True)
    with pytest.raises(ValidationError, match="input_hash_match is not the comparison"):
        compare(line(given=A), line(given=B))


def test_a_violation_that_is_kept_quiet_is_caught() -> None:
    """Planted fault: a report that was edited, or a comparison that forgets the flag."""
    value = json.loads(compare(line(given=A, left=A), line(given=A, left=B)).to_bytes())
    for changes, said in (
        ({"flags": [], "severity": "ok"}, "every deterministic violation has a flag"),
        ({"severity": "ok"}, "severity is not that of the worst flag"),
    ):
        with pytest.raises(DistillError, match=said):
            DriftReport.from_bytes(json.dumps(value | changes).encode(), name="drift.json")


def test_a_percentage_that_was_made_up_is_caught() -> None:
    value = json.loads(compare(line(out=100), line(given=B, out=150)).to_bytes())
    value["stages"][0]["deltas"][1]["pct_change"] = 1.0
    with pytest.raises(DistillError, match="pct_change is not that of the two values"):
        DriftReport.from_bytes(json.dumps(value).encode(), name="drift.json")


def test_a_clock_in_the_hash_is_caught() -> None:
    """Planted fault: a receipt whose input hash knows when the stage ran is refused by its own contract."""
    parts = {
        "run_id": "000001", "stage": "score", "position": 1, "version": "1", "output_hash": io_hash(()),
        "validation": Validation(passed=True), "completed": True, "started_at": "2026-01-31T12:00:00Z", "duration_seconds": 1.0,
    }  # fmt: skip
    with pytest.raises(ValidationError, match="input_hash is not that"):
        StageReceipt(**parts, input_hash=io_hash((), {"started_at": "2026-01-31T12:00:00Z"}))
