"""Change control: a draft is free, a frozen policy changes by a record, and what was recorded cannot be rewritten unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sealed_workspace import make_workspace, sealed

from pytest_distill import ledger
from pytest_distill.cli.main import main
from pytest_distill.contracts.bulk import Rejudged
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import changes, workspace
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.export import export

OWNER = '[bulk]\nowner = "Ada"\n'
LOOSER = OWNER + "[duplicates]\nsimilarity = 0.9\n"
WHY = changes.Rationale(
    what="near duplicates from 0.9", why="captions repeat", affects="caption batches", cost="none", quality="a few more repeats",
    safety="none", rollback="distill policy rollback", approver="Ada",
)  # fmt: skip


@pytest.fixture
def frozen(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, OWNER)
    changes.freeze(made, "Ada")
    return made


def edit(made: Workspace, text: str) -> Workspace:
    (made.root / "distill.toml").write_text(text)
    return workspace.load(made.root)


def refused(call: object, *args: object) -> str:
    with pytest.raises(DistillError) as caught:
        call(*args)  # type: ignore[operator]
    assert caught.value.code is Code.POLICY_CHANGE
    return str(caught.value)


def test_a_draft_is_free_to_edit(tmp_path: Path) -> None:
    changes.check(edit(make_workspace(tmp_path, OWNER), LOOSER))
    assert changes.history(workspace.load(tmp_path)) == []


def test_a_frozen_policy_that_was_edited_by_hand_blocks_until_the_change_is_recorded(frozen: Workspace) -> None:
    changes.check(frozen)
    edited = edit(frozen, LOOSER)
    assert "was edited since version 1" in refused(changes.check, edited)
    record = changes.change(edited, WHY)
    changes.check(edited)
    assert (record.version, record.impact_on_quality, record.approver) == (2, "a few more repeats", "Ada")


def test_a_file_that_the_policy_names_counts_as_the_policy(tmp_path: Path) -> None:
    (tmp_path / "row.schema.json").write_text('{"type": "object"}')
    made = make_workspace(tmp_path, OWNER + '[record_schema]\npath = "row.schema.json"\n')
    changes.freeze(made, "Ada")
    (tmp_path / "row.schema.json").write_text("{}")
    assert "was edited" in refused(changes.check, workspace.load(tmp_path))


def test_nothing_leaves_under_a_policy_that_was_edited_by_hand(tmp_path: Path) -> None:
    demo = sealed(tmp_path)
    edited = edit(demo.workspace, OWNER)
    changes.freeze(edited, "Ada")
    assert "was edited" in refused(export, edit(edited, LOOSER), demo.batch.id, tmp_path / "out", "jsonl")
    assert not (tmp_path / "out").exists()


def test_a_change_is_tested_on_past_batches_or_says_why_not(tmp_path: Path) -> None:
    demo = sealed(tmp_path)
    frozen = edit(demo.workspace, OWNER)
    changes.freeze(frozen, "Ada")
    edited = edit(frozen, LOOSER)
    told = refused(changes.change, edited, WHY)
    assert "tested on representative batches, and 1 are sealed" in told
    assert f"--test {demo.batch.id}" in told
    with pytest.raises(DistillError, match="tested on representative"):
        changes.change(edited, WHY, untested_because=" ")
    record = changes.change(edited, WHY, untested_because="no batch has captions")
    assert (record.version, record.untested_because) == (2, "no batch has captions")


def test_a_representative_batch_is_judged_and_recorded(tmp_path: Path) -> None:
    demo = sealed(tmp_path)
    frozen = edit(demo.workspace, OWNER)
    changes.freeze(frozen, "Ada")
    tested = Rejudged(batch=demo.batch.id, before="PASSED", after="FAILED", flips={"duplicates.near": "passed -> failed"})
    assert changes.change(edit(frozen, LOOSER), WHY, [tested]).rejudged == (tested,)


def test_only_the_owner_approves_and_cannot_be_replaced_in_the_same_change(frozen: Workspace) -> None:
    edited = edit(frozen, '[bulk]\nowner = "Eve"\n')
    eve = changes.Rationale(**{**WHY.__dict__, "approver": "Eve"})
    assert "Eve is not the system owner; Ada is" in refused(changes.change, edited, eve)
    changes.change(edited, WHY)


@pytest.mark.parametrize("missing", ["what", "why", "affects", "cost", "quality", "safety", "rollback", "approver"])
def test_a_change_without_a_part_of_its_rationale_is_refused(
    frozen: Workspace, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    edit(frozen, LOOSER)
    said = {name: name for name in ("what", "why", "affects", "cost", "quality", "safety", "rollback")} | {"approver": "Ada"}
    at = ["--workspace", str(frozen.root)]
    words = ["policy", "change", *at, *(part for name, text in said.items() if name != missing for part in (f"--{name}", text))]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    capsys.readouterr()
    assert main([*words, f"--{missing}", " "]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"ERROR [E-POLICY-CHANGE]: the change does not say: {missing}. ")
    assert told.count("\n") == 1
    assert len(changes.history(frozen)) == 1


def test_what_cannot_be_frozen_or_changed(tmp_path: Path, frozen: Workspace) -> None:
    assert "frozen already" in refused(changes.freeze, frozen, "Ada")
    assert "nothing changed" in refused(changes.change, frozen, WHY)
    bare = make_workspace(tmp_path / "bare")
    assert "names no system owner" in refused(changes.freeze, bare, "Ada")
    assert "is a draft" in refused(changes.change, bare, WHY)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text('[tool.distill.bulk]\nowner = "Ada"\n')
    assert "pyproject.toml" in refused(changes.freeze, workspace.load(tmp_path / "project"), "Ada")


def test_rollback_puts_the_bytes_back_and_is_a_version_of_its_own(frozen: Workspace) -> None:
    changes.change(edit(frozen, LOOSER), WHY)
    record = changes.rollback(workspace.load(frozen.root), WHY)
    assert (record.version, record.rollback_to) == (3, 1)
    assert (frozen.root / "distill.toml").read_text() == OWNER
    changes.check(workspace.load(frozen.root))
    assert "-similarity = 0.9" in changes.diff(workspace.load(frozen.root), 2, 3)


def test_rollback_takes_an_unrecorded_edit_back(frozen: Workspace) -> None:
    assert changes.rollback(edit(frozen, LOOSER), WHY).version == 1
    changes.check(workspace.load(frozen.root))


def test_what_was_recorded_cannot_be_rewritten_or_removed(frozen: Workspace) -> None:
    changes.change(edit(frozen, LOOSER), WHY)
    made = workspace.load(frozen.root)
    record, kept = made.policy_versions / "000002.json", made.policy_versions / "000002.toml"
    data = record.read_bytes()
    record.write_bytes(data.replace(b"captions repeat", b"nobody looked  "))
    assert "not the record that the ledger knows" in refused(changes.check, made)
    record.unlink()
    assert "the ledger knows version 2" in refused(changes.check, made)
    record.write_bytes(data)
    kept.write_text(OWNER)
    assert "not the policy of version 2" in refused(changes.check, made)


def test_a_copy_without_the_ledger_is_frozen_all_the_same(frozen: Workspace) -> None:
    frozen.ledger.unlink()
    frozen.ledger.with_name("ledger.jsonl.head").unlink()
    assert "was edited" in refused(changes.check, edit(frozen, LOOSER))


def test_the_commands_tell_the_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = make_workspace(tmp_path, OWNER)
    at = ["--workspace", str(tmp_path)]
    assert main(["policy", "freeze", "--approver", "ada", *at]) == 0
    edit(demo, LOOSER)
    facts = [part for name in ("what", "why", "affects", "cost", "quality", "safety", "rollback") for part in (f"--{name}", name)]
    assert main(["policy", "change", *facts, "--approver", "Eve", *at]) == 1
    assert main(["policy", "diff", *at]) == 0
    assert "+similarity = 0.9" in capsys.readouterr().out
    assert main(["policy", "change", *facts, "--approver", "Ada", *at]) == 0
    assert main(["policy", "rollback", "--why", "too many repeats", "--approver", "Ada", *at]) == 0
    capsys.readouterr()
    assert main(["policy", "history", "--json", *at]) == 0
    assert [record["version"] for record in json.loads(capsys.readouterr().out)] == [1, 2, 3]
    assert [e.event for e in ledger.entries(demo.ledger)] == ["policy"] * 3
