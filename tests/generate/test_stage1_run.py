"""`distill run stage1`: a batch that pytest judges, the same bytes after a kill, and refusals in one line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from conftest import serving
from inspecting import inspect_all
from taught import save_taught

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import open_batch
from pytest_distill.cli.main import main
from pytest_distill.contracts.stage1_run import Plan, Unit
from pytest_distill.policy import gold
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release import incidents

NOW = "2026-01-31T12:00:00Z"
COUNT = "24"
GOLD = Path(__file__).parents[2] / "fixtures" / "rows" / "gold.jsonl"
SMALL = ("--lists-per-unit", "2", "--no-progress", "--now", NOW)


@pytest.fixture(scope="session")
def taught(tmp_path_factory):
    return save_taught(tmp_path_factory.mktemp("models") / "taught")


@pytest.fixture
def place(tmp_path):
    """A workspace with a frozen gold set and nothing else."""
    return two_tiers(tmp_path)


def two_tiers(folder: Path) -> Path:
    # A model that was taught for seconds writes sums, and a gold set has other words.
    (folder / "distill.toml").write_text('schema_version = 1\n[gates."bulk.gold-match"]\nseverity = "warn"\n')
    workspace = workspaces.load(folder)
    gold.add(workspace, GOLD, who="A. Name", model=None)
    gold.freeze(workspace)
    return folder


@pytest.fixture
def distill(taught, capfd, monkeypatch):
    """Runs stage 1 in a workspace, in this process. Gives exit status and stderr."""
    monkeypatch.setattr(clock, "_pinned", None)  # --now pins it for the process

    def run(place: Path, *words: str, count: str = COUNT) -> tuple[int, str]:
        before = signal.getsignal(signal.SIGTERM)
        try:
            status = main(
                [
                    "--workspace",
                    str(place),
                    "run",
                    "stage1",
                    "--id",
                    "p",
                    "--count",
                    count,
                    "--model",
                    str(taught),
                    *SMALL,
                    *words,
                ]
            )
        finally:
            signal.signal(signal.SIGTERM, before)
        return status, capfd.readouterr().err

    return run


@pytest.fixture(scope="session")
def plain(taught, tmp_path_factory):
    """The workspace of an undisturbed run."""
    place = two_tiers(tmp_path_factory.mktemp("plain"))
    done = started(place, taught)
    told = done.communicate(timeout=300)[1]
    assert done.returncode == 0, told
    return place


def started(place: Path, taught: Path, *words: str) -> subprocess.Popen[str]:
    """The real command, in a process of its own."""
    command = [sys.executable, "-m", "pytest_distill.cli.main", "--workspace", str(place), "run", "stage1", "--id", "p"]
    return subprocess.Popen(
        [*command, "--count", COUNT, "--model", str(taught), *SMALL, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def units(place: Path, shard: str = "shard-00000-of-00001") -> list[Path]:
    return sorted((place / ".distill" / "stage1" / "p" / shard).glob("unit-*.json"))


def wait_for_units(process: subprocess.Popen[str], place: Path, wanted: int) -> None:
    """Until so many units are stored, or the process ended."""
    while process.poll() is None and len(units(place)) < wanted:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


def batch(place: Path):
    return open_batch(workspaces.load(place).batch_folder("p"))


def digest(place: Path) -> str:
    """Of all files of the batch."""
    return batch(place).sha256


def texts(place: Path) -> list[tuple]:
    """Everything of every candidate but its log-probabilities."""
    frame = batch(place).candidates()
    return frame.select("id", "candidate_status", "instruction", "completion", "response", "raw_tokens", "trim_rule").rows()


def margins(place: Path) -> list[float]:
    frame = batch(place).candidates()
    return [
        value
        for column in ("instruction_critique", "pair_critique")
        for text in frame[column].drop_nulls()
        for value in (json.loads(text)["logp_a"], json.loads(text)["logp_b"])
    ]


def same_decisions(one: Path, other: Path) -> None:
    assert texts(one) == texts(other)
    assert margins(one) == pytest.approx(margins(other), abs=1e-4)


# -- what a run leaves -----------------------------------------------------------------------------------------------------


def test_a_run_keeps_as_many_rows_as_were_asked_for_and_stores_every_candidate(plain):
    made = batch(plain)
    candidates = made.candidates()
    assert made.rows == int(COUNT)
    assert candidates["index"].to_list() == list(range(candidates.height))
    assert candidates.height == sum(len(Unit.load(path).prospects) for path in units(plain))
    assert candidates["candidate_status"].value_counts().filter(pl.col("candidate_status") == "kept")["count"].item() == made.rows
    assert made.frame(["instruction"])["instruction"].is_unique().all()


def test_a_pilot_is_judged_sealed_and_the_gates_find_what_the_run_says(taught, place, distill):
    """The whole way, with the standard suite: it recomputes every figure of the run."""
    status, told = distill(place, "--lists-per-unit", "20", count="100")
    assert status == 0
    assert "p: 100 rows kept of" in told
    assert "judge it: pytest --distill-batch=p" in told
    inspect_all(place, "p")
    judged = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--distill-batch=p", f"--distill-workspace={place}"],
        cwd=place, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout
    assert "PASSED, sealed" in judged.stdout
    # On that pilot a scale run may rest: by the same method, and by no other.
    scale = ("--purpose", "scale", "--pilot", "p", "--id", "s", "--spare", "0")
    status, told = distill(place, *scale, "--temperature", "0.5", count="20")
    assert (status, "E-UNSEALED" in told, "another method (temperature)" in told) == (1, True, True)
    assert distill(place, *scale, count="20")[0] == 0
    assert open_batch(place / "batches" / "s").manifest.parents == (batch(place).sha256,)
    # A hold-out has none of the pilot's instructions. This model knows 500 tasks, so it takes a while until it is hopeless.
    status, told = distill(place, "--purpose", "holdout", "--pilot", "p", "--train", "s", "--id", "h", count="12")
    assert status == 0, told
    known = {text for name in ("p", "s") for text in open_batch(place / "batches" / name).column("instruction")}
    assert known.isdisjoint(open_batch(place / "batches" / "h").column("instruction"))


# -- the same bytes --------------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(plain, taught, place):
    process = started(place, taught)
    wait_for_units(process, place, 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    stored = {path: path.read_bytes() for path in units(place)}
    assert len(stored) >= 2
    assert not (place / "batches" / "p").exists()
    process = started(place, taught, "--resume", "--now", "2027-01-01T00:00:00Z")
    assert process.communicate(timeout=300)[1].startswith("note:")
    assert process.returncode == 0
    assert digest(place) == digest(plain)
    assert all(path.read_bytes() == data for path, data in stored.items())


def test_sigterm_ends_between_units_with_143(plain, taught, place, distill):
    """With two workers, which are told too and finish what they are at. Another number of workers may go on."""
    process = started(place, taught, "--workers", "2")
    wait_for_units(process, place, 1)
    os.killpg(process.pid, signal.SIGTERM)
    told = process.communicate(timeout=300)[1]
    if process.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert process.returncode == 143, told
    assert all(Unit.load(path) for path in units(place))
    status, told = distill(place, "--resume")
    assert status == 0, told
    same_decisions(place, plain)


@pytest.mark.parametrize("words", ["--batch-size 1", "--workers 4"])
def test_batch_size_and_workers_change_no_text_and_no_decision(plain, place, distill, words):
    assert distill(place, *words.split())[0] == 0
    same_decisions(place, plain)
    if "--workers" in words:
        assert digest(place) == digest(plain), "nor a byte: each process computes with one thread"


# -- shards ----------------------------------------------------------------------------------------------------------------


def test_shards_made_one_by_one_are_those_made_in_one_go(place, distill, tmp_path_factory, plain):
    other = two_tiers(tmp_path_factory.mktemp("other"))
    assert distill(other, "--shards", "3", "--device", "cpu,cpu")[0] == 0
    status, told = distill(place, "--shards", "3", "--shard", "2")
    assert (status, "left: 0, 1" in told) == (0, True)
    status, told = distill(place, "--shards", "3", "--merge")
    assert (status, "E-SHARD" in told, "shard 0 of 3 was never started" in told) == (1, True, True)
    assert distill(place, "--shards", "3", "--shard", "0")[0] == 0
    status, told = distill(place, "--shards", "3", "--shard", "1")
    assert "all are there: distill run stage1 --id p --shards 3 --merge" in told
    assert distill(place, "--shards", "3", "--merge")[0] == 0
    same_decisions(place, other)
    assert [a.path for a in batch(place).manifest.attachments if a.path.startswith("shard-")] == [
        f"shard-{n:05d}.json" for n in range(3)
    ]
    # A unit is the same unit, whichever shard it lies in.
    assert lists_of(units(place, "shard-00001-of-00003")[0]) == lists_of(units(plain)[1])


def lists_of(path: Path) -> tuple:
    unit = Unit.load(path)
    return unit.number, unit.lists, [one.response for one in unit.prospects]


def test_a_foreign_or_changed_shard_is_refused(place, distill):
    assert distill(place, "--shards", "2", "--shard", "0")[0] == 0
    assert distill(place, "--shards", "2", "--shard", "1", "--seed", "7")[0] == 0
    status, told = distill(place, "--shards", "2", "--merge")
    assert (status, told.count("\n")) == (1, 1)
    assert "E-SHARD" in told
    assert "recipe.seed: 0 then, 7 now" in told
    folder = place / ".distill" / "stage1" / "p"
    storage.remove_folder(folder / "shard-00001-of-00002")
    assert distill(place, "--shards", "2", "--shard", "1")[0] == 0
    unit = units(place, "shard-00001-of-00002")[0]
    unit.write_bytes(unit.read_bytes().replace(b"Say a", b"Sing a", 1))
    status, told = distill(place, "--shards", "2", "--merge")
    assert (status, "E-SHARD-CHECKSUM" in told) == (1, True)
    assert not (place / "batches").exists()


def test_a_batch_is_made_again_from_what_it_carries(plain, taught, place, distill, capfd, monkeypatch):
    """Byte for byte, without touching the workspace; and another model's weights are told from its own."""
    monkeypatch.setattr(clock, "_pinned", None)
    before = sorted((path, path.stat().st_mtime_ns) for path in plain.rglob("*") if path.is_file())
    assert main(["--workspace", str(plain), "reproduce", "p", "--model", str(taught), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["same"], said["made_again"], said["differ"]) == (True, digest(plain), [])
    assert sorted((path, path.stat().st_mtime_ns) for path in plain.rglob("*") if path.is_file()) == before
    status = main(["--workspace", str(plain), "reproduce", "p", "--model", "tiny"])
    assert (status, "E-REPRODUCE]: p cannot be made again: p was started otherwise" in capfd.readouterr().err) == (1, True)


def test_a_batch_of_a_served_model_cannot_be_made_again(place, distill, taught, capfd):
    """The server's word is all there is of its weights."""
    with serving(taught) as address:
        status, told = distill(place, "--model", "tiny", "--server", address, "--tokenizer", str(taught), count="4")
        assert status == 0, told
        assert batch(place).manifest.how.models[0].weights_sha256 is None
        assert main(["--workspace", str(place), "reproduce", "p"]) == 1, "not even while it is there"
    told = capfd.readouterr().err
    assert told.startswith("ERROR [E-REPRODUCE]: p was made by tiny on a server: no digest stands for its weights")
    assert told.count("\n") == 1


def test_other_versions_of_the_tools_are_named_and_refused(plain, taught, capfd, monkeypatch, tmp_path):
    """A newer tokenizers comes first on the path, as after an upgrade."""
    folder = tmp_path / "tokenizers-99.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tokenizers\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    then = Plan.from_bytes(batch(plain).attachment("plan.json"), name="plan.json").recipe.libraries["tokenizers"]
    assert main(["--workspace", str(plain), "reproduce", "p", "--model", str(taught)]) == 1
    told = capfd.readouterr().err
    assert told.startswith(f"ERROR [E-REPRODUCE]: p was made with other tools: tokenizers {then} then, 99.0 now. ")
    assert told.count("\n") == 1


# -- refusals --------------------------------------------------------------------------------------------------------------


def test_a_budget_stops_between_units_and_the_run_goes_on(plain, place, distill):
    spent = sum(unit.tokens_read + unit.tokens_written for unit in map(Unit.load, units(plain)))
    status, told = distill(place, "--max-tokens", str(spent // 2))
    assert (status, told.count("\n")) == (1, 2)  # the note, and why
    assert "E-BUDGET" in told
    assert "--resume" in told
    assert 0 < len(units(place)) < len(units(plain))
    assert distill(place, "--resume", "--max-cost", "0.000001", "--token-price", "1")[0] == 1
    assert distill(place, "--resume", "--max-cost", "1000", "--token-price", "1")[0] == 0
    assert digest(place) == digest(plain), "nothing was lost, and nothing tells that it was stopped"
    (model,) = batch(place).manifest.how.models
    assert model.usage.tokens_read + model.usage.tokens_written == spent
    entries = [e.facts for e in ledger.entries(workspaces.load(place).ledger) if e.event == "metered"]
    assert len(entries) == 3
    assert sum(e["tokens_read"] + e["tokens_written"] for e in entries) >= spent


def test_a_frontier_model_for_bulk_is_refused_before_it_is_opened(place, distill):
    """The policy says what `taught` is; HIGH, justified and authorized, is the only door. The incident is entered."""
    (place / "distill.toml").write_text('[[models]]\nname = "taught"\ntier = "frontier"\npurposes = ["gold_set"]\n')
    assert "E-COST-CLASS]" in distill(place, count="51")[1]
    med = ("--cost-class", "med", "--justification", "x", "--frontier-purpose", "gold_set")
    assert "E-FRONTIER]: " in distill(place, *med, count="51")[1]
    wrong = (*med[:-1], "architecture")
    assert "the policy allows it gold_set" in distill(place, *wrong)[1]
    assert not (place / ".distill" / "stage1").exists() or units(place) == []
    found = [incident.kind for incident in incidents.incidents(workspaces.load(place))]
    assert found == ["cost-not-declared", "frontier-attempted", "frontier-attempted"]
    assert distill(place, *med)[0] == 0, "24 items are no bulk"
    manifest = batch(place).manifest
    assert (manifest.cost_class.declared, manifest.cost_class.used) == ("med", "high"), "every token was the frontier model's"
    assert manifest.how.models[0].purpose == "gold_set"


def test_a_time_limit_stops_too(place, distill):
    status, told = distill(place, "--max-minutes", "0.000001")
    assert (status, "E-BUDGET" in told) == (1, True)
    assert units(place) == []


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("--resume", "--temperature", "0.7"), r"E-FREEZE.*recipe.responses.temperature: 0.4 then, 0.7 now"),
        (("--resume", "--seed", "1"), "E-FREEZE.*recipe.seed"),
        ((), "E-RUN-EXISTS.*--resume"),
    ],
)
def test_a_run_goes_on_only_as_it_was_started(place, distill, words, refusal):
    assert distill(place, "--max-minutes", "0.000001")[0] == 1
    status, told = distill(place, *words)
    assert status == 1
    assert re.search(refusal, told)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--count", "15000"), "E-UNSEALED"),
        (("--purpose", "scale"), "E-UNSEALED"),
        (("--purpose", "scale", "--pilot", "nothing"), "E-BATCH-NOTFOUND"),
        (("--purpose", "holdout", "--pilot", "x"), "E-USAGE"),
        (("--train", "x"), "E-USAGE"),
        (("--shards", "2", "--shard", "2"), "E-USAGE"),
        (("--max-cost", "3"), "E-USAGE"),
        (("--model", "", "--server", "http://127.0.0.1:9/v1"), "E-USAGE"),
        (("--merge",), "E-SHARD"),
        (("--model", "no/such-model"), "E-MODEL"),
        (("--key-variable", "NO_SUCH_VARIABLE"), "E-USAGE"),
    ],
)
def test_refusals_are_one_line(place, distill, words, code):
    status, told = distill(place, *words)
    assert (status, told.count("\n")) == (1, 1)
    assert told.startswith(f"ERROR [{code}]: ")
    assert not (place / ".distill" / "stage1" / "p" / "shard-00000-of-00001").exists()


def test_bulk_of_a_single_tier_is_refused_before_the_model_is_opened(tmp_path, distill):
    (tmp_path / "distill.toml").write_text("schema_version = 1\n")
    status, told = distill(tmp_path, "--model", "no/such-model", count="51")
    assert (status, told.count("\n")) == (1, 1)
    assert "E-GOLD]: more than 50 items is bulk, and there is no frozen gold set" in told
    assert "E-MODEL" in distill(tmp_path, "--model", "no/such-model", count="50")[1]
    assert list((tmp_path / ".distill" / "stage1").rglob("*.json")) == [], "no plan, no unit"


def test_scaling_needs_a_pilot_that_is_sealed_and_not_one_that_says_so(plain, distill):
    """The undisturbed run was never judged; a pilot of 24 rows would not pass either."""
    status, told = distill(plain, "--purpose", "scale", "--pilot", "p", "--id", "s")
    assert (status, told.count("\n")) == (1, 1)
    assert "E-UNSEALED]: the batch p was never judged" in told


def test_a_model_that_is_no_base_model_makes_nothing(tiny, place, distill):
    status, told = distill(place, "--model", str(tiny))
    assert (status, "E-SENTINEL" in told) == (1, True)
    assert not (place / ".distill" / "stage1" / "p" / "shard-00000-of-00001").exists()


def test_a_hopeless_run_ends(place, distill):
    """No critic is ever so sure."""
    status, told = distill(place, "--confidence-threshold", "50")
    assert (status, "E-YIELD" in told, "0 rows after 4 units" in told) == (1, True, True)


def test_a_batch_of_that_name_is_never_written_over(plain, distill):
    status, told = distill(plain, "--resume")
    assert (status, "E-BATCH-EXISTS" in told) == (1, True)


def test_two_processes_do_not_make_one_shard(place, distill):
    with storage.locked(place / ".distill" / "stage1" / "p" / "shard-00000-of-00001"):
        status, told = distill(place)
    assert (status, "E-BUSY" in told) == (1, True)


def test_the_plan_holds_no_path_of_this_machine(plain, taught):
    plan = Plan.load(plain / ".distill" / "stage1" / "p" / "shard-00000-of-00001" / "plan.json")
    assert str(taught.parent) not in plan.to_bytes().decode()
    assert plan.recipe.model_name == "taught"


# -- the page --------------------------------------------------------------------------------------------------------------


def test_the_page_says_what_happens(taught, tmp_path, monkeypatch):
    """The commands of docs/stage1.md, in the order in which it shows them."""
    root = Path(__file__).parents[2]
    monkeypatch.syspath_prepend(root / "tests" / "docs")
    from snippets import run_page

    # A model that was taught for seconds has other words than the gold set.
    (tmp_path / "distill.toml").write_text('schema_version = 1\n[gates."bulk.gold-match"]\nseverity = "warn"\n')
    shutil.copytree(taught, tmp_path / "model")
    shutil.copy(GOLD, tmp_path / "gold.jsonl")
    shown, then, rest = (root / "docs" / "stage1.md").read_text().partition("$ pytest -q --distill-batch=pilot-1\n")
    assert run_page(shown.rpartition("```console")[0], tmp_path) == 5
    inspect_all(tmp_path, "pilot-1")  # what the page has a person do
    assert run_page(f"```console\n{then}{rest}", tmp_path) == 8
