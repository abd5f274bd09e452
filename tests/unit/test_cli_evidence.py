"""The commands from streams to batches, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evidence_workspace import LATER, append, finding, make, review, write

from pytest_distill import clock
from pytest_distill.cli.main import main
from pytest_distill.pipelines.acceptance.run import INVARIANTS


@pytest.fixture(autouse=True)
def clock_left_alone():
    with clock.pinned(LATER):
        yield


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make(
        tmp_path,
        audits=[finding(), finding("high", finding_id="F2"), b'{"torn'],
        observer_reviews=[review(), review(verdict="reject", text="No.")],
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 0) -> Any:
    """The JSON document of a command, or its messages where it gives none."""
    assert main(list(argv)) == status
    out, err = capsys.readouterr()
    return json.loads(out) if out else err


def test_from_streams_to_batches_step_by_step(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = told(capsys, "evidence", "build", "--json")["streams"]
    assert [(one["stream"], one["rows"], one["out"], one["skipped"]) for one in built] == [
        ("audits", 3, 2, 1),
        ("observer_reviews", 2, 2, 0),
    ]
    assert told(capsys, "evidence", "score", "--json")["categories"] == {"accepted": 2, "rejected": 2}
    health = told(capsys, "evidence", "health", "--json")
    assert (health["sampled"], health["broken"]) == (4, [])
    assert told(capsys, "export-sft", "--dry-run", "--json")["batch"] is None
    sft = told(capsys, "export-sft", "--json")
    assert (sft["samples"], sft["added"], sft["reasons"]) == (2, 2, {"unsafe_sft_category": 2})
    assert (place / "batches" / sft["batch"] / "manifest.json").is_file()
    assert told(capsys, "export-sft", "--json")["added"] == 0
    assert told(capsys, "export-preference", "--id", "pairs", "--json")["batch"] == "pairs"
    assert told(capsys, "evidence", "playbooks", "--json")["playbooks"] == 2
    assert [run["pipeline"] for run in told(capsys, "runs", "--json")][::-1] == [
        "collect", "score", "export-sft", "export-sft", "export-preference",
    ]  # fmt: skip


def test_all_of_it_in_one_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = told(capsys, "run-all", "--json")
    assert [stage["stage"] for stage in ran["summary"]["stages"]] == [
        "collect",
        "score",
        "export-rag",
        "export-sft",
        "export-preference",
    ]
    assert ran["summary"]["overall_passed"] is False, "a row was skipped"
    again = told(capsys, "run-all", "--json")
    assert again["summary"]["run_hash"] == ran["summary"]["run_hash"]
    assert again["summary"]["totals"]["out"] == 0
    said = told(capsys, "run-all")
    assert "collect: 5 rows read, 0 added, 1 skipped" in said
    assert "it stood already" in said


def test_no_stage_runs_on_missing_stale_or_changed_output(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "E-STALE" in told(capsys, "evidence", "score", status=1)
    assert "E-STALE" in told(capsys, "export-rag", status=1)
    told(capsys, "run-all", "-q")
    append(place, "observer_reviews", review("src/c.rs"))
    assert "observer_reviews.jsonl, which it read, has changed" in told(capsys, "evidence", "score", status=1)
    told(capsys, "evidence", "build", "-q")
    assert "E-STALE" in told(capsys, "export-rag", status=1), "the scores are of the evidence before"
    told(capsys, "evidence", "score", "-q")
    assert told(capsys, "export-rag", "--json")["samples"] == 3
    for path in (place / "scored-runs").rglob("audits.jsonl"):
        path.write_bytes(path.read_bytes().replace(b'"rejected"', b'"accepted"'))
    assert "E-STALE" in told(capsys, "export-sft", status=1)


def test_stages_after_a_failed_one_are_listed_as_not_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "run-all", "-q")
    for path in (place / "evidence").rglob("2026/**/audits.jsonl"):
        path.write_bytes(path.read_bytes().replace(b"retry", b"other"))
    assert "E-BATCH-CORRUPT" in told(capsys, "run-all", status=1)
    summary = told(capsys, "runs", "show", "latest", "--json")["summary"]
    assert [stage["stage"] for stage in summary["not_run"]] == ["score", "export-rag", "export-sft", "export-preference"]
    assert summary["overall_passed"] is False


def test_a_row_that_does_not_trace_back_is_an_exit_of_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "evidence", "build", "-q")
    write(place, "audits", [finding(finding_id="F9")])
    assert told(capsys, "evidence", "health", "--json", status=1)["broken"]
    assert main(["evidence", "health"]) == 1
    assert "sampled rows trace back" in capsys.readouterr().err
    assert "E-USAGE" in told(capsys, "evidence", "health", "--sample", "0", status=1)


def test_files_that_nobody_knows_are_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, "observer_reviews", [review(text="It breaks src/no/one.rs."), review("src/b.rs", text="Fine.")])
    told(capsys, "run-all", "-q")
    (place / "files.txt").write_text("src/a.rs\nsrc/b.rs\n")
    found = told(capsys, "export-sft", "--known-files", "files.txt", "--json")
    assert found["reasons"]["hallucinated_file_path"] == 1
    assert "E-SOURCE-NOTFOUND" in told(capsys, "export-sft", "--known-files", "gone.txt", status=1)


def test_the_acceptance_run_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "acceptance", "--json", "--keep", str(tmp_path / "kept"))
    assert (found["invariants"], found["passed"], found["holds"]) == (INVARIANTS, 22, True)
    assert len(found["outcomes"]) == 22
    assert list((tmp_path / "kept").rglob("summary.json"))
    assert "E-USAGE" in told(capsys, "acceptance", "--keep", str(tmp_path), status=1)
