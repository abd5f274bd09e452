"""The bulk contract in a run: 51 generated items without a gold set are told, cost above the declared class fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage1_runs import rewrite
from workbench import Bench, curated

from pytest_distill.batch.batch import open_batch
from pytest_distill.policy import gold, workspace

SHIPPED = Path(__file__).parents[2] / "fixtures" / "rows" / "gold.jsonl"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def declare(bench: Bench, rows: int, **changes: object) -> None:
    batch = open_batch(bench.batch(curated(rows)))
    rewrite(batch, {}, {**batch.manifest.model_dump(mode="json"), **changes})


def test_51_generated_items_want_a_gold_set(bench: Bench) -> None:
    declare(bench, 51, origin="generated")
    assert bench.judge().status("bulk.gold") == "warned"
    made = workspace.load(bench.root)
    gold.add(made, SHIPPED, who="Ada", model=None)
    gold.freeze(made)
    assert bench.judge().status("bulk.gold") == "passed"


def test_50_generated_items_do_not_and_a_policy_can_make_it_binding(bench: Bench) -> None:
    bench.policy('[gates."bulk.gold"]\nseverity = "block"\n')
    declare(bench, 50, origin="generated")
    assert bench.judge().status("bulk.gold") == "passed"
    bench.policy('[bulk]\nmax_items = 49\n[gates."bulk.gold"]\nseverity = "block"\n')
    ended = bench.judge()
    assert (ended.status("bulk.gold"), ended.sealed) == ("failed", False)


def test_used_cost_above_the_declared_class_fails(bench: Bench) -> None:
    declare(bench, 12, cost_class={"declared": "low", "used": "med"})
    ended = bench.judge()
    assert (ended.status("bulk.cost"), ended.sealed) == ("failed", False)
