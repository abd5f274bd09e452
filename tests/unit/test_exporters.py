"""Exporters: what leaves is accepted, traced, unique and read again; what does not has one of eleven reasons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from evidence_strategies import ONE, PLACE
from evidence_workspace import LATER, analysis, experiment, fact, finding, make, outcome, patch, review, scored, scrum, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_distill import clock
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.contracts.evidence import EvidenceRecord, PreferenceSample, QuarantineEntry, RagSample, SftSample, sample_id
from pytest_distill.contracts.quarantine import EXPORT_REASONS
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import store
from pytest_distill.pipelines.exporters import export, firewall, source
from pytest_distill.pipelines.exporters.export import Exported, Options
from pytest_distill.pipelines.exporters.pairs import export_preference
from pytest_distill.pipelines.exporters.playbooks import export_playbooks
from pytest_distill.pipelines.exporters.rows import export_rag, export_sft
from pytest_distill.policy.workspace import Workspace


@pytest.fixture(autouse=True)
def pinned_clock():
    with clock.pinned(LATER):
        yield


def ready(root: Path, **streams: list[Any]) -> Workspace:
    workspace = make(root, **streams)
    scored(workspace)
    return workspace


def samples(found: Exported) -> list[dict[str, Any]]:
    assert found.batch is not None
    return [orjson.loads(line) for line in json_lines(found.batch.frame(found.batch.column_names), found.batch.manifest.columns)]


def entries(batch: Batch) -> Iterator[QuarantineEntry]:
    for row in batch.candidates().iter_rows(named=True):
        if row["status"] != "kept":
            values = {name: orjson.loads(row[name]) for name in ("source_record", "errors", "provenance")}
            yield QuarantineEntry(exporter=row["exporter"], reason=row["status"], **values)


def edit(workspace: Workspace, folder: str, change: Any) -> None:
    """Changes rows of evidence or scores as somebody with an editor would."""
    for partition in store.partitions(workspace.root / folder):
        rows = [change(orjson.loads(line)) for line in partition.path.read_bytes().splitlines()]
        partition.path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


ALL = {
    "scrum_reviews": [scrum(attempt=1), scrum("src/b.rs", 3), scrum("src/c.rs", None)],
    "audits": [finding("info"), finding("high", finding_id="F2"), finding("medium", finding_id="F3")],
    "auto_apply": [patch("committed"), patch("build_red_reverted", file="src/b.rs")],
    "contract_analyses": [analysis("accept"), analysis("reject", permit_id="P2")],
    "outcomes": [outcome()],
    "mode_experiments": [experiment(0.9), experiment(0.1, file_path="src/d.rs")],
    "distilled_facts": [fact()],
}


def test_sft_takes_accepted_answers_and_says_why_not_the_others(tmp_path: Path) -> None:
    found = export_sft(ready(tmp_path, **ALL))
    rows = samples(found)
    assert {row["quality_score"] for row in rows} == {"accepted"}
    assert {row["source_run_id"].split(":")[0] for row in rows} == {"scrum", "audit", "auto_apply", "contract", "mode"}
    assert found.considered == found.samples + found.quarantined == 14
    assert found.reasons == {"unsafe_sft_category": 6, "category_disallowed": 2, "empty_content": 1}
    assert next(row for row in rows if row["source_run_id"].startswith("auto_apply"))["context"] == "Do it."


def test_partial_answers_are_taken_when_asked_for_and_stay_marked(tmp_path: Path) -> None:
    workspace = ready(tmp_path, **ALL)
    strict, partial = export_sft(workspace), export_sft(workspace, Options(include_partial=True))
    assert partial.samples == strict.samples + 2
    assert {row["quality_score"] for row in samples(partial)} == {"accepted", "partially_accepted"}
    assert partial.batch is not None
    assert strict.batch is not None
    assert partial.batch.id != strict.batch.id, "another option, another batch"


def test_rag_takes_partial_runs_and_never_rejected_ones(tmp_path: Path) -> None:
    workspace = ready(tmp_path, **ALL)
    rows = samples(export_rag(workspace))
    assert {row["source_category"] for row in rows} == {"accepted", "partially_accepted"}
    review_too = samples(export_rag(workspace, Options(include_review=True)))
    assert {row["source_category"] for row in review_too} == {"accepted", "partially_accepted", "needs_human_review"}
    assert {row["success_score"] for row in review_too} == {1.0, 0.5, 0.0}
    rejected = {run for run, row in scored(workspace).items() if row.category == "rejected"}
    assert len(rejected) == 4
    assert not rejected & {row["source_run_id"] for row in review_too}


@pytest.mark.parametrize("exporter", [export_rag, export_sft, export_preference])
def test_what_is_exported_is_an_ordinary_batch_that_traces_back(tmp_path: Path, exporter) -> None:
    found = exporter(ready(tmp_path, observer_reviews=[review(), review(verdict="reject", text="No.")], **ALL))
    assert found.batch is not None
    assert found.batch.manifest.origin == "derived"
    assert found.batch.manifest.how.pipeline == found.exporter
    for row in samples(found):
        sides = [(row.get("source_run_id") or row["chosen_run_id"], row["provenance"]["sig_hash"])]
        if "rejected_run_id" in row:
            sides.append((row["rejected_run_id"], row["rejected_provenance"]["sig_hash"]))
        assert row["id"] == sample_id(*(part for side in sides for part in side))
        assert row["created_at"] == LATER
    assert len(list(entries(found.batch))) == found.quarantined


def test_exporting_again_adds_nothing(tmp_path: Path) -> None:
    workspace = ready(tmp_path, **ALL)
    first = export_sft(workspace)
    before = tree(tmp_path / "batches")
    with clock.pinned("2026-09-09T00:00:00Z"):
        second = export_sft(workspace)
    assert (first.added, second.added) == (first.samples, 0)
    assert (second.considered, second.samples, second.reasons) == (first.considered, first.samples, first.reasons)
    assert tree(tmp_path / "batches") == before


def test_the_same_evidence_recorded_at_another_time_is_the_same_batch(tmp_path: Path) -> None:
    found = []
    for name, at in (("a", LATER), ("b", "2026-04-27T23:00:00Z")):
        with clock.pinned(at):
            found.append(export_sft(ready(tmp_path / name, **ALL)))
    a, b = (one.batch for one in found)
    assert a is not None
    assert b is not None
    assert a.id == b.id
    assert a.sha256 != b.sha256
    assert a.attachment("timeless.json") == b.attachment("timeless.json")


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    workspace = ready(tmp_path, **ALL)
    before = tree(tmp_path)
    dry = export_sft(workspace, Options(dry_run=True))
    assert tree(tmp_path) == before
    real = export_sft(workspace)
    assert dry.batch is None
    assert (dry.samples, dry.reasons) == (real.samples, real.reasons)


def test_an_id_of_another_batch_is_refused(tmp_path: Path) -> None:
    workspace = ready(tmp_path, **ALL)
    export_sft(workspace, Options(batch_id="mine"))
    assert export_sft(workspace, Options(batch_id="mine")).added == 0
    with pytest.raises(DistillError, match="made of something else") as caught:
        export_sft(workspace, Options(batch_id="mine", include_partial=True))
    assert caught.value.code is Code.BATCH_EXISTS


def test_without_a_sample_there_is_no_batch(tmp_path: Path) -> None:
    found = export_sft(ready(tmp_path, audits=[finding("high")]))
    assert (found.samples, found.batch, found.reasons) == (0, None, {"unsafe_sft_category": 1})
    assert not (tmp_path / "batches").exists() or not list((tmp_path / "batches").iterdir())


# -- the eleven reasons ------------------------------------------------------------------------------------------------------


def drop(name: str) -> Any:
    return lambda row: {key: value for key, value in row.items() if key != name}


def put(**values: Any) -> Any:
    return lambda row: {**row, **values}


REASONS: dict[str, tuple[Any, dict[str, list[Any]], Any, str]] = {
    "missing_provenance": (export_sft, {"audits": [finding()]}, drop("provenance"), "scored-runs"),
    "missing_source_run_id": (export_rag, {"audits": [finding()]}, put(evidence_run_id=" "), "scored-runs"),
    "empty_content": (export_rag, {"outcomes": [outcome()]}, None, ""),
    "schema_violation": (export_sft, {"audits": [finding()]}, put(instruction=" "), "evidence"),
    "unsafe_sft_category": (export_sft, {"audits": [finding("high")]}, None, ""),
    "unsafe_rag_category": (export_rag, {"audits": [finding("high")]}, None, ""),
    "category_disallowed": (export_sft, {"audits": [finding("medium")]}, None, ""),
    "hallucinated_file_path": (export_sft, {"mode_experiments": [experiment(0.9, "See src/no/one.rs.", context="x")]}, None, ""),
    "duplicate_id": (export_rag, {"audits": [finding(), finding(finding_id="F2")]}, None, ""),
    "self_pairing": (
        export_preference, {"observer_reviews": [review(run_id="1"), review("src/a.rs", "reject", run_id="1")]}, None, ""),
    "invalid_preference_pairing": (export_preference, {"observer_reviews": [review(), review(verdict="reject")]}, None, ""),
}  # fmt: skip


def test_every_reason_is_tried() -> None:
    assert set(REASONS) == {reason.value for reason in EXPORT_REASONS}
    assert len(REASONS) == 11


@pytest.mark.parametrize("reason", REASONS)
def test_a_record_is_turned_away_for_its_reason(tmp_path: Path, reason: str) -> None:
    exporter, streams, change, folder = REASONS[reason]
    # One good pair beside it, so that there is a batch whose entries can be read.
    good = {"contract_analyses": [analysis("accept"), analysis("reject", analysis="No duties.", ts="2026-04-20T13:00:00Z")]}
    workspace = ready(tmp_path, **streams, **good)
    target = next(iter(streams))
    if reason == "duplicate_id":
        lines = {name: path for name in ("evidence", "scored-runs") for path in (workspace.root / name).rglob("audits.jsonl")}
        for path in lines.values():
            path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] * 2)
    elif change is not None:
        for path in (workspace.root / folder).rglob(f"{target}.jsonl"):
            rows = [change(orjson.loads(line)) for line in path.read_bytes().splitlines()]
            path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    found = exporter(workspace)
    assert found.reasons[reason] == 1 + reason.startswith("unsafe")  # the pair's worse side is one of those
    assert found.batch is not None
    entry = next(each for each in entries(found.batch) if each.reason == reason)
    assert entry.errors[0]
    assert (entry.provenance is None) == (reason == "missing_provenance")
    assert found.considered == found.samples + found.quarantined


@pytest.mark.parametrize(
    "text", ["Pay <contractor> at once.", "Dear {{ name }},", "[INSERT TITLE HERE]", "To <site address>: hello"]
)
def test_a_placeholder_that_was_left_is_found(text: str) -> None:
    assert firewall.placeholder(text)


@pytest.mark.parametrize(
    "text",
    [
        "Vec<u8> and Option<string>",
        "a < b > c",
        "<b>bold</b>",
        "<think>so</think>",
        "<item>1</item>",
        "if a<b and c>d:",
        "[1](x)",
    ],
)
def test_what_is_no_placeholder_is_spared(text: str) -> None:
    assert firewall.placeholder(text) is None


def record(text: str, **fields: Any) -> EvidenceRecord:
    return EvidenceRecord(run_id="r", task_id="t", timestamp=LATER, provenance=PLACE, text=text, **fields)


@pytest.mark.parametrize(
    ("text", "fields", "known", "strangers"),
    [
        ("src/a.rs is fine", {"retrieved_context": "src/a.rs"}, [], []),
        ("src/b.rs is fine", {"retrieved_context": "src/a.rs"}, [], ["src/b.rs"]),
        ("src/b.rs is fine", {}, [], []),
        ("src/b.rs is fine", {}, ["src/a.rs"], ["src/b.rs"]),
        ("src/b.rs is fine", {"retrieved_context": "x"}, ["src/b.rs"], []),
        ("src/b.rs is fine", {"retrieved_context": "x", "file": "src/b.rs"}, [], []),
        ("--- a/src/b.rs\n+++ b/src/b.rs", {"retrieved_context": "x", "file": "src/b.rs"}, [], []),
        ("see https://example.org/a/b.html and 3/4.5", {"retrieved_context": "x"}, [], []),
        ("either/or, and/or", {"retrieved_context": "x"}, [], []),
    ],
)
def test_a_path_that_nothing_vouches_for_is_found(
    text: str, fields: dict[str, Any], known: list[str], strangers: list[str]
) -> None:
    assert firewall.unknown_paths(record(text, **fields), frozenset(known)) == strangers


# -- the two layers, each without the other ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name", "changes"),
    [
        (SftSample, "sft_sample", {"quality_score": "rejected"}),
        (SftSample, "sft_sample", {"quality_score": "needs_human_review"}),
        (SftSample, "sft_sample", {"response": " "}),
        (SftSample, "sft_sample", {"provenance": None}),
        (SftSample, "sft_sample", {"id": "0" * 64}),
        (RagSample, "rag_sample", {"source_category": "rejected"}),
        (RagSample, "rag_sample", {"success_score": 0.5}),
        (PreferenceSample, "preference_sample", {"rejected_run_id": "r"}),
        (PreferenceSample, "preference_sample", {"rejected": " a "}),
        (PreferenceSample, "preference_sample", {"source": "x"}),
    ],
)
def test_the_models_cannot_say_it(model, name: str, changes: dict[str, Any]) -> None:
    values = ONE[name].model_dump(mode="json")
    assert model.model_validate(values)
    with pytest.raises(ValidationError):
        model.model_validate({**values, **changes})


def test_the_exporter_checks_without_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless:
        def __init__(self, **values: Any) -> None:
            raise AssertionError(f"a sample was made of {values['quality_score']}")

    workspace = ready(tmp_path, audits=[finding("high"), finding("strange", finding_id="F2")])
    monkeypatch.setitem(export.MODELS, "export-sft", Careless)
    assert export_sft(workspace).reasons == {"unsafe_sft_category": 2}


def test_the_models_check_without_the_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = ready(tmp_path, audits=[finding("high"), finding("info", finding_id="F2")])
    monkeypatch.setattr(firewall, "SFT_NEVER", frozenset())
    found = export_sft(workspace)
    assert (found.samples, found.reasons) == (1, {"schema_violation": 1})


def test_what_was_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "of_category", lambda exporter, category, *, optional: None)
    with pytest.raises(DistillError, match="is partially_accepted") as caught:
        export_sft(ready(tmp_path, audits=[finding("medium")]))
    assert caught.value.code is Code.BATCH_CORRUPT


# -- scores that are not of this evidence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["missing", "short", "long", "foreign", "old"])
def test_scores_that_are_not_of_this_evidence_are_stale(tmp_path: Path, what: str) -> None:
    workspace = ready(tmp_path, audits=[finding(), finding("high", finding_id="F2")])
    path = next((tmp_path / "scored-runs").rglob("audits.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "missing": [], "short": lines[:1], "long": [*lines, lines[0]], "foreign": lines[::-1],
        "old": [line.replace(b'"scorer_version":"1', b'"scorer_version":"0') for line in lines],
    }[what]  # fmt: skip
    path.unlink()
    (path.parent / "other.jsonl").write_bytes(b"") if what == "missing" else path.write_bytes(b"".join(changed))
    with pytest.raises(DistillError) as caught:
        export_rag(workspace)
    assert caught.value.code is Code.STALE


def test_without_scores_nothing_is_exported(tmp_path: Path) -> None:
    with pytest.raises(DistillError) as caught:
        source.pairs(make(tmp_path))
    assert caught.value.code is Code.SOURCE


# -- pairs -------------------------------------------------------------------------------------------------------------------


def pairs(found: Exported) -> set[tuple[str, str]]:
    return {(row["chosen"], row["rejected"]) for row in samples(found)}


def test_an_accepted_answer_is_set_against_a_rejected_one_of_its_task(tmp_path: Path) -> None:
    rows = [
        review(text="good"),
        review(verdict="reject", text="bad"),
        review(verdict="cycle", text="so so"),
        review("src/b.rs", text="lonely"),
    ]
    found = export_preference(ready(tmp_path, observer_reviews=rows))
    assert pairs(found) == {("good", "bad")}, "rejected ones come before partial ones"


def test_a_partial_answer_stands_in_where_none_was_rejected(tmp_path: Path) -> None:
    found = export_preference(ready(tmp_path, observer_reviews=[review(text="good"), review(verdict="cycle", text="so so")]))
    assert pairs(found) == {("good", "so so")}


def test_answers_of_two_streams_meet_on_one_file(tmp_path: Path) -> None:
    streams = {
        "scrum_reviews": [scrum("src/a.rs", text="good"), scrum("src/b.rs", text="elsewhere")],
        "observer_reviews": [review("src/a.rs", "reject", "bad")],
        "auto_apply": [patch("build_red_reverted", file="src/b.rs")],
    }
    found = export_preference(ready(tmp_path, **streams))
    assert pairs(found) == {("good", "bad")}, "a patch is no review: roles have to be the same"
    (row,) = samples(found)
    assert "two streams" in row["reason"]
    assert row["task_id"] != row["rejected_task_id"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["accept", "reject", "cycle"]), st.integers(0, 2)), max_size=30))
@settings(max_examples=20, deadline=None)
def test_no_task_is_in_more_than_five_pairs(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]]) -> None:
    reviews = [
        review(f"src/{file}.rs", verdict, f"{verdict} {text}", confidence=n) for n, (file, verdict, text) in enumerate(rows)
    ]
    scrums = [scrum(f"src/{file}.rs", 1, f"{verdict} {n}", latency_ms=n) for n, (file, verdict, text) in enumerate(rows)]
    with clock.pinned(LATER):
        found = export_preference(
            ready(
                tmp_path_factory.mktemp("pairs"),
                observer_reviews=[*reviews, review("src/z.rs")],
                scrum_reviews=[*scrums, scrum("src/z.rs")],
            )
        )
    if found.batch is None:
        return
    used: dict[str, int] = {}
    for row in samples(found):
        assert row["chosen"].split() != row["rejected"].split()
        assert row["chosen_run_id"] != row["rejected_run_id"]
        for task in {row["task_id"], row["rejected_task_id"]}:
            used[task] = used.get(task, 0) + 1
    assert max(used.values()) <= 5


def test_a_hot_task_gives_five_pairs_of_many_answers(tmp_path: Path) -> None:
    rows = [review(text=f"good {n}", confidence=n) for n in range(10)] + [
        review(verdict="reject", text=f"bad {n}", confidence=n) for n in range(10)
    ]
    found = export_preference(ready(tmp_path, observer_reviews=rows))
    assert found.samples == 5
    assert len({row["chosen"] for row in samples(found)}) >= 2


# -- playbooks ---------------------------------------------------------------------------------------------------------------


def test_a_playbook_quotes_what_worked_and_what_failed(tmp_path: Path) -> None:
    streams = {
        "scrum_reviews": [
            scrum("src/a.rs", 1, "Close the file. Verify that the build stays green. Run `cargo test -p a`."),
            scrum("src/b.rs", 3, "Count both."),
        ],
        "auto_apply": [patch("build_red_reverted", patch="`git push --force` it")],
    }
    workspace = ready(tmp_path, **streams)
    batch, made = export_playbooks(workspace)
    assert made == 1, "nothing of a patch was accepted"
    assert batch is not None
    (row,) = [orjson.loads(line) for line in json_lines(batch.frame(batch.column_names), batch.manifest.columns)]
    assert (row["task_type"], row["problem_pattern"], row["escalation_threshold"]) == ("scrum_review", "src", 4)
    assert row["commands_worked"] == ["cargo test -p a"]
    assert row["validation_steps"] == ["Verify that the build stays green"]
    assert row["acceptance_criteria"] == ["accepted on attempt 1"]
    assert len(row["source_run_ids"]) == 1
    assert export_playbooks(workspace)[0].sha256 == batch.sha256
