"""The report that a run leaves beside its evidence."""

from __future__ import annotations

import pytest
from workbench import Bench, inside

from pytest_distill.gating import session
from pytest_distill.policy import workspace
from pytest_distill.report import judged, page

GATE = """
@gate("own.short", rejects="too_long", limits={"max_chars": 40})
def test_short(answer_text, quarantine, limits):
    "Answers are short."
    quarantine(answer_text.str.len_chars() > limits.max_chars, found=answer_text, text=answer_text)
"""


def test_every_run_on_a_small_batch_leaves_its_report(bench: Bench) -> None:
    bench.gates(GATE)
    ended = bench.judge()
    assert ended.folder is not None
    html = (ended.folder / "report.html").read_text()
    assert "own.short" in html
    assert f"report: {ended.folder.relative_to(bench.root)}/report.html" in ended.out
    assert ended.record.verdict == "FAILED"
    assert "next: Mend the rows" in ended.out


def test_the_report_of_the_run_is_the_report_of_the_command(bench: Bench) -> None:
    """Columns of the scan that has just run, or of the cache: the same bytes."""
    ended = bench.judge()
    assert ended.folder is not None
    html = (ended.folder / "report.html").read_text()
    assert page.page(judged.load(workspace.load(bench.root), "demo")) == html


def test_quiet_runs_do_not_speak_of_it(bench: Bench) -> None:
    ended = bench.judge("-q")
    assert ended.folder is not None
    assert (ended.folder / "report.html").is_file()
    assert "report:" not in ended.out


def test_a_large_batch_gets_its_report_on_demand(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REPORTED_ROWS", 29)
    ended = bench.judge()
    assert ended.folder is not None
    assert not (ended.folder / "report.html").exists()
    assert "report: distill report demo" in ended.out
    asked = bench.judge("-q", "--distill-report=out/page.html")
    assert (bench.root / "out" / "page.html").is_file()
    assert "report: out/page.html" in asked.out


def test_a_report_that_cannot_be_written_leaves_the_verdict_alone(bench: Bench) -> None:
    bench.file("taken", "")
    ended = bench.judge("--distill-report=taken/page.html")
    assert ended.code == 1, "somebody waits for that file"
    assert ended.record.verdict == "PASSED"
    assert ended.sealed
    assert "could not write" in ended.out


def test_without_the_cache_the_columns_of_the_scan_are_drawn(bench: Bench) -> None:
    ended = bench.judge("--distill-no-cache")
    assert ended.folder is not None
    assert "Length of answers" in (ended.folder / "report.html").read_text()


def test_a_distributed_run_has_one_too(bench: Bench) -> None:
    ended = bench.subprocess("-n", "2")
    assert ended.folder is not None
    assert (ended.folder / "report.html").is_file()


def test_a_report_without_a_batch_is_refused(bench: Bench) -> None:
    with inside(bench.root) as (_, err):
        assert pytest.main(["--distill-report=page.html"]) == pytest.ExitCode.USAGE_ERROR
    assert "ERROR [E-USAGE]: --distill-report needs --distill-batch" in err.getvalue()
