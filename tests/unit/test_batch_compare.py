"""Two batches row by row: by the rows' own ids, and by content where they have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.compare import Difference, compare
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.policy import workspace

Rows = list[dict[str, Any]]


def batch(folder: Path, batch_id: str, rows: Rows, name: str = "rows.jsonl") -> Batch:
    storage.write_bytes(folder / "distill.toml", b"")
    file = folder / batch_id / name
    storage.write_bytes(file, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return ingest([file], workspace.load(folder), batch_id, kind="text")


def difference(folder: Path, before: Rows, after: Rows) -> Difference:
    return compare(batch(folder, "before", before, "old.jsonl"), batch(folder, "after", after, "new.jsonl"))


def texts(*values: str) -> Rows:
    return [{"text": value} for value in values]


def test_without_ids_a_row_more_at_the_top_is_one_row_more(tmp_path: Path) -> None:
    found = difference(tmp_path, texts("a", "b", "c"), texts("new", "a", "b", "c"))
    assert (found.by, found.added.count, found.removed.count, found.changed.count, found.same) == ("content", 1, 0, 0, 3)


def test_without_ids_equal_rows_count_as_often_as_they_occur(tmp_path: Path) -> None:
    found = difference(tmp_path, texts("a", "a", "a", "b"), texts("a", "b", "b"))
    assert (found.added.count, found.removed.count, found.same) == (1, 2, 2)


def test_own_ids_are_compared_wherever_the_row_stands(tmp_path: Path) -> None:
    before = [{"id": "x", "text": "a"}, {"id": "y", "text": "b"}, {"id": "z", "text": "c"}]
    found = difference(tmp_path, before, [{"id": "w", "text": "d"}, {"id": "y", "text": "B"}, {"id": "x", "text": "a"}])
    assert (found.by, found.added.ids, found.removed.ids, found.changed.ids, found.same) == ("id", ("w",), ("z",), ("y",), 1)


def test_some_rows_may_have_ids_and_others_not(tmp_path: Path) -> None:
    found = difference(tmp_path, [{"id": "x", "text": "a"}, *texts("b")], [*texts("c", "b"), {"id": "x", "text": "A"}])
    assert (found.by, found.added.count, found.removed.count, found.changed.ids, found.same) == (
        "id and content",
        1,
        0,
        ("x",),
        1,
    )


def test_columns_that_only_one_has_are_named_apart(tmp_path: Path) -> None:
    found = difference(tmp_path, [{"text": "a", "old": 1}], [{"text": "a", "new": 2}])
    assert (found.columns_added, found.columns_removed, found.same) == (("new",), ("old",), 1)
