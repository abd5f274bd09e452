"""Functions of the user's own that open a model: allowed, metered and limited, made again; and a diagnosis by a real model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_distill import ledger
from pytest_distill.batch.batch import open_batch
from pytest_distill.cli.main import main
from pytest_distill.policy import gold
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release import escalation, incidents

GOLD = Path(__file__).parents[2] / "fixtures" / "rows" / "gold.jsonl"
SOURCE = """
from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.registry import ModelChoice, open_model

def answers(rows, *, model, count=3, seed=0, url=None, tokenizer=None):
    opened = open_model(ModelChoice(model=model, backend="server" if url else "transformers", url=url, tokenizer=tokenizer))
    asked = [row["instruction"] for row in rows] or [f"Say {n}." for n in range(count)]
    for text in asked:
        made = opened.backend.generate([text], Sampling(6), [seed])[0]
        yield {"instruction": text, "response": made.text.strip() or "-"}
"""


@pytest.fixture
def distill(tmp_path, monkeypatch, capsys, tiny):
    (tmp_path / "distill.toml").write_text("schema_version = 1\n")
    (tmp_path / f"own_{tmp_path.name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*words: str) -> tuple[int, str]:
        status = main(["run", f"own_{tmp_path.name}:answers", "--set", f"model={tiny}", "--seed", "1", *words])
        return status, capsys.readouterr().err

    return run


def frontier(root: Path) -> None:
    (root / "distill.toml").write_text(
        '[[models]]\nname = "tiny"\ntier = "frontier"\npurposes = ["gold_set", "diagnosis"]\nprice = 3.0\n'
    )


def test_what_a_function_asks_of_a_model_is_metered_and_made_again(tmp_path, distill, capsys):
    status, told = distill("--id", "made", "--count", "3")
    assert status == 0, told
    manifest = open_batch(tmp_path / "batches" / "made").manifest
    (model,) = manifest.how.models
    assert (model.name, model.usage.calls, manifest.cost_class.used) == ("tiny", 3, "low")
    assert model.usage.tokens_read > 0
    assert 0 < model.usage.tokens_written <= 18
    assert model.weights_sha256
    assert main(["reproduce", "made"]) == 0
    assert "every byte the same" in capsys.readouterr().err


def test_what_a_served_model_made_cannot_be_made_again(tmp_path, distill, address, tiny, capsys):
    status, told = distill("--id", "made", "--set", "model=tiny", "--set", f"url={address}", "--set", f"tokenizer={tiny}")
    assert status == 0, told
    assert main(["reproduce", "made"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("ERROR [E-REPRODUCE]: made was made by tiny on a server: no digest stands for its weights")
    assert told.count("\n") == 1


def test_a_budget_ends_it_before_the_call_that_is_too_much(tmp_path, distill):
    status, told = distill("--id", "made", "--count", "3", "--max-calls", "2")
    assert (status, told.count("\n")) == (1, 1)
    assert "E-BUDGET]: stopped: 2 of 2 calls are made" in told
    assert "--resume" not in told, "there is nothing to go on with"
    assert not (tmp_path / "batches" / "made").exists()


def test_a_frontier_model_is_refused_before_it_is_opened(tmp_path, distill):
    frontier(tmp_path)
    med = ("--cost-class", "med", "--justification", "gold rows")
    assert "E-COST-CLASS]" in distill("--id", "made")[1]
    assert "and no purpose is named" in distill("--id", "made", *med)[1]
    assert "E-FRONTIER]" in distill("--id", "made", *med, "--frontier-purpose", "architecture")[1]
    status, told = distill("--id", "made", *med, "--frontier-purpose", "gold_set")
    assert status == 0, told
    manifest = open_batch(tmp_path / "batches" / "made").manifest
    assert (manifest.how.models[0].purpose, manifest.cost_class.used) == ("gold_set", "high")
    assert manifest.how.models[0].usage.cost > 0
    status, told = distill("made", "--id", "over", *med, "--frontier-purpose", "gold_set")
    assert (status, "E-GOLD" in told) == (1, True), "three rows, but a dataset that is gone over"
    made = workspaces.load(tmp_path)
    gold.add(made, GOLD, who="Ada", model=None)
    gold.freeze(made)
    assert "and this task is bulk" in distill("made", "--id", "over", *med, "--frontier-purpose", "gold_set")[1]
    assert {incident.kind for incident in incidents.incidents(made)} == {"cost-not-declared", "frontier-attempted"}


def test_a_frontier_model_diagnoses_a_few_rows_and_is_metered(tmp_path, distill, tiny, capsys):
    assert distill("--id", "made", "--count", "3")[0] == 0
    frontier(tmp_path)
    made = workspaces.load(tmp_path)
    escalation.begin(made, open_batch(tmp_path / "batches" / "made").manifest, "not like gold")
    capsys.readouterr()
    status = main(["escalation", "diagnose", "1", "--rows", "2", "--model", str(tiny), "--max-new-tokens", "12"])
    told = capsys.readouterr()
    assert status == 0, told.err
    assert "escalation 1 is diagnosed: 2 rows, 1 call" in told.err
    found = escalation.escalation(made, 1)
    assert (found.state, found.items) == ("diagnosed", 2)
    assert told.out.strip() in found.findings[0]
    facts = [entry.facts for entry in ledger.entries(made.ledger) if entry.event == "metered"][-1]
    assert (facts["tier"], facts["purpose"], facts["declared"], facts["calls"]) == ("frontier", "diagnosis", "med", 1)


def test_a_model_without_the_purpose_diagnosis_is_refused(tmp_path, distill, tiny, capsys):
    """And one that the policy calls local: it is its output that fell below gold."""
    assert distill("--id", "made", "--count", "3")[0] == 0
    made = workspaces.load(tmp_path)
    escalation.begin(made, open_batch(tmp_path / "batches" / "made").manifest, "not like gold")
    for policy, refusal in (
        ("", "E-FRONTIER]: "),
        ('[[models]]\nname = "tiny"\ntier = "frontier"\npurposes = ["gold_set"]\n', "the policy allows it gold_set"),
    ):
        (tmp_path / "distill.toml").write_text(policy)
        assert main(["escalation", "diagnose", "1", "--model", str(tiny)]) == 1
        assert refusal in capsys.readouterr().err
    assert escalation.escalation(made, 1).state == "opened"


def test_a_diagnosis_ends_at_the_models_ceiling_before_the_call(tmp_path, distill, tiny, capsys):
    assert distill("--id", "made", "--count", "3")[0] == 0
    frontier(tmp_path)
    policy = tmp_path / "distill.toml"
    policy.write_text(policy.read_text() + "max_tokens = 20\n")
    made = workspaces.load(tmp_path)
    escalation.begin(made, open_batch(tmp_path / "batches" / "made").manifest, "not like gold")
    assert main(["escalation", "diagnose", "1", "--model", str(tiny), "--max-new-tokens", "12"]) == 1
    assert "E-BUDGET]: stopped: 0 of 20 tokens are used" in capsys.readouterr().err
    assert escalation.escalation(made, 1).state == "opened"
