"""The gate that compares hold-outs by meaning: silent by default and says so, failing where the extra is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import stage1_runs as runs
from workbench import Bench

from pytest_distill.measuring import embedding

GATE = "stage1.holdout-meaning"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(embedding, "PACKAGE", "a_package_that_nobody_has")
    made = Bench(tmp_path / "ws")
    pilot = runs.write(made.root, "pilot", runs.run(runs.sums(30)), runs.session())
    away = runs.run(runs.sums(30, start=100), refused=12)
    runs.write(made.root, "holdout", away, runs.session(purpose="holdout"), parents=(pilot.sha256,))
    return made


def test_by_default_it_does_not_apply_and_the_verdict_says_why(bench: Bench) -> None:
    ended = bench.judge("-k", "holdout_asks or record", batch="holdout")
    assert ended.status(GATE) == "not_applicable"
    assert "the policy sets no holdout.semantic" in ended.why(GATE)


def test_what_was_asked_for_and_cannot_run_is_a_no(bench: Bench) -> None:
    bench.policy("[holdout]\nsemantic = true\n")
    ended = bench.judge("-k", "holdout_asks or record", batch="holdout")
    assert ended.status(GATE) == "failed"
    assert "E-EXTRA-MISSING" in ended.why(GATE)
    assert "pytest-distill[embed]" in ended.why(GATE)
