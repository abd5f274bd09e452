"""The plan of a stage 1 run: which commit it says it comes from, and what it may not be changed in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from stage1_run_strategies import ONE

from pytest_distill.contracts.stage1 import Guards
from pytest_distill.contracts.stage1_run import Plan
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.stage1 import plan as plans

PLAN = ONE["stage1_plan"]
assert isinstance(PLAN, Plan)


def session(folder: Path):
    guards = Guards(template_found=False, template_cleared=True, delta_check=0, template_ids_seen=0, inputs_checked=1)
    return plans.session(
        "p", "pilot", 2, guards, (), "1", folder=folder, device="cpu", budgets=PLAN.session.budgets, timeouts={}
    )  # fmt: skip


def test_the_commit_is_that_of_the_repository_around_the_workspace(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=trunk")
        done = subprocess.run(["git", *who, "-C", str(tmp_path), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "distill.toml").write_text("schema_version = 1\n")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    clean = session(tmp_path)
    assert (clean.git_commit, clean.git_branch, clean.git_dirty, clean.notes) == (git("rev-parse", "HEAD"), "trunk", False, "")
    (tmp_path / "distill.toml").write_text("schema_version = 1 # changed\n")
    assert session(tmp_path).git_dirty
    assert [name for name in clean.planned_artifacts if name.startswith("shard-")] == ["shard-00000.json", "shard-00001.json"]


def test_without_a_repository_the_source_stands_for_the_commit_and_the_session_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    told = session(tmp_path)
    assert (told.git_commit, told.git_branch, told.git_dirty, told.notes) == (plans.code_sha256(), None, True, plans.NO_GIT)


def test_a_plan_is_frozen_but_for_its_shard_its_words_and_its_session() -> None:
    plans.refuse_changed(PLAN, PLAN.model_copy(update={"shard": 3, "what": "x", "why": "y"}), "p")
    other = PLAN.recipe.model_copy(update={"seed": 9, "libraries": {"torch": "3"}})
    with pytest.raises(DistillError, match=r"E-FREEZE.*p was started otherwise \(count: 1 then, 2 now; recipe.libraries"):
        plans.refuse_changed(PLAN, PLAN.model_copy(update={"recipe": other, "count": 2}), "p")
