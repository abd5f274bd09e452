"""The gold set is versioned, holds hard cases, and cannot be changed once frozen; models and cost are as declared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sealed_workspace import make_workspace, write_batch

from pytest_distill.cli.main import main
from pytest_distill.contracts.manifest import Authorization, CostClass, Manifest, ModelUse, Usage
from pytest_distill.errors import Code, DistillError
from pytest_distill.gates.measures import bulk
from pytest_distill.policy import allowance, gold
from pytest_distill.policy.model import Policy
from pytest_distill.policy.workspace import Workspace

SHIPPED = Path(__file__).parents[2] / "fixtures" / "rows" / "gold.jsonl"
POLICY = Policy.model_validate(
    {
        "models": [
            {"name": "big", "tier": "frontier", "purposes": ["gold_set"]},
            {"name": "bare", "tier": "frontier"},
            {"name": "small", "tier": "local"},
        ]
    }
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def refused(call: object, *args: object, **options: object) -> str:
    with pytest.raises(DistillError) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert caught.value.code is Code.GOLD
    return str(caught.value)


def rows(path: Path, *cases: str) -> Path:
    path.write_text("".join(json.dumps({"instruction": "Say.", "response": "So.", "case": case}) + "\n" for case in cases))
    return path


def test_the_rows_that_ship_make_a_gold_set(workspace: Workspace) -> None:
    gold.add(workspace, SHIPPED, who="Ada", model="big")
    assert gold.frozen(workspace) is None, "a draft is no standard"
    frozen = gold.freeze(workspace)
    assert (frozen.version, frozen.files[0].who, frozen.files[0].model) == (1, "Ada", "big")
    assert gold.frozen(workspace) == frozen


def test_hard_cases_are_required(workspace: Workspace, tmp_path: Path) -> None:
    gold.add(workspace, rows(tmp_path / "easy.jsonl", *["fact"] * 12), who="Ada", model=None)
    message = refused(gold.freeze, workspace)
    assert all(case in message for case in ("refusal", "ambiguity", "rare"))
    gold.add(
        workspace,
        rows(tmp_path / "hard.jsonl", "refusal", "ambiguity", "rare", *["refusal", "ambiguity", "rare"]),
        who="A",
        model=None,
    )
    assert gold.freeze(workspace).version == 1


def test_a_frozen_set_that_was_edited_is_no_gold_set(workspace: Workspace) -> None:
    gold.add(workspace, SHIPPED, who="Ada", model=None)
    gold.freeze(workspace)
    file = workspace.gold / "gold.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Michelangelo", b"Leonardo"))
    assert "is not what version 1" in refused(gold.frozen, workspace)
    shutil.copy(SHIPPED, file)
    record = workspace.gold / "gold.json"
    record.write_text(record.read_text().replace("Ada", "Eve"))
    assert "as it was frozen" in refused(gold.frozen, workspace)


def test_more_rows_make_the_next_version(workspace: Workspace, tmp_path: Path) -> None:
    gold.add(workspace, SHIPPED, who="Ada", model=None)
    gold.freeze(workspace)
    assert gold.add(workspace, rows(tmp_path / "more.jsonl", "rare"), who="Bob", model=None).version == 2
    assert gold.frozen(workspace) is None
    assert gold.freeze(workspace).version == 2
    assert len(list((workspace.gold / "versions").iterdir())) == 2


@pytest.mark.parametrize(
    "line", ["", "{", '{"instruction": "a", "response": "b"}', '{"instruction": " ", "response": "b", "case": "c"}']
)
def test_what_is_no_gold_row(workspace: Workspace, tmp_path: Path, line: str) -> None:
    (tmp_path / "x.jsonl").write_text(line)
    refused(gold.add, workspace, tmp_path / "x.jsonl", who="Ada", model=None)


def test_rows_of_nobody_are_no_gold(workspace: Workspace) -> None:
    assert "nobody is named" in refused(gold.add, workspace, SHIPPED, who=" ", model=None)
    assert not (workspace.gold / SHIPPED.name).exists()


def test_the_commands(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace.root)]
    assert main(["gold", "check", *at]) == 1
    assert main(["gold", "add", str(SHIPPED), "--who", "Ada", *at]) == 0
    capsys.readouterr()
    assert main(["gold", "check", "--json", *at]) == 0
    assert json.loads(capsys.readouterr().out)["shares"]["rows"] == 12
    assert main(["gold", "freeze", *at]) == 0
    assert main(["gold", "freeze", *at]) == 1


# --- models and cost


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_batch(tmp_path / "batches" / "demo").manifest


def using(
    manifest: Manifest, *models: str, origin: str = "generated", purpose: Any = "gold_set", tokens: int = 10, **changes: Any
) -> Manifest:
    """The manifest of a batch in which these models had a part, each of `tokens` tokens."""
    usage = Usage(calls=1, tokens_read=tokens)
    used = tuple(ModelUse(name=name, revision="1", purpose=purpose, usage=usage) for name in models)
    how = manifest.how.model_copy(update={"models": used})
    return manifest.model_copy(update={"how": how, "origin": origin, **changes})


def batch(manifest: Manifest, rows: int) -> SimpleNamespace:
    return SimpleNamespace(manifest=manifest, all_rows=rows)


HIGH = {
    "cost_class": CostClass(declared="high", used="high"),
    "justification": "the local model cannot write Basque",
    "authorization": Authorization(by="Ada", date="2026-01-31"),
}


def test_a_frontier_model_costs_more_than_low_whatever_the_manifest_says(manifest: Manifest) -> None:
    assert bulk.classes(using(manifest, "small"), POLICY) == ("low", "low")
    declared, used = bulk.classes(using(manifest, "big"), POLICY)
    assert (used, allowance.above(used, declared)) == ("high", 2), "it had every token"
    mixed = using(manifest, "small", tokens=90).how.models + using(manifest, "big", tokens=10).how.models
    assist = manifest.model_copy(update={"how": manifest.how.model_copy(update={"models": mixed})})
    assert bulk.classes(assist, POLICY)[1] == "med", "a tenth is a small assist"
    assert allowance.above("med", "high") < 0


def test_a_frontier_model_that_nothing_metered_is_told(manifest: Manifest) -> None:
    made = using(manifest, "big")
    (model,) = made.how.models
    bare = made.model_copy(update={"how": made.how.model_copy(update={"models": (model.model_copy(update={"usage": None}),)})})
    assert (bulk.unmetered(made, POLICY), bulk.unmetered(bare, POLICY)) == (0, 1)
    assert bulk.classes(bare, POLICY)[1] == "high"


def test_what_was_generated_says_how_it_can_be_made_again(manifest: Manifest) -> None:
    spec = {"spec_version": "1", "spec_sha256": "0" * 64, "seed": 1}
    assert bulk.not_reproducible(using(manifest, "small", **spec)) == []
    assert bulk.not_reproducible(manifest) == [], "what was ingested was not made here"
    for name in spec:
        assert bulk.not_reproducible(using(manifest, "small", **{**spec, name: None})) == [name]
    made = using(manifest, "small", **spec)
    served = made.how.models[0].model_copy(update={"revision": "served"})
    assert bulk.not_reproducible(made.model_copy(update={"how": made.how.model_copy(update={"models": (served,)})})) == [
        "revision of small"
    ]


def test_med_needs_a_justification_and_high_a_name_and_a_date(manifest: Manifest) -> None:
    assert bulk.unjustified(manifest) == 0
    med = manifest.model_copy(update={"cost_class": CostClass(declared="med")})
    assert bulk.unjustified(med) == 1
    assert bulk.unjustified(med.model_copy(update={"justification": "gold rows"})) == 0
    assert bulk.unjustified(manifest.model_copy(update=HIGH)) == 0
    assert bulk.unjustified(manifest.model_copy(update={**HIGH, "authorization": Authorization(by="Ada")})) == 1
    assert bulk.unjustified(manifest.model_copy(update={"cost_class": CostClass(declared="high")})) == 3


def test_51_items_are_bulk_and_50_are_not(manifest: Manifest) -> None:
    assert bulk.unallowed(batch(using(manifest, "big"), 50), POLICY) == 0
    assert bulk.unallowed(batch(using(manifest, "big"), 51), POLICY) == 1
    planned = manifest.counts.model_copy(update={"planned": 51})
    assert bulk.unallowed(batch(using(manifest, "big", counts=planned), 40), POLICY) == 1, "what was planned counts"


def test_frontier_for_bulk_needs_an_authorized_high(manifest: Manifest) -> None:
    assert bulk.unallowed(batch(using(manifest, "big", **HIGH), 51), POLICY) == 0
    assert bulk.unallowed(batch(using(manifest, "big", **{**HIGH, "authorization": None}), 51), POLICY) == 1
    assert bulk.unallowed(batch(using(manifest, "small"), 51), POLICY) == 0


def test_outside_bulk_a_frontier_model_needs_a_purpose(manifest: Manifest) -> None:
    assert bulk.unallowed(batch(using(manifest, "big"), 5), POLICY) == 0
    assert bulk.unallowed(batch(using(manifest, "big", purpose="architecture"), 5), POLICY) == 1
    assert bulk.unallowed(batch(using(manifest, "big", purpose=None), 5), POLICY) == 1
    assert bulk.unallowed(batch(using(manifest, "bare"), 5), POLICY) == 1
    assert bulk.unallowed(batch(using(manifest, "bare", origin="ingested"), 500), POLICY) == 0
