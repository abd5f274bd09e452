"""`distill replay` on the command line: what it refuses before a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_distill.cli.main import main


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
        ((*TASK, "--allow-escalation", *FRONTIER), "needs --price, --budget"),
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
    words = (
        *TASK,
        "--allow-escalation",
        *FRONTIER,
        "--price",
        "1",
        "2",
        "--budget",
        "1",
        "--frontier-key-variable",
        "FRONTIER_KEY",
    )
    assert "FRONTIER_KEY is not set" in distill("replay", *words)[1]


@pytest.mark.parametrize("words", [("--room", "0"), ("--temperature", "-1"), ("--backend", "other"), ("--price", "1")])
def test_wrong_usage_is_two(distill: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        distill("replay", *TASK, *words)
    assert ended.value.code == 2
