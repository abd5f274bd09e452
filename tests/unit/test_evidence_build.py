"""Streams become evidence: every row is kept, known already or skipped with a reason; nothing that stands is edited."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from evidence_workspace import AT, LATER, append, collect, evidence, fact, finding, make, outcome, review, scrum, tree, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_distill import clock, storage
from pytest_distill.contracts.evidence import Skip
from pytest_distill.errors import Code, DistillError
from pytest_distill.fixtures.evidence import generate
from pytest_distill.pipelines.evidence import health, store, transforms
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace


@pytest.fixture(autouse=True)
def pinned_clock():
    with clock.pinned(LATER):
        yield


def skips(workspace: Workspace, stream: str) -> list[Skip]:
    return list(store.rows(store.evidence_folder(workspace) / "skips" / f"{stream}.jsonl", Skip))


def test_a_row_becomes_a_record_that_says_where_it_comes_from(tmp_path: Path) -> None:
    workspace = make(tmp_path, scrum_reviews=[scrum("src/a.rs", 2, latency_ms=12.5), scrum("src/b.rs", None)])
    (built,) = collect(workspace)
    assert (built.rows, built.out, built.deduped, built.skipped, built.stands) == (2, 2, 0, 0, 2)
    assert list(tree(tmp_path / "evidence")) == ["2026/04/27/scrum_reviews.jsonl"]
    first, second = evidence(workspace)
    assert (first.run_id, first.task_id, first.timestamp) == (f"scrum:src/a.rs:{AT}", "scrum_review:src/a.rs", AT)
    assert (first.success_markers, first.latency_ms, first.model_role) == (("accepted_on_attempt_2",), 12.5, "reviewer")
    assert second.success_markers == ()
    line = (tmp_path / "streams/scrum_reviews.jsonl").read_bytes().split(b"\n")[1]
    assert second.provenance.line_hash == storage.sha256_bytes(line)
    assert second.provenance.line_offset == (tmp_path / "streams/scrum_reviews.jsonl").read_bytes().index(line)
    assert second.provenance.recorded_at == LATER


@pytest.mark.parametrize(
    ("stream", "line", "reason"),
    [
        ("outcomes", {"run_id": "r", "total_events": 1}, "missing_field"),
        ("audits", {"pr": 4, "verdict": "approved", "ts": AT}, "misnamed_shape"),
        ("audits", b'{"finding_id": "F1", "pha\n', "malformed"),
        ("audits", b'{"finding_id": "F1", "pha', "torn_line"),
        ("audits", b"[1, 2]\n", "malformed"),
        ("audits", b'{"a": 1, "a": 2}\n', "malformed"),
        ("audits", b'{"a": NaN}\n', "malformed"),
        ("audits", {"id": 2**60 + 1}, "no_canonical_form"),
        ("scrum_reviews", {"file": "a", "reviewed_at": "yesterday"}, "schema_violation"),
        ("scrum_reviews", {"file": "a", "reviewed_at": "2026-04-20T08:00:00"}, "schema_violation"),
        ("scrum_reviews", {"file": "a", "reviewed_at": AT, "latency_ms": -1}, "schema_violation"),
        ("scrum_reviews", {"file": "a", "reviewed_at": AT, "review": 7}, "schema_violation"),
    ],
)
def test_what_becomes_no_evidence_is_skipped_with_a_reason(tmp_path: Path, stream: str, line, reason: str) -> None:
    good = {"audits": finding(), "outcomes": outcome(), "scrum_reviews": scrum()}[stream]
    workspace = make(tmp_path, **{stream: [good, line]})
    (built,) = collect(workspace)
    assert (built.rows, built.out, built.skipped) == (2, 1, 1)
    (skip,) = skips(workspace, stream)
    assert (skip.reason, skip.line, skip.source_file) == (reason, 2, f"{stream}.jsonl")
    assert skip.message
    assert len(evidence(workspace)) == 1


def test_a_row_that_was_written_twice_is_kept_once(tmp_path: Path) -> None:
    workspace = make(tmp_path, observer_reviews=[review(), review(), review("src/b.rs")])
    (built,) = collect(workspace)
    assert (built.rows, built.out, built.deduped) == (3, 2, 1)


def test_a_row_whose_floats_are_spelt_otherwise_is_the_same_row(tmp_path: Path) -> None:
    row = scrum(latency_ms=1e-7, prompt_tokens=100)
    again = json.dumps({k: row[k] for k in reversed(row)}).replace("1e-07", "0.00000010").replace(": 100", ":  1.0e2")
    workspace = make(tmp_path, scrum_reviews=[row, again.encode() + b"\n"])
    (built,) = collect(workspace)
    assert (built.out, built.deduped) == (1, 1)


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[b"\n", finding(), b"  \n"])
    (built,) = collect(workspace)
    assert (built.rows, built.skipped) == (1, 0)


def test_a_second_run_adds_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    generate.generate(tmp_path / "streams", 300)
    (tmp_path / "distill.toml").touch()
    workspace = workspaces.load(tmp_path)
    first = collect(workspace)
    before = tree(tmp_path / "evidence")
    with clock.pinned("2026-05-05T05:05:05Z"):
        second = collect(workspace)
    assert sum(one.out for one in first) == 294
    assert [(one.rows, one.skipped, one.stands) for one in second] == [(one.rows, one.skipped, one.stands) for one in first]
    assert sum(one.out for one in second) == 0
    assert tree(tmp_path / "evidence") == before


def test_the_same_streams_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generate.generate(tmp_path / name / "streams", 200)
        (tmp_path / name / "distill.toml").touch()
    trees = []
    for name in ("a", "b"):
        collect(workspaces.load(tmp_path / name))
        trees.append(tree(tmp_path / name / "evidence"))
    assert trees[0] == trees[1]


def test_of_a_source_that_has_grown_only_what_is_new_is_added(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding(finding_id="F1"), finding(finding_id="F2")])
    collect(workspace)
    before = tree(tmp_path / "evidence")
    append(tmp_path, "audits", finding(finding_id="F1"), finding(finding_id="F3"))
    with clock.pinned("2026-04-28T00:00:00Z"):
        (built,) = collect(workspace)
    assert (built.rows, built.out, built.deduped, built.stands) == (4, 1, 3, 3)
    after = tree(tmp_path / "evidence")
    assert after.items() >= before.items(), "the older day is as it was"
    assert len(after) == 2
    assert [row.run_id for row in evidence(workspace)] == ["audit:F1", "audit:F2", "audit:F3"]


def test_a_torn_line_that_is_completed_later_becomes_evidence(tmp_path: Path) -> None:
    whole = json.dumps(finding(finding_id="F2")).encode() + b"\n"
    workspace = make(tmp_path, audits=[finding(finding_id="F1"), whole[:20]])
    assert collect(workspace)[0].skipped == 1
    append(tmp_path, "audits", whole[20:])
    (built,) = collect(workspace)
    assert (built.rows, built.out, built.skipped, built.stands) == (2, 1, 0, 2)
    assert evidence(workspace)[1].provenance.line_hash == storage.sha256_bytes(whole[:-1])


def test_a_source_that_was_rotated_keeps_its_evidence(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding(finding_id="F1"), finding(finding_id="F2")])
    collect(workspace)
    write(tmp_path, "audits", [finding(finding_id="F2"), finding(finding_id="F3")])
    (built,) = collect(workspace)
    assert (built.rows, built.out, built.deduped, built.stands) == (2, 1, 1, 3)


def test_evidence_that_was_edited_is_refused(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding()])
    collect(workspace)
    path = next((tmp_path / "evidence").rglob("audits.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"It retries", b"It refuses"))
    with pytest.raises(DistillError, match="is not what was written") as caught:
        collect(workspace)
    assert caught.value.code is Code.BATCH_CORRUPT


def test_rows_of_a_run_that_was_cut_off_are_known_to_the_next(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding(finding_id="F1")])
    collect(workspace)
    state = tmp_path / ".distill/evidence/audits.json"
    before = state.read_bytes()
    append(tmp_path, "audits", finding(finding_id="F2"))
    collect(workspace)
    state.write_bytes(before)  # as if killed after the evidence and before the state
    (built,) = collect(workspace)
    assert (built.out, built.stands) == (0, 2)


def test_a_changed_transform_is_refused_until_it_is_made_again(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding("medium")])
    collect(workspace)
    own = transforms.SHIPPED.read_text().replace(
        'timestamp = "{ts}"\ntask_type = "audit"', 'timestamp = "{ts}"\ntask_type = "finding"'
    )
    assert own != transforms.SHIPPED.read_text()
    (tmp_path / "evidence.toml").write_text(own)
    with pytest.raises(DistillError, match="has changed since") as caught:
        collect(workspace)
    assert caught.value.code is Code.STALE
    (built,) = collect(workspace, rebuild=True)
    assert (built.out, [row.task_type for row in evidence(workspace)]) == (1, ["finding"])


def test_evidence_whose_source_is_gone_is_not_made_again(tmp_path: Path) -> None:
    workspace = make(tmp_path, audits=[finding(finding_id="F1")])
    collect(workspace)
    (tmp_path / "evidence.toml").write_text(transforms.SHIPPED.read_text().replace('"audit"', '"finding"'))
    write(tmp_path, "audits", [finding(finding_id="F2")])
    with pytest.raises(DistillError, match="no longer holds its old rows"):
        collect(workspace, rebuild=True)
    assert [row.run_id for row in evidence(workspace)] == ["audit:F1"]


def test_no_stream_at_all_is_an_error_and_missing_ones_are_not(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    with pytest.raises(DistillError) as caught:
        collect(workspace)
    assert caught.value.code is Code.SOURCE
    write(tmp_path, "distilled_facts", [fact()])
    assert [one.stream for one in collect(workspace)] == ["distilled_facts"]


def test_all_shipped_streams_are_made_with_their_faults_found(tmp_path: Path) -> None:
    generate.generate(tmp_path / "streams", 14 * 40)
    (tmp_path / "distill.toml").touch()
    workspace = workspaces.load(tmp_path)
    built = {one.stream: one for one in collect(workspace)}
    assert set(built) == set(generate.STREAMS) <= {stream.name for stream in transforms.load()}
    assert all(one.rows == 40 for one in built.values())
    assert {name: one.skipped for name, one in built.items() if one.skipped} == {"audits": 1, "outcomes": 1, "scrum_reviews": 1}
    assert {name: one.deduped for name, one in built.items() if one.deduped} == {
        "contract_analyses": 1, "distilled_facts": 1, "observer_reviews": 1,
    }  # fmt: skip
    found = health.health(workspace, tmp_path / "streams", sample=200)
    assert (found.sampled, found.broken) == (200, ())
    classes = {stream.source: stream.source_class for stream in found.streams}
    assert classes["audits"] == "verdict-bearing"
    assert classes["outcomes"] == "telemetry-rich"
    assert classes["audit_facts"] == "extraction"
    scoreable = {stream.source: stream.scoreable / stream.rows for stream in found.streams}
    assert scoreable["observer_reviews"] == scoreable["audits"] == 1.0
    assert scoreable["audit_facts"] == scoreable["distilled_facts"] == 0.0


@pytest.mark.parametrize("change", ["moved", "edited", "gone"])
def test_a_row_that_does_not_trace_back_is_named(tmp_path: Path, change: str) -> None:
    workspace = make(tmp_path, audits=[finding()])
    collect(workspace)
    source = tmp_path / "streams/audits.jsonl"
    if change == "gone":
        source.unlink()
    else:
        source.write_bytes(b"\n" + source.read_bytes() if change == "moved" else source.read_bytes().replace(b"noted", b"other"))
    found = health.health(workspace, tmp_path / "streams")
    assert found.sampled == len(found.broken) == 1
    assert "audits.jsonl" in found.broken[0]


ROW = st.dictionaries(
    st.sampled_from(["finding_id", "phase", "severity", "topic", "ts", "resolution", "evidence", "file", "drift"]),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.just(AT)
    | st.lists(st.text(max_size=3)),
    max_size=9,
)


@given(st.lists(ROW, min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_the_rows_are_none_is_lost(tmp_path_factory, rows, chance: random.Random) -> None:
    root = tmp_path_factory.mktemp("any")
    workspace = make(root, audits=[*rows, finding()])
    (built,) = collect(workspace)
    assert built.rows == len(rows) + 1 == built.out + built.deduped + built.skipped
    assert built.stands == built.out == len(evidence(workspace))
    assert health.health(workspace, root / "streams").broken == ()
    shuffled = [*rows, finding()]
    chance.shuffle(shuffled)
    write(root, "audits", shuffled)
    assert collect(workspace)[0].out == 0, "the same rows in another order are known"
