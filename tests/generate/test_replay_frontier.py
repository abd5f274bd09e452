"""`distill replay` with a frontier model behind a real HTTP server: allowed, counted, limited, and nothing lost at a ceiling."""

from __future__ import annotations

import json
import shutil

import pytest

from pytest_distill import ledger
from pytest_distill.cli.main import main
from pytest_distill.pipelines.replay import replay as replaying
from pytest_distill.policy import workspace as workspaces

POLICY = """
[[models]]
name = "tiny"
tier = "frontier"
purposes = ["diagnosis"]
price = 1000.0
"""
SAID = ("--cost-class", "med", "--justification", "no local model names the routes", "--frontier-purpose", "diagnosis")


@pytest.fixture
def workspace(tmp_path, monkeypatch, tiny):
    """The server's model is the frontier; the same bytes under another name are the local model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "distill.toml").write_text(POLICY)
    shutil.copytree(tiny, tmp_path / "small")
    return workspaces.load(tmp_path)


@pytest.fixture
def replay(workspace, address, tiny, capsys):
    def run(*more):
        """No output of eight tokens has five hundred words: it fails, whatever the model says."""
        words = ["replay", "--task", "Audit the gateway", "--no-retrieval", "--model", "small", "--max-new-tokens", "8"]
        words += ["--min-words", "500", "--allow-escalation", "--frontier", "tiny", "--frontier-server", address]
        words += ["--frontier-tokenizer", str(tiny), *SAID]
        return main([*words, *more]), capsys.readouterr()

    return run


def logged(workspace):
    return list(replaying.logged(workspace))


def metered(workspace):
    return [
        (entry.facts["model"], entry.facts["tier"], entry.facts["purpose"], entry.facts["calls"])
        for entry in ledger.entries(workspace.ledger)
        if entry.event == "metered"
    ]


def test_what_was_declared_and_used_is_in_the_log_and_the_ledger(workspace, replay):
    status, told = replay("--json")
    assert status == 1, "the frontier's eight tokens are too few as well"
    (run,) = logged(workspace)
    assert json.loads(told.out)["replay_id"] == run.replay_id
    use = run.escalation.model
    assert (use.name, use.purpose, use.usage.calls) == ("tiny", "diagnosis", 1)
    assert use.usage.tokens_read + use.usage.tokens_written == run.escalation.prompt_tokens + run.escalation.completion_tokens
    assert run.escalation.cost == use.usage.cost == pytest.approx((use.usage.tokens_read + use.usage.tokens_written) / 1000)
    assert sorted(metered(workspace)) == [("small", "local", "diagnosis", 1), ("tiny", "frontier", "diagnosis", 1)]


@pytest.mark.parametrize(
    ("ceiling", "policy", "why"),
    [
        (("--max-calls", "1"), "", "1 of 1 calls are made, and 1 are next"),
        (("--max-cost", "0.001"), "", "0.00 of 0.00 is spent"),
        ((), "[budget]\nmax_calls = 1\n", "1 of 1 calls are made"),
        ((), "max_cost = 0.001\n", "0.00 of 0.00 is spent"),
    ],
    ids=["calls", "cost", "the policy's budget", "the model's ceiling"],
)
def test_a_ceiling_in_mid_run_loses_nothing_and_the_same_command_goes_on(workspace, replay, ceiling, policy, why):
    (workspace.root / "distill.toml").write_text(POLICY + policy)
    status, told = replay(*ceiling)
    assert status == 1
    assert told.err.startswith(f"ERROR [E-BUDGET]: stopped: {why}")
    assert told.err.count("\n") == 1
    assert "The local model's output is in the log" in told.err
    (before,) = logged(workspace)
    assert before.escalation is None
    assert [entry[:2] for entry in metered(workspace)] == [("small", "local")], "the frontier model was not asked"
    (workspace.root / "distill.toml").write_text(POLICY)
    replay("--max-calls", "2", "--max-cost", "5")
    first, second = logged(workspace)
    assert first == before
    assert (second.output, second.prompt) == (before.output, before.prompt)
    assert second.escalation is not None


def test_a_loop_around_the_command_is_bulk_from_the_51st_escalation_on(workspace, replay):
    replay()
    (run,) = logged(workspace)
    replaying.log(workspace, [run] * 48)
    assert "E-BUDGET" not in replay()[1].err, "the 50th"
    status, told = replay()
    assert status == 1
    assert "E-FRONTIER]: tiny is a frontier model, and this task is bulk" in told.err
    assert len(logged(workspace)) == 50
    assert len(metered(workspace)) == 4, "neither model was asked again"


def test_a_study_that_a_ceiling_stopped_goes_on_with_the_same_command(workspace, capsys):
    (workspace.root / "docs.jsonl").write_text('{"content": "The gateway answers within a second."}\n')
    tasks = "".join(json.dumps({"task": f"Audit gateway {number}"}) + "\n" for number in range(12))
    (workspace.root / "tasks.jsonl").write_text(tasks)
    assert main(["-q", "ingest", "docs.jsonl", "--id", "docs", "--kind", "rag", "--no-progress"]) == 0
    words = ["replay", "study", "--tasks", "tasks.jsonl", "--model", "small", "--max-new-tokens", "4", "--no-progress", "--json"]
    capsys.readouterr()
    assert main([*words, "--max-calls", "21"]) == 1
    told = capsys.readouterr().err
    assert "E-BUDGET]: stopped: 20 of 21 calls are made, and 2 are next. Tasks that are done are kept" in told
    assert len(logged(workspace)) == 20
    assert main([*words, "--max-calls", "21"]) == 0, "four calls are left to do"
    assert json.loads(capsys.readouterr().out)["tasks"] == 12
    assert len(logged(workspace)) == 24
    assert metered(workspace) == [("small", "local", None, 20), ("small", "local", None, 4)]
    assert list((workspace.state / "replay-study").glob("*/pairs.jsonl")) == []


def test_a_server_that_is_gone_loses_nothing_either(workspace, replay):
    status, told = replay("--frontier-server", "http://127.0.0.1:9/v1")
    assert status == 1
    assert "E-SERVER" in told.err
    assert len(logged(workspace)) == 1
