"""Derived batches hold every row of their parent as it was, with the judgements beside it, or say in quarantine why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill import ledger
from pytest_distill.batch import write
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.batch.rows import json_lines
from pytest_distill.cli.main import main
from pytest_distill.contracts.grading import SCORING
from pytest_distill.contracts.manifest import POSITION_COLUMNS, CostClass, How
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.grading.derive import Rejection, derived
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace

HOW = How(pipeline="grading.test", parameters={"a": 1})
ROWS: list[dict[str, Any]] = [
    {"text": "one", "n": 2**70, "f": 1e300, "maybe": None},
    {"text": "two\u2028", "n": 1, "f": -0.0},
    {"text": "three", "n": [1, {"k": None}], "f": 5e-324, "maybe": "x"},
    {"text": "four", "n": "1", "f": 0.1, "maybe": ""},
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "distill.toml").write_text("")
    return workspaces.load(tmp_path)


def made(workspace: Workspace, rows: list[dict[str, Any]], name: str = "parent", files: int = 1) -> Batch:
    paths = []
    for number in range(files):
        path = workspace.root / f"{name}-{number}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[number::files]), encoding="utf-8")
        paths.append(path)
    return ingest(paths, workspace, name, kind="text")


def lines(batch: Batch) -> list[dict[str, Any]]:
    return [json.loads(line) for line in json_lines(batch.frame(batch.column_names), batch.manifest.columns)]


def test_rows_come_over_untouched_with_their_places_and_the_new_columns_beside(workspace: Workspace) -> None:
    parent = made(workspace, ROWS, files=2)
    scores = [{"a": 1.5, "b": [number]} for number in range(4)]
    child = derived(
        workspace, parent, "child", columns={"scores": scores, "aggregated": [0.5, None, 1.0, 0.25]}, how=HOW, what="w", why="y"
    )
    assert lines(child) == [
        {**row, "scores": score, "aggregated": total}
        for row, score, total in zip(lines(parent), scores, [0.5, None, 1.0, 0.25], strict=True)
    ]
    for name in POSITION_COLUMNS:
        assert child.frame([name]).equals(parent.frame([name]))
    manifest = child.manifest
    assert (manifest.origin, manifest.kind, manifest.parents, manifest.how) == ("derived", "text", (parent.sha256,), HOW)
    assert manifest.sources == parent.manifest.sources
    assert manifest.columns[: len(parent.column_names)] == parent.manifest.columns
    entry = ledger.entries(workspace.ledger)[-1]
    assert (entry.event, entry.batch, entry.facts["sha256"]) == ("derived", "child", child.sha256)


def test_rejected_rows_are_in_quarantine_whole_and_counted_by_their_source(workspace: Workspace) -> None:
    parent = made(workspace, ROWS, files=2)
    child = derived(
        workspace, parent, "child", columns={"score": [1, 2, 3, 4]}, rejected={2: Rejection(Reason.SCHEMA, "no score")},
        how=HOW, what="w", why="y",
    )  # fmt: skip
    assert child.column("score").to_list() == [1, 2, 4]
    counts = child.manifest.counts
    assert (counts.read, counts.kept, counts.quarantined) == (4, 3, 1)
    assert [(s.rows_read, s.rows_kept, s.rows_quarantined) for s in child.manifest.sources] == [(2, 2, 0), (2, 1, 1)]
    (entry,) = pq.read_table(child.folder / "quarantine.parquet").to_pylist()
    assert (entry["by"], entry["reason"], entry["message"]) == ("grading.test", "schema", "no score")
    assert (entry["source"], entry["line"], entry["id"]) == ("parent-1.jsonl", 1, lines(parent)[2]["id"])
    assert json.loads(entry["original"]) == lines(parent)[2]


def test_all_rows_may_be_rejected(workspace: Workspace) -> None:
    parent = made(workspace, ROWS[:1])
    child = derived(
        workspace, parent, "child", columns={"s": [None]}, rejected={0: Rejection(Reason.SCHEMA, "x")}, how=HOW, what="w", why="y"
    )
    assert (child.rows, child.manifest.counts.quarantined, child.manifest.shards) == (0, 1, ())


def test_what_a_batch_answers_for_stays_with_its_rows(workspace: Workspace) -> None:
    path = workspace.root / "x.jsonl"
    path.write_text('{"body": "t"}\n')
    parent = ingest(
        [path],
        workspace,
        "parent",
        kind="text",
        mapping={"text": "body"},
        cost_class="med",
        justification="j",
        authorized_by=None,
    )
    child = derived(workspace, parent, "child", columns={}, how=HOW, what="w", why="y")
    assert (child.manifest.cost_class, child.manifest.justification) == (CostClass(declared="med", used="low"), "j")
    assert child.manifest.mapping == {"text": "body"}
    other = derived(workspace, parent, "other", columns={}, how=HOW, what="w", why="y", cost_class=CostClass(declared="low"))
    assert other.manifest.cost_class.declared == "low"


def test_who_scored_the_parent_is_known_of_what_is_derived_from_it(workspace: Workspace) -> None:
    scored = derived(
        workspace, made(workspace, ROWS), "scored", columns={"scores": [1] * 4}, how=HOW, what="w", why="y",
        attachments={SCORING: b"{}", "other.json": b"{}"},
    )  # fmt: skip
    child = derived(workspace, scored, "child", columns={"domain": [1] * 4}, how=HOW, what="w", why="y")
    assert child.attachment(SCORING) == b"{}"
    assert child.attachment("other.json") is None


VALUES = st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


def test_show_says_where_a_batchs_own_quarantine_comes_from(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    rows = workspace.root / "bad.jsonl"
    rows.write_text('{"text": "one"}\n{"text": "two"}\nno row\n')
    parent = ingest([rows], workspace, "parent", kind="text")
    derived(
        workspace, parent, "child", columns={"score": [1, None]}, rejected={1: Rejection(Reason.UNSCORED, "no score")}, how=HOW,
        what="w", why="y",
    )  # fmt: skip
    for name, said in (("parent", "3 read = 2 kept + 1 quarantined at ingest"), ("child", "1 quarantined when it was made")):
        assert main(["show", name, "--workspace", str(workspace.root)]) == 0
        assert said in " ".join(capsys.readouterr().out.split())


@given(data=st.data(), values=st.lists(VALUES, min_size=1, max_size=9))
def test_nothing_is_lost_and_shards_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, values: list[Any]
) -> None:
    root = tmp_path_factory.mktemp("w")
    (root / "distill.toml").write_text("")
    workspace = workspaces.load(root)
    new = data.draw(st.lists(VALUES, min_size=len(values), max_size=len(values)))
    out = data.draw(st.sets(st.integers(0, len(values) - 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "SHARD_ROWS", 3)
        parent = made(workspace, [{"text": str(number), "v": value} for number, value in enumerate(values)])
        rejected = {place: Rejection(Reason.SCHEMA, "x") for place in out}
        child = derived(workspace, parent, "child", columns={"new": new}, rejected=rejected, how=HOW, what="w", why="y")
    assert child.rows + child.manifest.counts.quarantined == parent.rows
    expected = [
        {**row, "new": value} for place, (row, value) in enumerate(zip(lines(parent), new, strict=True)) if place not in out
    ]
    assert json.dumps(lines(child) if child.rows else []) == json.dumps(expected)


@pytest.mark.parametrize(
    ("columns", "rejected", "code"),
    [
        ({"text": ["x"] * 4}, {}, Code.COLUMN),
        ({"distill_line": [1] * 4}, {}, Code.COLUMN),
        ({"score": [1] * 3}, {}, Code.COLUMN),
        ({"score": [float("nan")] * 4}, {}, Code.COLUMN),
        ({"score": [1] * 4}, {4: Rejection(Reason.SCHEMA, "x")}, Code.USAGE),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(workspace: Workspace, columns: Any, rejected: Any, code: Code) -> None:
    parent = made(workspace, ROWS)
    with pytest.raises(DistillError) as refused:
        derived(workspace, parent, "child", columns=columns, rejected=rejected, how=HOW, what="w", why="y")
    assert refused.value.code is code
    assert [folder.name for folder in workspace.batches.iterdir()] == ["parent"]


def test_a_taken_id_is_refused(workspace: Workspace) -> None:
    parent = made(workspace, ROWS)
    with pytest.raises(DistillError) as refused:
        derived(workspace, parent, "parent", columns={}, how=HOW, what="w", why="y")
    assert refused.value.code is Code.BATCH_EXISTS
    assert open_batch(workspace.batch_folder("parent")).sha256 == parent.sha256


def test_the_same_judgements_give_the_same_bytes(workspace: Workspace) -> None:
    parent = made(workspace, ROWS)
    digests = set()
    for number in range(2):
        root = workspace.root / str(number)
        root.mkdir()
        (root / "distill.toml").write_text("")
        there = workspaces.load(root)
        digests.add(derived(there, parent, "child", columns={"s": [{"k": 1.0}] * 4}, how=HOW, what="w", why="y").sha256)
    assert len(digests) == 1
