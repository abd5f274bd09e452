"""The gate that looks for rephrased benchmark items: silent by default and says so, failing where the extra is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workbench import Bench, curated

from pytest_distill.errors import DistillError
from pytest_distill.measuring import embedding
from pytest_distill.policy.model import Contamination

GATE = "contamination.meaning"
NAMED = '\n[[contamination.benchmarks]]\nname = "b"\npath = "b.jsonl"\nfields = ["question"]\n'


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(embedding, "PACKAGE", "a_package_that_nobody_has")
    made = Bench(tmp_path / "ws")
    made.batch(curated(4))
    (made.root / "b.jsonl").write_text(json.dumps({"question": "How many tulips are left of 8 rows of 15 after a mole ate six?"}))
    return made


def test_by_default_it_does_not_apply_and_the_verdict_says_why(bench: Bench) -> None:
    bench.policy(NAMED)
    ended = bench.judge("-k", "contamination")
    assert ended.status(GATE) == "not_applicable"
    assert "the policy sets no contamination.semantic" in ended.why(GATE)


def test_what_was_asked_for_and_cannot_run_is_a_no(bench: Bench) -> None:
    bench.policy(f"[contamination]\nsemantic = true\n{NAMED}")
    ended = bench.judge("-k", "contamination")
    assert ended.status(GATE) == "failed"
    assert "E-EXTRA-MISSING" in ended.why(GATE)
    assert "pytest-distill[embed]" in ended.why(GATE)


def test_without_a_benchmark_there_is_nothing_to_compare_with() -> None:
    with pytest.raises((DistillError, ValueError), match="no benchmark is named"):
        Contamination.model_validate({"semantic": True})
