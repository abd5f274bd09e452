"""Another batch around generated rows is no way past the gates of the first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stage1_runs import call_generated
from workbench import Bench, curated

from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.contracts.manifest import How
from pytest_distill.pipelines.grading.derive import derived
from pytest_distill.policy import workspace


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def made(bench: Bench, parent: str, name: str) -> Batch:
    """A batch with a column more, as every judgement makes one."""
    space = workspace.load(bench.root)
    batch = open_batch(space.batch_folder(parent))
    how = How(pipeline="length")
    return derived(space, batch, name, columns={name: list(range(batch.rows))}, how=how, what="rows", why="to test")


def generated(bench: Bench) -> None:
    call_generated(open_batch(bench.batch(curated(12), "raw")))


def test_rows_made_of_unsealed_generated_ones_stay_until_those_are_sealed(bench: Bench) -> None:
    generated(bench)
    made(bench, "raw", "first")
    made(bench, "first", "second")
    for name in ("first", "second"):
        ended = bench.judge(batch=name)
        assert (ended.status("lineage.generated"), ended.sealed) == ("failed", False), ended.out
        assert "generated ancestors without a seal" in ended.why("lineage.generated")
    assert bench.judge(batch="raw").sealed
    assert bench.judge(batch="second").sealed


def test_ingested_rows_need_no_seal_before_something_is_made_of_them(bench: Bench) -> None:
    bench.batch(curated(12), "raw")
    made(bench, "raw", "first")
    ended = bench.judge(batch="first")
    assert (ended.status("lineage.generated"), ended.sealed) == ("passed", True), ended.out


def test_an_ancestor_that_is_gone_cannot_be_told_from_a_generated_one(bench: Bench) -> None:
    generated(bench)
    assert bench.judge(batch="raw").sealed
    made(bench, "raw", "first")
    made(bench, "first", "second")
    shutil.rmtree(bench.root / "batches" / "raw")
    ended = bench.judge(batch="second")
    assert (ended.status("lineage.generated"), ended.sealed) == ("failed", False)
    assert "not in the workspace" in ended.why("lineage.generated")


def test_what_was_not_derived_is_not_asked(bench: Bench) -> None:
    bench.batch(curated(12))
    assert bench.judge().status("lineage.generated") == "not_applicable"
