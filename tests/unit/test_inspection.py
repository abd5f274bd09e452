"""A spot-check: which rows are drawn, what is shown of them, and how decisions are kept beside the batch."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sealed_workspace import ID, write_batch
from strategies import SHA

from pytest_distill import clock, ledger, storage
from pytest_distill.cli import main as cli
from pytest_distill.contracts.inspection import Decision, Inspection, draw
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.inspection import begin, record, withdraw

NOW = "2026-01-31T12:00:00Z"
PERSON = {"verifier": None, "seconds": None}


@given(SHA, st.integers(0, 500), st.integers(0, 40))
def test_rows_are_drawn_once_each_and_follow_from_the_digest(sha256, rows, count):
    drawn = draw(sha256, rows, count)
    assert len(drawn) == min(rows, count)
    assert list(drawn) == sorted(set(drawn))
    assert all(0 <= row < rows for row in drawn)
    assert draw(sha256, rows, count) == drawn
    assert set(draw(sha256, rows, count // 2)) <= set(drawn), "asking for more rows keeps those that were looked at"


def test_the_draw_is_pinned():
    """Records of earlier releases stay valid: these rows are drawn for ever."""
    assert draw("a" * 64, 150, 10) == (19, 52, 55, 59, 67, 69, 92, 106, 119, 122)


def decision(row, judgement="good", reason="", who="Ada"):
    return Decision(row=row, judgement=judgement, reason=reason, who=who, at=NOW)


def test_a_no_needs_a_reason_and_a_row_one_decision():
    with pytest.raises(ValidationError, match="nobody says why"):
        decision(1, "bad")
    facts = {"batch": "b", "batch_sha256": "a" * 64, "rows": (1, 3)}
    with pytest.raises(ValidationError, match="one a row"):
        Inspection(**facts, decisions=(decision(2),))
    with pytest.raises(ValidationError, match="one a row"):
        Inspection(**facts, decisions=(decision(1), decision(1)))
    with pytest.raises(ValidationError, match="order"):
        Inspection(**{**facts, "rows": (3, 1)})


@pytest.fixture
def inspected(tmp_path, monkeypatch):
    (tmp_path / "distill.toml").write_text("")
    workspace = workspaces.load(tmp_path)
    batch = write_batch(workspace.batch_folder(ID))
    monkeypatch.chdir(tmp_path)
    return workspace, batch


def test_decisions_lie_beside_the_batch_and_stand_in_the_ledger(inspected):
    workspace, batch = inspected
    before = sorted(path.name for path in batch.folder.iterdir())
    found = record(workspace, begin(workspace, batch), [decision(0), decision(1, "bad", "cut short")])
    assert begin(workspace, batch) == found
    changed = record(workspace, found, [decision(1, "good", who="Ben")])
    assert [d.judgement for d in changed.decisions] == ["good", "good"]
    assert changed.open == changed.rows[2:]
    assert sorted(path.name for path in batch.folder.iterdir()) == before
    lines = [entry for entry in ledger.entries(workspace.ledger) if entry.event == "inspected"]
    assert [(line.facts["who"], line.facts["bad"]) for line in lines] == [("Ada", 1), ("Ben", 0)]


def test_a_record_that_was_edited_by_hand_is_refused(inspected):
    workspace, batch = inspected
    record(workspace, begin(workspace, batch), [decision(0, "bad", "wrong")])
    path = workspace.inspection(ID)
    path.write_bytes(path.read_bytes().replace(b'"bad"', b'"good"'))
    with pytest.raises(DistillError) as caught:
        begin(workspace, batch)
    assert caught.value.code is Code.LEDGER


def test_a_record_of_other_bytes_is_refused(inspected):
    workspace, batch = inspected
    Inspection(batch=ID, batch_sha256="a" * 64, rows=(0,)).write(workspace.inspection(ID))
    with pytest.raises(DistillError) as caught:
        begin(workspace, batch)
    assert caught.value.code is Code.BATCH_CORRUPT


def test_a_kill_before_the_ledger_leaves_the_row_open(inspected, monkeypatch):
    workspace, batch = inspected
    monkeypatch.setattr(ledger, "append", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        record(workspace, begin(workspace, batch), [decision(0)])
    monkeypatch.undo()
    assert 0 in begin(workspace, batch).open
    found = record(workspace, begin(workspace, batch), [decision(1)])
    assert begin(workspace, batch) == found


@pytest.mark.parametrize("before", [(), (0, 1)], ids=["the first", "a later one"])
def test_a_kill_after_the_ledger_loses_no_decision(inspected, monkeypatch, before):
    workspace, batch = inspected
    record(workspace, begin(workspace, batch), [decision(row) for row in before])
    monkeypatch.setattr(storage, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        record(workspace, begin(workspace, batch), [decision(0, "bad", "wrong")])
    monkeypatch.undo()
    assert begin(workspace, batch).count("bad") == 1
    assert record(workspace, begin(workspace, batch), [decision(2)]).count("bad") == 1


def test_an_older_record_that_was_put_back_is_refused(inspected):
    workspace, batch = inspected
    found = record(workspace, begin(workspace, batch), [decision(0)])
    kept = workspace.inspection(ID).read_bytes()
    record(workspace, found, [decision(0, "bad", "wrong after all")])
    workspace.inspection(ID).write_bytes(kept)
    with pytest.raises(DistillError) as caught:
        begin(workspace, batch)
    assert caught.value.code is Code.LEDGER


def test_two_who_inspect_at_once_lose_nothing_that_the_other_said(inspected):
    workspace, batch = inspected
    ada = ben = begin(workspace, batch)
    ada = record(workspace, ada, [decision(0, "bad", "wrong"), decision(1)])
    ben = record(workspace, ben, [decision(2, who="Ben")])
    ben = record(workspace, ben, [decision(0, "unsure", "odd", who="Ben")])
    ada = record(workspace, ada, [decision(3)])
    assert [d.judgement for d in begin(workspace, batch).decisions] == ["unsure", "good", "good", "good"]
    late = record(workspace, ada.model_copy(update={"decisions": ()}), [decision(0, who="Eve")])
    assert late.decisions[0].judgement == "unsure", "a good takes no defect back that its author never saw"
    assert withdraw(workspace, ada.model_copy(update={"decisions": ()}), 1, who="Eve").decisions[1].row == 1
    assert record(workspace, begin(workspace, batch), [decision(0, who="Eve")]).count("unsure") == 0


def told(capsys, *words):
    status = cli.main(["--now", NOW, *words])
    clock._pinned = None
    out = capsys.readouterr()
    return status, out.out, out.err


def test_without_a_terminal_it_shows_and_asks_nothing(inspected, capsys):
    status, out, err = told(capsys, "inspect", ID)
    assert status == 0
    assert "Say 4." in out
    assert "not yet" in out
    assert 'response     a "quoted"\n             line\\t\\ \\x01\n' in out, "lines stay lines, control characters do not"
    assert err == "6 rows drawn: 0 good, 0 bad, 0 unsure, 6 not judged\n"
    assert not inspected[0].inspection(ID).exists()


def test_answers_from_a_file(inspected, capsys, tmp_path):
    workspace, batch = inspected
    rows = begin(workspace, batch).rows
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps({"row": row, "judgement": "good"}) + "\n" for row in rows[1:]))
    status, out, _ = told(capsys, "inspect", ID, "--answers", str(file), "--who", "Ada", "--json")
    assert status == 0
    said = json.loads(out)
    assert said["open"] == [rows[0]]
    assert said["rows"][1]["decision"] == {"row": rows[1], "judgement": "good", "reason": "", "who": "Ada", "at": NOW, **PERSON}
    file.write_text(json.dumps({"row": rows[0], "judgement": "unsure", "reason": "who knows"}) + "\n")
    assert told(capsys, "inspect", ID, "--answers", str(file), "-q")[0] == 0
    assert begin(workspace, batch).open == ()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"row": 0, "judgement": "fine"}', "E-SOURCE-FORMAT"),
        ('{"row": 0, "judgement": "bad"}', "E-SOURCE-FORMAT"),
        ('{"row": 0, "judgement": "good", "mood": 1}', "E-SOURCE-FORMAT"),
        ('{"row": 99, "judgement": "good"}', "E-USAGE"),
    ],
)
def test_answers_that_are_none_change_nothing(inspected, capsys, tmp_path, line, code):
    file = tmp_path / "answers.jsonl"
    file.write_text('{"row": 1, "judgement": "good"}\n' + line + "\n")
    status, _, err = told(capsys, "inspect", ID, "--answers", str(file))
    assert status == 1
    assert err.startswith(f"ERROR [{code}]")
    assert not inspected[0].inspection(ID).exists()


def test_on_a_terminal_one_key_a_row_answers_and_the_next_call_goes_on(inspected):
    workspace, batch = inspected
    shown = on_a_terminal([b"g", b"b", b"looks cut\n", b"q"])
    assert "Say 4." in shown
    assert "1 good, 1 bad, 0 unsure, 4 not judged" in shown
    found = begin(workspace, batch)
    assert [(d.judgement, d.reason) for d in found.decisions] == [("good", ""), ("bad", "looks cut")]
    shown = on_a_terminal([b"xs", *[b"g"] * (len(found.open) - 1)])
    assert "Say 4." not in shown, "what was judged is not asked again"
    assert len(begin(workspace, batch).open) == 1


def on_a_terminal(answers):
    """Runs the command on a pseudo-terminal; each answer is typed when it is asked for. What was shown."""
    descriptor, terminal = pty.openpty()
    words = [sys.executable, "-m", "pytest_distill.cli.main", "inspect", ID, "--who", "Ada", "--plain"]
    child = subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    shown, asked = b"", 0
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        shown += piece
        if shown.count(b"q stop ") + shown.count(b"why? ") > asked:
            os.write(descriptor, answers[asked])
            asked += 1
    os.close(descriptor)
    assert child.wait() == 0, shown
    return shown.decode()
