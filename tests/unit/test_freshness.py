"""Freshness: a later stage runs on output that is there, whole, unchanged and made from what lies there now, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.errors import DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.digests import Digests
from pytest_distill.stages.freshness import require_fresh, stale
from pytest_distill.stages.receipts import with_receipt


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "distill.toml").write_text("")
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "a.jsonl").write_text('{"a": 1}\n')
    return workspaces.load(tmp_path)


def collect(workspace: Workspace, *, skipped: int = 0) -> None:
    with with_receipt(workspace, "collect") as stage:
        stage.reads(workspace.root / "streams")
        (workspace.root / "evidence").mkdir(exist_ok=True)
        (workspace.root / "evidence" / "a.jsonl").write_bytes((workspace.root / "streams" / "a.jsonl").read_bytes())
        stage.writes(workspace.root / "evidence")
        stage.count(in_=1, out=1, skipped=skipped)


def test_what_was_just_written_is_fresh(workspace: Workspace) -> None:
    collect(workspace)
    assert stale(workspace, "collect") == []
    require_fresh(workspace, "collect")


def test_a_stage_that_skipped_rows_is_fresh(workspace: Workspace) -> None:
    collect(workspace, skipped=1)
    assert stale(workspace, "collect") == [], "a row that cannot be read stops the verdict, not the stages behind it"


def test_a_stage_that_never_ran_is_missing(workspace: Workspace) -> None:
    assert stale(workspace, "collect") == ["it never ran"]
    with pytest.raises(
        DistillError, match=r"\[E-STALE\]: the output of collect cannot be built on: it never ran. Run collect again"
    ):
        require_fresh(workspace, "collect")


def test_a_stage_that_failed_the_last_time_is_stale_whatever_lies_there(workspace: Workspace) -> None:
    collect(workspace)
    with pytest.raises(OSError, match="disk"), with_receipt(workspace, "collect"):
        raise OSError("disk")
    assert stale(workspace, "collect") == ["run 000002 did not complete it (OSError: disk)"]


def test_a_stage_that_wrote_nothing_is_missing(workspace: Workspace) -> None:
    with with_receipt(workspace, "collect"):
        pass
    assert stale(workspace, "collect") == ["run 000001 wrote nothing"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("removed", "evidence/a.jsonl, which it wrote, is missing"),
        ("edited", "evidence/a.jsonl, which it wrote, has changed"),
        ("added", "evidence/b.jsonl is there, which it did not write"),
        ("source edited", "streams/a.jsonl, which it read, has changed"),
        ("source removed", "streams/a.jsonl, which it read, is missing"),
        ("source added", "streams/b.jsonl is there, which it has not read"),
    ],
)
def test_output_that_does_not_fit_its_receipt_is_stale(workspace: Workspace, fault: str, said: str) -> None:
    collect(workspace)
    folder = workspace.root / ("streams" if fault.startswith("source") else "evidence")
    if fault.endswith("removed"):
        (folder / "a.jsonl").unlink()
    else:
        (folder / ("a.jsonl" if fault.endswith("edited") else "b.jsonl")).write_text('{"a": 2}\n')
    assert stale(workspace, "collect") == [said]


def test_a_file_that_was_hashed_before_it_changed_is_hashed_again(workspace: Workspace) -> None:
    collect(workspace)
    digests = Digests(workspace.root)
    assert stale(workspace, "collect", digests=digests) == []
    (workspace.root / "evidence" / "a.jsonl").write_text('{"a": 2}\n')
    assert stale(workspace, "collect", digests=digests) == ["evidence/a.jsonl, which it wrote, has changed"]


def test_running_the_stage_again_makes_it_fresh(workspace: Workspace) -> None:
    collect(workspace)
    (workspace.root / "streams" / "a.jsonl").write_text('{"a": 2}\n')
    assert stale(workspace, "collect") != []
    collect(workspace)
    assert stale(workspace, "collect") == []


def made_batch(workspace: Workspace) -> Path:
    rows = workspace.root.parent / "rows.jsonl"
    rows.write_text('{"instruction": "Say 4.", "response": "4"}\n')
    with with_receipt(workspace, "ingest", "b") as stage:
        stage.made(ingest([rows], workspace, "b"))
    return workspace.batch_folder("b")


def test_a_batch_is_vouched_for_by_its_sums(workspace: Workspace) -> None:
    folder = made_batch(workspace)
    assert stale(workspace, "ingest") == []
    (folder / "rows-00000.parquet").write_bytes(b"other")
    assert stale(workspace, "ingest") == ["b: rows-00000.parquet was changed"]


def test_a_batch_that_is_gone_is_missing(workspace: Workspace) -> None:
    shutil.rmtree(made_batch(workspace))
    assert stale(workspace, "ingest") == ["batches/b/SHA256SUMS, which it wrote, is missing"]


def test_many_reasons_are_told_in_one_line(workspace: Workspace) -> None:
    collect(workspace)
    for number in range(5):
        (workspace.root / "evidence" / f"x{number}.jsonl").write_text("{}\n")
    with pytest.raises(DistillError, match=r"x0.jsonl .*x2.jsonl is there, which it did not write \(and 2 more\)"):
        require_fresh(workspace, "collect")
