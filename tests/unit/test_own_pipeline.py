"""`distill run module:function`: a user's function over the rows of a batch, to a new batch."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_distill.batch.batch import open_batch
from pytest_distill.cli.main import main
from pytest_distill.policy import gold, workspace
from pytest_distill.release import escalation, incidents
from pytest_distill.suite.declared import suite_folder

SHIPPED = suite_folder().parent / "fixtures" / "rows" / "gold.jsonl"
Distill = Callable[..., tuple[int, str]]
SOURCE = """
import secrets

def shout(rows, *, mark="!", count=None):
    for row in list(rows)[:count]:
        yield {**row, "response": row["response"].upper() + mark}

def count_up(rows, *, count, seed=0):
    assert list(rows) == []
    return ({"instruction": f"Say {n}.", "response": str(n)} for n in range(seed, seed + count))

def odd(rows, *, what):
    yield {"instruction": "Say it.", "response": "it"}
    yield {"set": {1}, "nan": {"value": float("nan")}, "text": "no row"}[what]

def chance(rows):
    return ({"instruction": f"Say {n}.", "response": f"{n} {secrets.token_hex(8)}"} for n in range(2))

number = 3
"""


@pytest.fixture
def distill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Distill:
    (tmp_path / "distill.toml").write_text("schema_version = 1\n")
    (tmp_path / f"own_{tmp_path.name}.py").write_text(SOURCE)
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say a.", "response": "a", "tags": ["x"]}\n' * 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["-q", "ingest", "rows.jsonl", "--id", "given"]) == 0

    def run(function: str, *words: str) -> tuple[int, str]:
        status = main(["run", f"own_{tmp_path.name}:{function}", *words])
        return status, capsys.readouterr().err

    return run


def test_rows_of_a_batch_are_made_into_another(tmp_path: Path, distill: Distill) -> None:
    status, told = distill("shout", "given", "--id", "loud", "--set", "mark=?!", "--count", "2")
    assert status == 0, told
    assert "judge it: pytest --distill-batch=loud" in told
    batch = open_batch(tmp_path / "batches" / "loud")
    assert batch.column("response").to_list() == ["A?!", "A?!"]
    assert batch.column("tags").to_list() == ['["x"]', '["x"]']
    manifest = batch.manifest
    assert (manifest.origin, manifest.parents) == ("derived", (open_batch(tmp_path / "batches" / "given").sha256,))
    assert manifest.how.pipeline.endswith(":shout")
    assert {"mark", "count", "source_sha256"} == set(manifest.how.parameters)


def test_a_function_may_make_rows_of_nothing(tmp_path: Path, distill: Distill) -> None:
    assert distill("count_up", "--id", "numbers", "--count", "4", "--seed", "7")[0] == 0
    batch = open_batch(tmp_path / "batches" / "numbers")
    assert (batch.manifest.origin, batch.manifest.counts.planned, batch.manifest.seed) == ("generated", 4, 7)
    assert batch.column("response").to_list() == ["7", "8", "9", "10"]


def test_a_batch_of_a_function_is_made_again_and_compared(
    tmp_path: Path, distill: Distill, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(name: str) -> tuple[int, str]:
        return main(["reproduce", name]), capsys.readouterr().err

    assert distill("count_up", "--id", "numbers", "--count", "4", "--seed", "7")[0] == 0
    assert distill("shout", "given", "--id", "loud", "--set", "mark=?!")[0] == 0
    before = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)
    for name in ("numbers", "loud"):
        status, told = again(name)
        assert (status, "every byte the same" in told) == (0, True), told
    assert distill("chance", "--id", "chance")[0] == 0
    status, told = again("chance")
    assert (status, told.count("\n")) == (1, 1)
    assert re.search(r"E-REPRODUCE\]: chance came out differently: row 1 in response; row 2 in response", told)
    status, told = again("given")
    assert (status, "E-REPRODUCE]: given was ingested" in told) == (1, True)
    after = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts and "chance" not in str(path))
    assert [path for path in after if path not in before and ".distill" not in path.parts] == []
    source = tmp_path / f"own_{tmp_path.name}.py"
    source.write_text(source.read_text() + "\n# edited\n")
    status, told = again("numbers")
    assert (status, "was changed since numbers was made" in told) == (1, True)


def test_a_frontier_model_for_bulk_is_refused_before_the_function_is_called(tmp_path: Path, distill: Distill) -> None:
    """And a class above LOW without what it needs; each refusal is an incident."""
    two_tiers(tmp_path)
    for words, refusal in (
        (("--cost-class", "med"), "E-COST-CLASS]: cost class MED without a justification"),
        (("--cost-class", "high", "--justification", "x"), "without the name of who authorized it and the date"),
    ):
        status, told = distill("count_up", "--id", "more", "--why", "to test", "--count", "60", *words)
        assert (status, refusal in told) == (1, True), told
    assert [i.kind for i in incidents.incidents(workspace.load(tmp_path))] == ["cost-not-declared"] * 2
    assert not (tmp_path / "batches" / "more").exists()


def test_bulk_of_a_pipeline_waits_for_its_escalation(tmp_path: Path, distill: Distill) -> None:
    two_tiers(tmp_path)
    bulk = ("count_up", "--why", "to test", "--count", "60", "--spec", str(tmp_path / "prompt.txt"))
    (tmp_path / "prompt.txt").write_text("Say numbers.")
    assert distill(*bulk, "--id", "one")[0] == 0
    made = workspace.load(tmp_path)
    escalation.begin(made, open_batch(tmp_path / "batches" / "one").manifest, "numbers are words")
    assert "E-ESCALATION]: escalation 1 of own_" in distill(*bulk, "--id", "two")[1]
    escalation.diagnosed(made, 1, model="big", items=5, finding="the prompt says words")
    assert "specification and prompt are still the same" in distill(*bulk, "--id", "two")[1]
    (tmp_path / "prompt.txt").write_text("Say digits.")
    assert distill(*bulk, "--id", "two")[0] == 0
    assert escalation.escalation(made, 1).returned_by == "two"


def two_tiers(root: Path) -> None:
    made = workspace.load(root)
    gold.add(made, SHIPPED, who="Ada", model=None)
    gold.freeze(made)


@pytest.mark.parametrize("count", ["--count", "--set"])
def test_bulk_of_a_single_tier_is_refused_and_51_rows_are_bulk(tmp_path: Path, distill: Distill, count: str) -> None:
    """Before the function is called where the number is planned, at the row that is too much where it is not."""
    told = ["50", "51"] if count == "--count" else ["count=50", "count=51"]
    assert distill("count_up", "--id", "fifty", count, told[0])[0] == 0
    status, line = distill("count_up", "--id", "more", "--why", "to test", count, told[1])
    assert (status, line.count("\n")) == (1, 1)
    assert "E-GOLD]: more than 50 items is bulk" in line
    assert not (tmp_path / "batches" / "more").exists()
    two_tiers(tmp_path)
    assert distill("count_up", "--id", "more", "--why", "to test", count, told[1])[0] == 0


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("nothing", "--id", "x"), "E-USAGE]: own_"),
        (("count_up", "--id", "x", "--count", "51"), "E-USAGE]: bulk says why it exists"),
        (("number", "--id", "x"), "has no function 'number'"),
        (("shout", "given", "--id", "x", "--set", "loud"), "is not NAME=VALUE"),
        (("shout", "given", "--id", "x", "--set", "loud=1"), "unexpected keyword argument 'loud'"),
        (("shout", "other", "--id", "x"), "E-BATCH-NOTFOUND"),
        (("odd", "--id", "x", "--set", "what=set"), "E-SOURCE-FORMAT]: own_"),
        (("odd", "--id", "x", "--set", "what=nan"), "as row 2 is no row"),
        (("odd", "--id", "x", "--set", "what=text"), "it is a str"),
    ],
)
def test_refusals_leave_nothing(tmp_path: Path, distill: Distill, words: tuple[str, ...], refusal: str) -> None:
    status, told = distill(*words)
    assert (status, told.count("\n")) == (1, 1)
    assert refusal in told
    assert sorted(path.name for path in (tmp_path / "batches").iterdir()) == ["given"]


def test_a_module_that_is_not_there_is_named(distill: Distill, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no_such_module:f", "--id", "x"]) == 1
    assert "E-USAGE]: there is no module 'no_such_module'" in capsys.readouterr().err
