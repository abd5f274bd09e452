"""`distill runs` and `distill drift`: what people and programs read of the runs of stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_distill.cli.main import main
from pytest_distill.policy import workspace as workspaces
from pytest_distill.stages.receipts import open_run


def stages(root: Path, *, left: str, rows: int = 1) -> None:
    """A run of two stages: collect reads in.jsonl and leaves what is said, and score leaves that too."""
    with open_run(workspaces.load(root), "run-all") as run:
        with run.stage("collect") as stage:
            stage.reads(root / "in.jsonl")
            (root / "out.jsonl").write_text(left * rows)
            stage.writes(root / "out.jsonl")
            stage.count(in_=rows, out=rows)
        with run.stage("score") as stage:
            stage.reads(root / "out.jsonl")
            stage.count(in_=rows, skipped=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "distill.toml").write_text("")
    (tmp_path / "in.jsonl").write_text("{}\n")
    return tmp_path


@pytest.fixture
def distill(root: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, str, str]:
        status = main([*words, "--workspace", str(root)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def test_runs_lists_the_newest_first(root: Path, distill: Any) -> None:
    stages(root, left="{}\n")
    stages(root, left="{}\n")
    status, out, _ = distill("runs")
    assert status == 0
    assert out.index("000002") < out.index("000001")
    assert "collect, score" in out
    assert [run["run_id"] for run in json.loads(distill("runs", "--json")[1])] == ["000002", "000001"]
    assert [run["run_id"] for run in json.loads(distill("runs", "-n", "1", "--json")[1])] == ["000002"]


def test_a_workspace_without_runs_says_so(distill: Any) -> None:
    assert distill("runs") == (0, "", "No stage has run in this workspace yet; `distill ingest` is one.\n")
    assert json.loads(distill("runs", "--json")[1]) == []


def test_show_tells_stages_counts_errors_files_and_drift(root: Path, distill: Any) -> None:
    stages(root, left="{}\n")
    stages(root, left='{"a": 1}\n')
    _, out, _ = distill("runs", "show", "2", "-v")
    for part in ("run 000002, run-all: did not pass", "collect", "in.jsonl", "drift against run 000001: alert", "same input"):
        assert part in out
    document = json.loads(distill("runs", "show", "latest", "--json")[1])
    assert document["summary"]["run_id"] == "000002"
    assert [receipt["stage"] for receipt in document["receipts"]] == ["collect", "score"]
    assert document["drift"]["severity"] == "alert"


def test_drift_exits_with_one_on_an_alert_only(root: Path, distill: Any) -> None:
    stages(root, left="{}\n")
    stages(root, left="{}\n")
    stages(root, left='{"a": 1}\n')
    assert distill("drift", "1", "2")[0] == 0
    status, out, _ = distill("drift", "1", "3")
    assert status == 1
    assert "alert, collect: the same input" in out
    assert json.loads(distill("drift", "2", "--json")[1])["severity"] == "alert"


def test_the_share_that_warns_comes_from_the_policy(root: Path, distill: Any) -> None:
    stages(root, left="{}\n", rows=10)
    (root / "in.jsonl").write_text("{}\n{}\n")
    stages(root, left="{}\n", rows=13)
    assert json.loads(distill("drift", "1", "2", "--json")[1])["severity"] == "warn"
    (root / "distill.toml").write_text("[drift]\nwarn_percent = 50.0\n")
    assert json.loads(distill("drift", "1", "2", "--json")[1])["severity"] == "ok"


@pytest.mark.parametrize("words", [["runs", "show", "9"], ["drift", "8", "9"], ["runs", "-n", "0"]])
def test_what_is_not_there_is_refused_in_one_line(distill: Any, words: list[str]) -> None:
    status, _, err = distill(*words)
    assert status == 1
    assert err.startswith("ERROR [E-USAGE]")
    assert err.count("\n") == 1


def test_ingest_leaves_a_receipt_when_it_works_and_when_it_does_not(root: Path, distill: Any) -> None:
    (root / "rows.jsonl").write_text('{"instruction": "Say 4.", "response": "4"}\nno row\n')
    assert distill("ingest", str(root / "rows.jsonl"), "--id", "a")[0] == 0
    assert distill("ingest", str(root / "rows.jsonl"), "--id", "a")[0] == 1
    done = json.loads(distill("runs", "show", "1", "--json")[1])["receipts"][0]
    assert done["record_counts"] == {
        "in": 2, "out": 1, "accepted": 0, "rejected": 0, "quarantined": 1, "skipped": 0, "deduped": 0,
    }  # fmt: skip
    assert [file["path"] for file in done["inputs"] + done["outputs"]] == ["rows.jsonl", "batches/a/SHA256SUMS"]
    failed = json.loads(distill("runs", "show", "2", "--json")[1])["receipts"][0]
    assert failed["validation"]["errors"][0].startswith("E-BATCH-EXISTS: ")
