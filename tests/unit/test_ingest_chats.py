"""`distill ingest --chat COLUMN`: one question and one answer become a row of kind sft, and anything else is refused aloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pytest_distill.batch.batch import QUARANTINE, Batch
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.cli.main import main
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace, load

SYSTEM = {"role": "system", "content": "Answer briefly."}
USER = {"role": "user", "content": "Name a noble gas."}
ASSISTANT = {"role": "assistant", "content": "Argon."}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "distill.toml").touch()
    return load(tmp_path)


def rows(workspace: Workspace, *given: Any, column: str = "messages", **options: Any) -> Batch:
    """A batch of rows that hold `given` in `column`."""
    path = workspace.root / "chats.jsonl"
    path.write_text("".join(json.dumps(row if isinstance(row, dict) else {column: row}) + "\n" for row in given))
    return ingest([path], workspace, "chats", chat=column, **options)


def refused(batch: Batch) -> list[tuple[str, str]]:
    return [(row["reason"], row["message"]) for row in pq.read_table(batch.folder / QUARANTINE).to_pylist()]


def test_turns_become_a_pair_and_stay(workspace: Workspace) -> None:
    batch = rows(workspace, [USER, ASSISTANT], [SYSTEM, USER, ASSISTANT])
    assert batch.kind == "sft"
    assert batch.frame(["instruction", "response"]).rows() == [
        ("Name a noble gas.", "Argon."),
        ("Answer briefly.\n\nName a noble gas.", "Argon."),
    ]
    assert [json.loads(turns) for turns in batch.column("messages")] == [[USER, ASSISTANT], [SYSTEM, USER, ASSISTANT]]
    assert batch.manifest.how.parameters == {"chat": "messages"}


def test_sharegpt_is_understood(workspace: Workspace) -> None:
    turns = [{"from": "human", "value": "Name a noble gas."}, {"from": "gpt", "value": "Argon."}]
    batch = rows(workspace, turns, column="conversations")
    assert batch.frame(["instruction", "response"]).rows() == [("Name a noble gas.", "Argon.")]


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([USER, ASSISTANT, USER, ASSISTANT], "is not one question and one answer (it is user, assistant, user, assistant)"),
        ([USER, ASSISTANT] * 40, "(it is user, assistant, user, assistant, user, assistant and 74 more)"),
        ([USER], "(it is user)"),
        ([ASSISTANT, USER], "(it is assistant, user)"),
        ([SYSTEM, SYSTEM, USER, ASSISTANT], "(it is system, system, user, assistant)"),
        ([], "is no list of turns"),
        ("user: hi", "is no list of turns"),
        (None, "is no list of turns"),
        ([USER, "Argon."], "turn 2 of 'messages' has neither 'role' and 'content'"),
        ([{"role": "user"}, ASSISTANT], "turn 1 of 'messages' has neither"),
        ([USER, {**ASSISTANT, "tool_calls": [{"name": "look_up"}]}], "turn 2 of 'messages' has 'tool_calls' besides"),
        ([USER, {"role": "tool", "content": "18"}], "turn 2 of 'messages' is said by 'tool'"),
        ([USER, {"role": ["assistant"], "content": "x"}], "turn 2 of 'messages' is said by"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, ASSISTANT],
            "'content' of turn 1 of 'messages' is not text",
        ),
        ([USER, {"role": "assistant", "content": None}], "'content' of turn 2 of 'messages' is not text"),
    ],
)
def test_what_is_not_one_exchange_is_quarantined(workspace: Workspace, turns: Any, message: str) -> None:
    batch = rows(workspace, [USER, ASSISTANT], {"messages": turns})
    assert batch.rows == 1
    ((reason, said),) = refused(batch)
    assert reason == "wrong_type"
    assert message in said


def test_a_row_without_the_column_is_quarantined(workspace: Workspace) -> None:
    batch = rows(workspace, [USER, ASSISTANT], {"dialog": []})
    assert refused(batch) == [("missing_field", "has no 'messages'")]


def test_what_a_turn_has_and_leaves_empty_is_no_loss(workspace: Workspace) -> None:
    """Parquet gives every turn all keys that one of them has."""
    turns = [[SYSTEM, USER, {**ASSISTANT, "name": None}]]
    path = workspace.root / "chats.parquet"
    pq.write_table(pa.table({"messages": turns}), path)
    batch = ingest([path], workspace, "chats", chat="messages")
    assert batch.column("response").to_list() == ["Argon."]


def test_a_column_that_is_there_already_is_refused(workspace: Workspace) -> None:
    with pytest.raises(DistillError) as error:
        rows(workspace, {"messages": [USER, ASSISTANT], "instruction": "x"})
    assert error.value.code is Code.COLUMN
    assert "--map old_instruction=instruction" in str(error.value)
    assert not (workspace.batches / "chats").exists()
    batch = rows(workspace, {"messages": [USER, ASSISTANT], "instruction": "x"}, mapping={"old_instruction": "instruction"})
    assert batch.column("old_instruction").to_list() == ["x"]


def test_chats_are_of_one_kind(workspace: Workspace) -> None:
    with pytest.raises(DistillError) as error:
        rows(workspace, [USER, ASSISTANT], kind="text")
    assert error.value.code is Code.USAGE


def test_the_refusal_of_chats_names_the_option(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    path = workspace.root / "chats.jsonl"
    path.write_text(json.dumps({"messages": [USER, ASSISTANT]}) + "\n")
    words = ["--workspace", str(workspace.root), "ingest", str(path), "--id", "chats"]
    assert main(words) == 1
    assert "distill ingest FILE --id ID --chat messages" in capsys.readouterr().err
    assert main([*words, "--chat", "messages"]) == 0
    assert "chats (sft): 1 rows read = 1 kept" in capsys.readouterr().err
