"""The verifier of an inspection is a model like any other: allowed by the policy, counted, limited, and stopped without loss."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from pytest_distill import ledger
from pytest_distill.batch.batch import open_batch
from pytest_distill.cli.main import main
from pytest_distill.contracts.fidelity import FidelityCalibration, FidelityHeldOut, Figure
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release import incidents
from pytest_distill.release.inspection import begin

FRONTIER = '[[models]]\nname = "tiny"\ntier = "frontier"\npurposes = ["safety_verification"]\nprice = 1000.0\n'
MED = ("--cost-class", "med", "--justification", "no local verifier agrees with people", "--frontier-purpose")
NOWHERE = "http://127.0.0.1:9/v1"  # who is asked there says E-SERVER


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batch_of(place, rows: int, policy: str = ""):
    """A workspace whose plan asks for every row of its batch."""
    (place / "distill.toml").write_text(f"[inspection]\nrows = {rows}\n{policy}")
    pairs = [{"instruction": f"Add {n} and 1.", "response": f"{n + 1}"} for n in range(rows)]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    assert main(["ingest", "rows.jsonl", "--id", "rows", "--kind", "sft", "--no-progress", "-q"]) == 0


def inspection(place):
    return begin(workspaces.load(place), open_batch(place / "batches" / "rows"))


def metered(place):
    entries = ledger.entries(workspaces.load(place).ledger)
    return [(e.facts["tier"], e.facts["purpose"], e.facts["calls"]) for e in entries if e.event == "metered"]


@pytest.mark.parametrize("command", ["inspect", "agreement"])
@pytest.mark.parametrize("verifier", ["critic", "judge"])
def test_a_frontier_verifier_is_refused_before_it_is_asked(place, tiny, capsys, command, verifier):
    batch_of(place, 5, FRONTIER)
    judged = [{"instruction": f"Say {n}.", "response": f"{n}", "judgement": "good", "who": "Ada"} for n in range(5)]
    (place / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in judged))
    words = [command, "rows" if command == "inspect" else "judged.jsonl", "--verifier", verifier, "--model", "tiny"]
    words += ["--server", NOWHERE, "--tokenizer", str(tiny), "--revision", "1"]
    for said, refusal in (
        ((), "E-COST-CLASS]: tiny is a frontier model, and the run declares LOW"),
        (("--cost-class", "med"), "E-COST-CLASS]: cost class MED without a justification"),
        ((*MED, "architecture"), "E-FRONTIER]: tiny is a frontier model for architecture"),
    ):
        assert main([*words, *said]) == 1
        told = capsys.readouterr().err
        assert refusal in told
        assert told.count("\n") == 1
    assert len(inspection(place).open) == 5
    assert metered(place) == []
    kinds = [found.kind for found in incidents.incidents(workspaces.load(place))]
    assert kinds == ["cost-not-declared", "cost-not-declared", "frontier-attempted"]


def test_labelling_51_rows_is_bulk_and_no_purpose_opens_that_door(place, capsys):
    batch_of(place, 51, FRONTIER)
    words = ["inspect", "rows", "--verifier", "judge", "--model", "tiny", "--server", NOWHERE, "--revision", "1"]
    assert main([*words, *MED, "safety_verification"]) == 1
    assert "E-FRONTIER]: tiny is a frontier model, and this task is bulk" in capsys.readouterr().err


def test_a_frontier_verifier_with_its_purpose_is_asked_and_counted(place, address, capsys):
    batch_of(place, 3, FRONTIER)
    words = ["inspect", "rows", "--verifier", "judge", "--model", "tiny", "--server", address, "--revision", "1"]
    assert main([*words, *MED, "safety_verification", "-q"]) == 0
    assert inspection(place).open == ()
    assert metered(place) == [("frontier", "safety_verification", 3)]


def test_a_ceiling_keeps_what_was_judged_and_the_same_command_judges_the_rest(place, tiny, capsys):
    batch_of(place, 40)
    words = ["inspect", "rows", "--verifier", "critic", "--model", str(tiny), "-q"]
    assert main([*words, "--max-calls", "35"]) == 1
    told = capsys.readouterr().err
    assert "E-BUDGET]: stopped: 32 of 35 calls are made, and 8 are next" in told
    assert "the same command judges the rest under a new limit" in told
    stopped = inspection(place)
    assert (len(stopped.decisions), len(stopped.open)) == (32, 8)
    assert main(words) == 0
    done = inspection(place)
    assert done.open == ()
    assert [one for one in done.decisions if one.row not in stopped.open] == list(stopped.decisions), "nothing was asked twice"
    assert metered(place) == [("local", None, 32), ("local", None, 8)]


def test_the_policys_budget_holds_for_a_verifier_too(place, tiny, capsys):
    batch_of(place, 5, "[budget]\nmax_calls = 4\n")
    assert main(["inspect", "rows", "--verifier", "critic", "--model", str(tiny)]) == 1
    assert "E-BUDGET]: stopped: 0 of 4 calls are made, and 5 are next" in capsys.readouterr().err


def test_a_frontier_judge_of_fidelity_is_refused_and_checking_a_batch_is_bulk(place, tiny, capsys):
    held = FidelityHeldOut(count=1, precision=1, recall=1, f1=1, f1_doubtful_passed=1, f1_decided=1, verify_share=0)
    weights = dict.fromkeys(get_args(Figure), 0.0)
    FidelityCalibration(
        low=0.3, high=0.5, constant=-2.0, weights=weights, count=40, faithful=20, model_sha256="0" * 64, data_sha256="1" * 64,
        seed=0, held_out=held,
    ).write(place / "c.json")  # fmt: skip
    batch_of(place, 3, f'[grading]\nfidelity = "c.json"\n[embedding]\nweights = "{tiny}/model.safetensors"\n{FRONTIER}')
    words = ["fidelity", "check", "rows", "--id", "new", "--original", "instruction", "--rephrased", "response", "--verify"]
    words += ["--model", "tiny", "--server", NOWHERE]
    assert main(words) == 1
    assert "E-COST-CLASS]: tiny is a frontier model, and the run declares LOW" in capsys.readouterr().err
    assert main([*words, *MED, "safety_verification"]) == 1
    assert "E-FRONTIER]: tiny is a frontier model, and this task is bulk" in capsys.readouterr().err
    assert not (place / "batches" / "new").exists()
