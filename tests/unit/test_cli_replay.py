"""`distill replay` on the command line: what it refuses before a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_distill import ledger
from pytest_distill.cli.main import main
from pytest_distill.pipelines.replay import replay as replaying
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release import incidents


@pytest.fixture
def distill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    (tmp_path / "distill.toml").write_text("")
    (tmp_path / "docs.jsonl").write_text('{"content": "The gateway answers."}\n')
    assert main(["ingest", str(tmp_path / "docs.jsonl"), "--id", "docs", "--kind", "rag", "--workspace", str(tmp_path)]) == 0
    capsys.readouterr()

    def run(*words: str) -> tuple[int, str]:
        status = main([*words, "--workspace", str(tmp_path)])
        return status, capsys.readouterr().err

    return run


TASK = ("--task", "Audit the gateway")
FRONTIER = ("--frontier", "big", "--frontier-server", "https://example.org/v1", "--frontier-tokenizer", "nowhere")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no task"),
        (("--task", "  "), "no task"),
        ((*TASK, "--local-only", "--allow-escalation"), "contradict each other"),
        ((*TASK, "--allow-escalation"), "--allow-escalation needs --frontier, --frontier-server"),
        ((*TASK, "--allow-escalation", *FRONTIER, "--max-cost", "1"), "--max-cost needs the price of big"),
        (
            (*TASK, "--local-only", "--backend", "server", "--server", "https://example.org/v1", "--tokenizer", "nowhere"),
            "example.org is not this machine",
        ),
        ((*TASK, "--corpus", "gone"), "no batch at"),
        (("study",), "there is no batch of kind sft"),
        (("study", "--corpus", "gone"), "no batch at"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(distill: Any, words: tuple[str, ...], said: str) -> None:
    status, err = distill("replay", *words)
    assert status == 1
    assert said in err
    assert err.startswith("ERROR [E-")
    assert err.count("\n") == 1


def test_a_key_is_never_given_on_the_command_line(distill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRONTIER_KEY", raising=False)
    words = (*TASK, "--allow-escalation", *FRONTIER, "--frontier-key-variable", "FRONTIER_KEY")
    assert "FRONTIER_KEY is not set" in distill("replay", *words)[1]


POLICY = """
[[models]]
name = "big"
tier = "frontier"
purposes = ["diagnosis"]
price = 15.0
"""
MED = ("--cost-class", "med", "--justification", "no local model names the routes")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ((), "E-COST-CLASS]: big is a frontier model, and the run declares LOW"),
        (("--cost-class", "med"), "E-COST-CLASS]: cost class MED without a justification"),
        (("--cost-class", "high", "--justification", "x"), "E-COST-CLASS]: cost class HIGH without the name"),
        (MED, "E-FRONTIER]: big is a frontier model and no purpose is named"),
        ((*MED, "--frontier-purpose", "architecture"), "E-FRONTIER]: big is a frontier model for architecture"),
        ((*MED, "--frontier-purpose", "diagnosis", "--frontier", "other"), "E-FRONTIER]: other is at example.org"),
        (("--model", "big"), "E-FRONTIER]: big is a frontier model, and a replay is a local model's"),
    ],
)
def test_a_frontier_model_is_refused_before_any_is_asked(distill: Any, tmp_path: Path, said: tuple[str, ...], code: str) -> None:
    """The tokenizers of both models are nowhere: what got as far as opening one would say so."""
    (tmp_path / "distill.toml").write_text(POLICY)
    escalation = () if "--model" in said else ("--allow-escalation", *FRONTIER, "--model", "nowhere")
    status, err = distill("replay", *TASK, *escalation, *said)
    assert status == 1
    assert code in err
    workspace = workspaces.load(tmp_path)
    assert not replaying.log_path(workspace).exists()
    assert not [entry for entry in ledger.entries(workspace.ledger) if entry.event == "metered"]
    assert [found.kind for found in incidents.incidents(workspace)] == [
        "cost-not-declared" if "COST" in code else "frontier-attempted"
    ]


def test_a_study_is_bulk_and_a_local_models(distill: Any, tmp_path: Path) -> None:
    (tmp_path / "distill.toml").write_text(POLICY)
    (tmp_path / "tasks.jsonl").write_text('{"task": "Audit the gateway"}\n')
    words = ("--tasks", str(tmp_path / "tasks.jsonl"))
    assert "E-FRONTIER]: big is a frontier model" in distill("replay", "study", *words, "--model", "big")[1]
    elsewhere = ("--model", "small", "--backend", "server", "--server", "https://example.org/v1", "--tokenizer", "nowhere")
    assert "E-FRONTIER]: small is at example.org" in distill("replay", "study", *words, *elsewhere)[1]


@pytest.mark.parametrize("words", [("--room", "0"), ("--temperature", "-1"), ("--backend", "other"), ("--max-cost", "0")])
def test_wrong_usage_is_two(distill: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        distill("replay", *TASK, *words)
    assert ended.value.code == 2
