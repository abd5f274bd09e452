"""Sampling inspection in a run: generated bulk is not sealed without it, and who or what said "good" has to be known."""

from __future__ import annotations

from pathlib import Path

import pytest
import stage1_runs as runs
from inspecting import NOW, inspect_all
from workbench import Bench, curated

from pytest_distill.batch.batch import open_batch
from pytest_distill.cli.inspect import shown_rows
from pytest_distill.contracts.verifier import AutomatedVerifier, SharedRow
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.agreement import keep
from pytest_distill.release.inspection import begin

GATE = "inspection.sampling"
ONLY = ("-k", "sample_was_inspected or record")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A pilot of 120 rows that nobody has inspected: its plan is 34 rows and one defect."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Bench(tmp_path / "ws")
    runs.write(made.root, "pilot", runs.run(curated(120)), runs.session(), inspected=False)
    return made


def test_nobody_looked(bench: Bench) -> None:
    ended = bench.judge(*ONLY, batch="pilot")
    assert ended.status(GATE) == "failed"
    assert not ended.sealed
    assert "rows that were inspected is 0, allowed is >= 34" in ended.why(GATE)


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        ({}, "passed", ""),
        ({"bad": 1}, "passed", ""),
        ({"unsure": 1}, "passed", ""),
        ({"bad": 2}, "failed", "defects among them is 2 rows, allowed is <= 1 rows"),
        ({"bad": 1, "unsure": 1}, "failed", "defects among them is 2"),
        ({"left": 1}, "failed", "drawn rows that nobody has judged is 1"),
    ],
)
def test_the_plan_decides(bench: Bench, said: dict[str, int], status: str, why: str) -> None:
    inspect_all(bench.root, "pilot", **said)
    ended = bench.judge(*ONLY, batch="pilot")
    assert ended.status(GATE) == status, ended.why(GATE)
    assert why in ended.why(GATE)


def test_inspector_time_and_number_are_evidence(bench: Bench) -> None:
    inspect_all(bench.root, "pilot")
    figures = {figure.name: figure.value for figure in bench.judge(*ONLY, batch="pilot").gate(GATE).figures}
    assert figures[f"rows judged by Ada, {NOW} to {NOW}"] == 34


def test_a_record_that_was_edited_does_not_count(bench: Bench) -> None:
    inspect_all(bench.root, "pilot", bad=5)
    path = bench.root / ".distill" / "inspections" / "pilot.json"
    path.write_bytes(path.read_bytes().replace(b'"bad"', b'"good"'))
    ended = bench.judge(*ONLY, batch="pilot")
    assert ended.status(GATE) == "failed"
    assert "E-LEDGER" in ended.why(GATE)


def test_what_a_person_brings_is_asked_for_by_one_line_of_the_policy_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.batch(curated(120))
    ended = bench.judge()
    assert ended.status(GATE) == "not_applicable"
    assert ended.sealed
    assert "the policy asks for no other inspection" in ended.why(GATE)
    bench.policy('[inspection]\nmode = "always"\n')
    assert bench.judge(*ONLY).status(GATE) == "failed"
    bench.policy("[inspection]\nrows = 10\n")
    inspect_all(bench.root, "demo", bad=1)
    assert "defects among them is 1 rows, allowed is <= 0" in bench.judge(*ONLY).why(GATE)
    inspect_all(bench.root, "demo")
    assert bench.judge(*ONLY).status(GATE) == "passed"


def verifier(**changes: object) -> AutomatedVerifier:
    facts = {"kind": "critic", "backend": "transformers", "model": "m", "model_sha256": "a" * 64, "prompt_sha256": "b" * 64}
    return AutomatedVerifier.model_validate({**facts, "threshold": 1.0, **changes})


def shared(count: int, wrong: int) -> list[SharedRow]:
    """Half of the rows good and half bad; the verifier is wrong about the first ones."""
    said = ["good" if number % 2 else "bad" for number in range(count)]
    other = {"good": "bad", "bad": "good"}
    return [
        SharedRow.model_validate(
            {"row_sha256": f"{n:064x}", "who": "Ada", "people": word, "verifier": other[word] if n < wrong else word}
        )
        for n, word in enumerate(said)
    ]


@pytest.mark.parametrize(
    ("rows", "wrong", "why"),
    [
        (0, 0, "rows that people and verifier {id} both judged is 0, allowed is >= 30"),
        (29, 0, "both judged is 29, allowed is >= 30"),
        (40, 7, "kappa of people and verifier {id} is 0.65, allowed is >= 0.7"),
        (40, 4, None),
    ],
)
def test_a_verifier_stands_alone_once_people_agree_with_it(bench: Bench, rows: int, wrong: int, why: str | None) -> None:
    one = verifier()
    if rows:
        keep(workspaces.load(bench.root), one, shared(rows, wrong), source="rows.jsonl", source_sha256="c" * 64)
    inspect_all(bench.root, "pilot", verifier=one.id)
    ended = bench.judge(*ONLY, batch="pilot")
    assert ended.status(GATE) == ("passed" if why is None else "failed"), ended.why(GATE)
    assert (why or "").format(id=one.id[:12]) in ended.why(GATE)


@pytest.mark.parametrize(
    "change", [{"threshold": 0.5}, {"model_sha256": "d" * 64}, {"prompt_sha256": "d" * 64}, {"kind": "judge"}]
)
def test_a_verifier_that_was_changed_is_another_one(bench: Bench, change: dict[str, object]) -> None:
    keep(workspaces.load(bench.root), verifier(), shared(40, 0), source="rows.jsonl", source_sha256="c" * 64)
    inspect_all(bench.root, "pilot", verifier=verifier(**change).id)
    ended = bench.judge(*ONLY, batch="pilot")
    assert ended.status(GATE) == "failed"
    assert "both judged is 0" in ended.why(GATE)


def test_an_agreement_that_nobody_entered_into_the_ledger_does_not_count(bench: Bench, tmp_path: Path) -> None:
    elsewhere = Bench(tmp_path / "elsewhere")
    kept = keep(workspaces.load(elsewhere.root), verifier(), shared(40, 0), source="rows.jsonl", source_sha256="c" * 64)
    kept.write(workspaces.load(bench.root).agreement(verifier().id))
    inspect_all(bench.root, "pilot", verifier=verifier().id)
    ended = bench.judge(*ONLY, batch="pilot")
    assert ended.status(GATE) == "failed"
    assert "E-LEDGER" in ended.why(GATE)


def test_the_cut_part_of_a_completion_is_shown_apart(bench: Bench) -> None:
    batch = open_batch(bench.root / "batches" / "pilot")
    rows = list(shown_rows(batch, begin(workspaces.load(bench.root), batch)))
    assert len(rows) == 34
    for row in rows:
        assert row["kept"] == row["response"]
        assert row["cut"].startswith("###END###")
        assert row["margins"]["instruction"] > 1
        assert row["trim_rule"] == "delimiter"
