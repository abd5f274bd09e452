"""The gate that asks whether people looked: not asked for by default, and no verdict without them where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stage1_runs as runs
from workbench import Bench, curated

from pytest_distill.cli.inspect import shown_rows
from pytest_distill.contracts.inspection import Decision
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.inspection import begin, record

GATE = "inspection.spot-check"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Bench(tmp_path / "ws")
    made.policy("[inspection]\nrows = 10\n")
    runs.write(made.root, "pilot", runs.run(curated(120)), runs.session())
    return made


def judge(bench: Bench, *judgements: Any) -> None:
    """Decisions about the first rows that were drawn."""
    workspace = workspaces.load(bench.root)
    inspection = begin(workspace, runs.open_batch(bench.root / "batches" / "pilot"))
    given = [
        Decision(row=row, judgement=said, reason="seen", who="Ada", at=runs.NOW)
        for row, said in zip(inspection.rows, judgements, strict=False)
    ]
    record(workspace, inspection, given)


def test_nobody_looked(bench: Bench) -> None:
    ended = bench.judge("-k", "people_looked or record", batch="pilot")
    assert ended.status(GATE) == "failed"
    assert not ended.sealed
    assert "rows that were looked at is 0, allowed is >= 10" in ended.why(GATE)


def test_ten_rows_were_looked_at_and_are_good(bench: Bench) -> None:
    judge(bench, *["good"] * 8, "unsure", "unsure")
    ended = bench.judge("-k", "people_looked or record", batch="pilot")
    assert ended.status(GATE) == "passed", ended.why(GATE)


@pytest.mark.parametrize(
    ("judgements", "why"),
    [
        (["good"] * 9, "drawn rows that nobody has looked at is 1"),
        ([*["good"] * 9, "bad"], "rows called bad is 1"),
        ([*["good"] * 7, *["unsure"] * 3], "rows that people were unsure of is 3"),
    ],
)
def test_what_people_saw_decides(bench: Bench, judgements: list[str], why: str) -> None:
    judge(bench, *judgements)
    ended = bench.judge("-k", "people_looked or record", batch="pilot")
    assert ended.status(GATE) == "failed"
    assert why in ended.why(GATE)


def test_a_record_that_was_edited_does_not_count(bench: Bench) -> None:
    judge(bench, *["good"] * 9, "bad")
    path = bench.root / ".distill" / "inspections" / "pilot.json"
    path.write_bytes(path.read_bytes().replace(b'"bad"', b'"good"'))
    ended = bench.judge("-k", "people_looked or record", batch="pilot")
    assert ended.status(GATE) == "failed"
    assert "E-LEDGER" in ended.why(GATE)


def test_without_a_word_of_the_policy_the_gate_does_not_apply(bench: Bench) -> None:
    bench.policy("")
    ended = bench.judge("-k", "people_looked or record", batch="pilot")
    assert ended.status(GATE) == "not_applicable"
    assert "the policy sets no inspection.rows" in ended.why(GATE)


def test_the_cut_part_of_a_completion_is_shown_apart(bench: Bench) -> None:
    batch = runs.open_batch(bench.root / "batches" / "pilot")
    rows = list(shown_rows(batch, begin(workspaces.load(bench.root), batch)))
    assert len(rows) == 10
    for row in rows:
        assert row["kept"] == row["response"]
        assert row["cut"].startswith("###END###")
        assert row["margins"]["instruction"] > 1
        assert row["trim_rule"] == "delimiter"
