"""Faults that once made a pipeline's figures wrong without a word: each is planted here, and has to be caught by its name."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from evidence_workspace import LATER, append, evidence, fact, finding, make, review, scored, tree
from pydantic import ValidationError

from pytest_distill import clock, storage
from pytest_distill.batch import canonical
from pytest_distill.contracts.receipts import DriftReport
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.acceptance import run as acceptance
from pytest_distill.pipelines.evidence import build, functions, health, purity, score, scoring, stages, store, transforms
from pytest_distill.pipelines.evidence.score import Score, score_record
from pytest_distill.stages import drift, summaries

Patch = pytest.MonkeyPatch


def run_twice(root: Path) -> DriftReport:
    """The streams of one workspace through all stages, and the same streams in a second workspace beside it."""
    reviews = [review(), review(verdict="reject", text="No.")]
    workspace = make(root, audits=[finding(), finding("high", finding_id="F2")], observer_reviews=reviews)
    first = stages.run_all(workspace).summary
    for folder in ("evidence", "scored-runs", "batches", ".distill/evidence"):
        moved = root / folder
        moved.rename(root / f"{folder.replace('/', '-')}.before")
    second = stages.run_all(workspace).summary
    return drift.compare(first, second, warn_percent=20.0)


def violations(report: DriftReport) -> list[str]:
    return [flag.stage for flag in report.flags if flag.kind == "deterministic_violation"]


@pytest.fixture(autouse=True)
def pinned_clock():
    with clock.pinned(LATER):
        yield


def test_without_a_fault_nothing_is_flagged(tmp_path: Path) -> None:
    report = run_twice(tmp_path)
    assert (report.severity, report.run_hash_match, violations(report)) == ("ok", True, [])


# -- a transform that reads the clock ----------------------------------------------------------------------------------------


def test_a_transform_that_reads_the_clock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from datetime import datetime\n\ndef text(row):\n    return str(datetime.now())\n")
    joined = 'text = { join = ["{resolution}", "{evidence}"], by = "\\n" }'
    own = transforms.SHIPPED.read_text().replace(joined, 'text = { function = "mine.py:text" }')
    (tmp_path / "evidence.toml").write_text(own)
    with pytest.raises(DistillError, match="reads the clock"):
        transforms.load(tmp_path)


def test_a_transform_that_hides_its_clock_is_caught_by_the_second_run(tmp_path: Path, monkeypatch: Patch) -> None:
    ticks = iter(range(10**6))

    def text(row: dict[str, Any]) -> str:
        return f"{row.get('severity')} {datetime.now(UTC).year} {next(ticks)}"  # a clock that never stands still

    assert "keeps state" in str(purity.impurities(text)) or "reads the clock" in str(purity.impurities(text))
    monkeypatch.setitem(functions.FUNCTIONS, "audit_severity", text)  # past the check, as a patched installation would be
    report = run_twice(tmp_path)
    assert report.severity == "alert"
    assert violations(report)[0] == "collect"


# -- a scorer version from the environment -----------------------------------------------------------------------------------


def test_a_scorer_version_from_the_environment_is_caught(tmp_path: Path, monkeypatch: Patch) -> None:
    def planted(record: Any, parent: Any = None) -> Score:
        return Score("accepted", (os.environ["SCORER_VERSION"],), {})

    assert purity.impurities(planted) == ["reads the environment (os)"]
    assert all(purity.impurities(f) == [] for f in (score_record, *score._RULES.values()))
    runs = []
    for version in ("1.0.0", "2.0.0"):
        monkeypatch.setenv("SCORER_VERSION", version)
        monkeypatch.setenv("LH_SCORER_VERSION", version)
        workspace = make(tmp_path / version, audits=[finding()])
        runs.append(stages.run_all(workspace).summary)
    assert runs[0].run_hash == runs[1].run_hash, "our version is no matter of the environment"
    monkeypatch.setattr(scoring, "score_record", planted)
    for version in ("1.0.0", "2.0.0"):
        monkeypatch.setenv("SCORER_VERSION", version)
        runs.append(stages.run_all(make(tmp_path / f"planted-{version}", audits=[finding()])).summary)
    assert "score" in violations(drift.compare(runs[2], runs[3], warn_percent=20.0))


# -- module state shared between calls ---------------------------------------------------------------------------------------


def state_leaks(root: Path) -> bool:
    """Whether what a workspace's rows are scored depends on another workspace that was scored before it in this process."""
    facts, reviews = [fact("observer_review:src/a.rs")], [review("src/a.rs")]
    with_verdict = make(root / "with", distilled_facts=facts, observer_reviews=reviews)
    alone = scored(make(root / "alone", distilled_facts=facts))
    assert scored(with_verdict)["d-1"].category == "accepted"
    after = scored(make(root / "after", distilled_facts=facts))
    return bool(alone != after)


def test_module_state_shared_between_calls_is_caught(tmp_path: Path, monkeypatch: Patch) -> None:
    assert not state_leaks(tmp_path / "sound")
    cache: dict[str, Any] = {}

    class Planted(scoring._Scoring):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.parents = cache  # as a table of the module would be

    monkeypatch.setattr(scoring, "_Scoring", Planted)
    assert state_leaks(tmp_path / "planted")


def test_no_module_of_the_way_keeps_state() -> None:
    for module in (build, scoring, score, store, transforms, stages, health, functions):
        for name, function in vars(module).items():
            if callable(function) and getattr(function, "__module__", "") == module.__name__ and hasattr(function, "__code__"):
                found = [word for word in purity.impurities(function) if word.startswith("keeps state")]
                assert found == [], f"{module.__name__}.{name}"


# -- a hash over JSON that was written again ---------------------------------------------------------------------------------


def test_a_hash_over_reserialised_json_is_caught(tmp_path: Path, monkeypatch: Patch) -> None:
    lines = [
        b'{"finding_id": "F1", "phase": 1, "severity": "low", "topic": "", "ts": "2026-04-20T12:00:00Z", "w": 1e-7}\n',
        b'{"w": 0.0000001, "topic": "", "ts": "2026-04-20T12:00:00Z", "severity": "low", "phase": 1.0, "finding_id": "F1"}\n',
    ]
    (sound,) = build.build(workspace := make(tmp_path / "a", audits=list(lines)), transforms.load(), workspace.root / "streams")
    assert (sound.out, sound.deduped) == (1, 1), "one row in two spellings"
    (record,) = evidence(workspace)
    assert record.provenance.line_hash == storage.sha256_bytes(lines[0][:-1]), "the bytes as they stand"

    monkeypatch.setattr(build, "canonical", orjson.dumps)  # the row as our own writer would put it
    (planted,) = build.build(other := make(tmp_path / "b", audits=list(lines)), transforms.load(), other.root / "streams")
    assert (planted.out, planted.deduped) != (1, 1)
    broken = health.health(other, other.root / "streams").broken
    assert broken
    assert "its sig_hash is not that of its line" in broken[0]
    assert canonical.canonical(orjson.loads(lines[0])) == canonical.canonical(orjson.loads(lines[1]))


# -- an input_hash_match that is always true ---------------------------------------------------------------------------------


def changed_input(root: Path) -> tuple[Any, Any]:
    workspace = make(root, audits=[finding(finding_id=f"F{n}") for n in range(10)])
    first = stages.run_all(workspace).summary
    append(root, "audits", finding(finding_id="F10"))
    return first, stages.run_all(workspace).summary


def test_an_input_hash_match_that_is_always_true_is_caught(tmp_path: Path, monkeypatch: Patch) -> None:
    first, second = changed_input(tmp_path)
    sound = drift.compare(first, second, warn_percent=20.0)
    assert {stage.input_hash_match for stage in sound.stages} == {False}
    assert violations(sound) == [], "other input, other output: nothing is wrong"

    monkeypatch.setattr(drift, "match", lambda prior, now: True)
    with pytest.raises(ValidationError, match="input_hash_match is not the comparison of the two input hashes"):
        drift.compare(first, second, warn_percent=20.0)


def test_the_acceptance_run_holds_in_this_process(tmp_path: Path) -> None:
    found = acceptance.run(tmp_path)
    assert found.first.summary.run_hash == found.second.summary.run_hash == found.elsewhere.summary.run_hash
    assert summaries.load(found.workspace, "latest").run_id == found.second.summary.run_id
    assert tree(found.workspace.root / "evidence") == tree(tmp_path / "elsewhere" / "evidence")
