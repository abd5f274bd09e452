"""`distill score` with a real model: killed and resumed to the same bytes, on every kind of judge the same contract."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_distill import storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.cli.main import main
from pytest_distill.contracts.grading import SCORING, ScorerOutput, ScoringSummary
from pytest_distill.policy import workspace as workspaces

ROWS = [{"instruction": f"Add {n} and {n + 1}.", "response": f"{2 * n + 1}"} for n in range(10)]


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "distill.toml").write_text("")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert main(["-q", "ingest", "rows.jsonl", "--id", "rows", "--kind", "sft"]) == 0
    return tmp_path


def opened(root: Path, name: str) -> Batch:
    return open_batch(workspaces.load(root).batch_folder(name))


def options(tiny: Path, name: str) -> list[str]:
    return [
        "-q",
        "--no-progress",
        "score",
        "rows",
        "--id",
        name,
        "--model",
        str(tiny),
        "--unit-rows",
        "2",
        "--max-new-tokens",
        "200",
    ]


def test_a_model_of_random_weights_keeps_to_the_contract_and_says_what_ran(root, tiny, capsys):
    assert main([*options(tiny, "scored"), "--json"]) == 0
    batch = opened(root, "scored")
    found = [ScorerOutput.model_validate_json(text) for text in batch.column("scores")]
    summary = ScoringSummary.from_bytes(batch.attachment(SCORING), name=SCORING)
    assert len(found) == summary.scored == batch.rows
    assert summary.scored + sum(summary.failures.values()) == len(ROWS)
    assert {(one.scorer_model, one.scorer_version) for one in found} == {(summary.scorer.model, summary.scorer.version)}
    assert json.loads(capsys.readouterr().out)["scored"] == summary.scored
    receipt = json.loads(next((root / ".distill" / "receipts").rglob("score.json")).read_bytes())
    assert receipt["validation"]["passed"]
    assert receipt["record_counts"]["in"] == len(ROWS)


def test_kill_9_in_the_middle_changes_no_byte(root, tiny):
    assert main(options(tiny, "whole")) == 0
    (root / "batches" / "whole").rename(root / "kept")
    command = [sys.executable, "-W", "ignore", "-m", "pytest_distill.cli.main", *options(tiny, "whole")]
    (root / ".distill" / "score" / "whole").rename(root / "units")
    with subprocess.Popen(command, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        unit = root / ".distill" / "score" / "whole" / "unit-000001.json"
        while not unit.is_file():
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (root / "batches" / "whole").exists()
    assert main(options(tiny, "whole")) == 1, "a run that was started is not begun again by accident"
    assert main([*options(tiny, "whole"), "--resume"]) == 0
    assert opened(root, "whole").sha256 == storage.sha256_file(root / "kept" / "SHA256SUMS")


def test_two_scorers_are_compared_as_a_table_and_a_picture(root, tiny, capsys):
    assert main(options(tiny, "a")) == 0
    assert main(["-q", "--no-progress", "score", "rows", "--id", "b", "--unit-rows", "4"]) == 0
    assert main(["-q", "compare-scorers", "a", "b", "--out", "scorers.csv", "--json"]) == 0
    lines = (root / "scorers.csv").read_text().splitlines()
    assert lines[0].startswith("scorer_a,scorer_b,dimension,rows")
    assert [line.split(",")[2] for line in lines[1:]] == [
        "helpfulness", "correctness", "coherence", "complexity", "verbosity", "aggregated", "domain",
    ]  # fmt: skip
    assert (root / "scorers.svg").read_text().startswith("<svg xmlns=")
    assert len(json.loads(capsys.readouterr().out)) == 7
    assert main(["-q", "compare-scorers", "a", "b", "--out", "scorers.csv"]) == 1


def test_labels_that_people_cannot_have_given_are_refused(root, tiny, capsys):
    assert main(options(tiny, "scored")) == 0
    labels = [{"id": f"rows.jsonl:{n + 1}", "label": n % 2} for n in range(10)]
    for change, said in (({"by": "tiny"}, "gave the scores too"), ({"label": 3}, "is no label"), ({"id": "x"}, "not scored")):
        (root / "labels.jsonl").write_text("".join(json.dumps({**label, **change}) + "\n" for label in labels[:1]))
        arguments = ["calibrate", "scored", "--labels", "labels.jsonl", "--labelled-by", "us", "--out", "c.json"]
        assert main(arguments) == 1
        assert said in capsys.readouterr().err
    assert not (root / "c.json").exists()
