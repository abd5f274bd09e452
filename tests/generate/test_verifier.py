"""Automated verifiers on real models: the tiny model's critic and what people said of 60 rows; a judge of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inspecting import inspect_all

from pytest_distill.batch.batch import open_batch
from pytest_distill.cli.main import main
from pytest_distill.contracts.verifier import Agreement
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.inspection import begin

ROWS = Path(__file__).parents[2] / "fixtures" / "rows"
CRITIC = ("--verifier", "critic", "--threshold", "2.5")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A workspace with twenty of the rows that people judged as a batch, all of which are asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "distill.toml").write_text("[inspection]\nrows = 20\n")
    rows = [json.loads(line) for line in (ROWS / "verified.jsonl").read_text().splitlines()[-20:]]
    pairs = [{"instruction": row["instruction"], "response": row["response"]} for row in rows]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    assert main(["ingest", "rows.jsonl", "--id", "spoilt", "--kind", "sft", "--no-progress", "-q"]) == 0
    return tmp_path


def test_the_shipped_agreement_is_measured_and_the_verifier_finds_what_was_spoilt(place, capsys, record_property):
    """One model load for the whole story."""
    assert main(["inspect", "spoilt", *CRITIC, "--json"]) == 0
    told = capsys.readouterr()
    assert "may not stand alone: its agreement with people was never measured" in told.err
    found = begin(workspaces.load(place), open_batch(place / "batches" / "spoilt"))
    assert (found.defects, found.open) == (20, ()), "these rows were spoilt by hand"
    assert main(["agreement", str(ROWS / "verified.jsonl"), *CRITIC, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    agreement = Agreement.model_validate(said["agreement"])
    assert said["may_stand_alone"] is True
    assert found.verifiers == (said["verifier"],) == (agreement.verifier.id,)
    assert len(agreement.rows) == 60
    assert agreement.kappa == pytest.approx(0.895, abs=0.002)
    interval = f"{agreement.low:.3f} to {agreement.high:.3f}"
    record_property("figure", f"tiny critic at 2.5 nats and the maintainers, 60 rows: kappa {agreement.kappa:.3f} ({interval})")


def test_too_few_rows_and_rows_of_one_sort_are_refused(place, capsys):
    lines = (ROWS / "verified.jsonl").read_text().splitlines(keepends=True)
    (place / "good.jsonl").write_text("".join(line for line in lines if '"good"' in line))
    assert main(["agreement", "good.jsonl", *CRITIC]) == 1
    assert "ERROR [E-VERIFIER]: people call 37 of 37 rows good" in capsys.readouterr().err
    (place / "few.jsonl").write_text("".join(lines[10:20] + lines[-10:]))
    assert main(["agreement", "few.jsonl", *CRITIC]) == 1
    assert "measured on 20 rows, 30 are asked" in capsys.readouterr().err


def test_what_people_said_of_a_batch_is_a_source_too_and_nobody_else_counts(place, capsys):
    inspect_all(place, "spoilt", bad=10)
    assert main(["agreement", "spoilt", *CRITIC]) == 1
    assert "the verifier calls no row good" in capsys.readouterr().err


def test_a_judge_of_random_weights_answers_as_asked_and_may_not_stand_alone(place, tiny, capsys):
    assert main(["inspect", "spoilt", "--verifier", "judge", "--model", str(tiny), "-q"]) == 0
    found = begin(workspaces.load(place), open_batch(place / "batches" / "spoilt"))
    assert found.open == ()
    assert all(one.who.startswith("verifier judge tiny ") for one in found.decisions)
    capsys.readouterr()
    assert main(["inspect", "spoilt", "--verifier", "judge", "--threshold", "1", "--model", str(tiny)]) == 1
    assert "E-USAGE" in capsys.readouterr().err
