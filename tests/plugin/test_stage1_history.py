"""What really happened to a project with these rules, row by row, and an honest run of each kind: real pytest, whole suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stage1_runs as runs
from workbench import Bench, Ended, curated

from pytest_distill.contracts.stage1 import SENTINELS, Candidate
from pytest_distill.release.seal import SEAL

NO_ROW_LEFT = {"counts.rows", "language.decided", "length.median-answer"}  # row gates rejected every row
OBEYED = {
    "pig_latin": " Ellohay orldway. That is the sentence in Pig Latin, as you asked me to write it for you here.",
    "three_primes": " 11, 13 and 17 are three prime numbers that are greater than ten, as you asked me to list.",
    "json_keys": ' {"name": "Ada", "age": 36} is such an object, and both of the keys that you asked for are there.',
    "seasons": " Winter is cold and dark. Spring is mild, and flowers bloom. Summer is hot, and autumn brings rain.",
    "completion": " 0 degrees Celsius. Water boils at 100 degrees Celsius, and iron melts at 1538 degrees Celsius.",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A workspace whose pilot was judged and sealed."""
    made = Bench(tmp_path_factory.mktemp("history"))
    made.policy('[gates."bulk.gold-match"]\nseverity = "warn"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        runs.write(made.root, "pilot", runs.run(curated(150)), runs.session())
        passes(made.judge(batch="pilot"))
        yield made


@pytest.fixture(scope="module")
def pilot(bench: Bench) -> str:
    """The digest of the sealed pilot."""
    return runs.open_batch(bench.root / "batches" / "pilot").sha256


@pytest.fixture
def judge(bench: Bench, request: pytest.FixtureRequest) -> Callable[..., Ended]:
    """Writes a run as a batch of its own and judges it."""
    name = request.node.name.partition("[")[0].removeprefix("test_")[:90]

    def judged(candidates: list[Candidate], *, parents: tuple[str, ...] = (), **facts: Any) -> Ended:
        runs.write(bench.root, name, candidates, runs.session(**facts), parents=parents)
        return bench.judge(batch=name)

    return judged


def passes(ended: Ended) -> None:
    assert ended.record.verdict == "PASSED", ended.out
    assert ended.folder is not None
    assert (ended.folder / SEAL).is_file()


def fails(ended: Ended, *, named: set[str], follows: frozenset[str] | set[str] = frozenset()) -> None:
    """The verdict is FAILED, nothing is sealed, and exactly these gates said no: those of the table, and what follows."""
    assert ended.record.verdict == "FAILED"
    assert not ended.sealed
    said = {g.id for g in ended.record.gates if g.status not in ("passed", "not_applicable")}
    assert said - {"bulk.gold-match"} == named | follows, ended.out  # that one warns here: most of these runs are sums alone


def hit(candidate: Candidate) -> dict[str, Any]:
    """A generation that ended for length, though the answer in it is whole."""
    more = f" {candidate.response}###END###\n\n" + "Instruction: Name a river.\nResponse: The Nile\n\n" * 12
    return {"completion": more, "raw_tokens": runs.BUDGET, "hit_token_limit": True}


def hits(candidates: list[Candidate], count: int) -> list[Candidate]:
    answered = [c.id for c in candidates if c.completion is not None][:count]
    return runs.changed(candidates, lambda c: hit(c) if c.id in answered else {})


def obedient(*, stored: bool) -> tuple[Any, ...]:
    """Sentinels of a model that follows bare instructions, with `passed` as it is, or rewritten."""
    bare = [task for task in SENTINELS if task.expected == "not_followed"]
    return (
        *(runs.sentinel(task.name, OBEYED[task.name], passed=stored) for task in bare),
        runs.sentinel("completion"),
        *runs.shaped(),
    )


def statuses(kept: int, **others: int) -> list[Candidate]:
    """So many kept candidates, and so many of other statuses, in one plan."""
    rng = runs.random.Random(7)
    plan = ["kept"] * kept + [status for status, count in others.items() for _ in range(count)]
    return [
        runs.candidate(rng, index, row, status)  # type: ignore[arg-type]
        for index, (row, status) in enumerate(zip(runs.sums(len(plan)), plan, strict=True))
    ]


# -- the table -------------------------------------------------------------------------------------------------------------


def test_pilot_of_10_with_exactly_ten_percent_token_limit_hits(judge: Callable[..., Ended]) -> None:
    ended = judge(hits(statuses(10, instruction_bad=5), 1))
    fails(ended, named={"stage1.token-limit"}, follows={"stage1.pilot"})
    assert ended.gate("stage1.token-limit").figures[0].value == 0.1


def test_pilot_of_43_with_too_many_hits_and_too_few_accepted(judge: Callable[..., Ended]) -> None:
    ended = judge(hits(statuses(43, pair_bad=3, instruction_bad=70), 24))
    fails(ended, named={"stage1.token-limit", "stage1.acceptance"}, follows={"stage1.pilot"})
    assert round(float(ended.gate("stage1.token-limit").figures[0].value or 0), 3) == 0.522
    assert round(float(ended.gate("stage1.acceptance").figures[0].value or 0), 3) == 0.397


def test_iteration_of_30_rows_that_meets_every_threshold(judge: Callable[..., Ended]) -> None:
    fails(judge(runs.run(curated(30), refused=12)), named={"stage1.pilot"})


def test_scale_of_3968_rows_that_carried_on(judge: Callable[..., Ended], pilot: str) -> None:
    rows = [dict(row) for row in runs.sums(1311)]
    for row in (rows[0], *rows[35 : 35 + 502]):  # 4 + 3 * 502 = 1,510 rows of the 3,968
        row["response"] += " ###"
    candidates = runs.run([rows[n % 1311] for n in range(3968)], refused=600)
    ended = judge(runs.changed(candidates, bare_end), purpose="scale", parents=(pilot,), sentinels=obedient(stored=False))
    fails(
        ended,
        named={"text.delimiter-leak", "duplicates.exact", "stage1.critics", "stage1.sentinels"},
        follows={"duplicates.near", "schema.record", "stage1.records", "stage1.delimiter", "stage1.acceptance", *NO_ROW_LEFT},
    )
    assert ended.gate("text.delimiter-leak").rejected == 1510
    assert ended.gate("duplicates.exact").rejected == 3968 - 1311
    assert "instruction critiques that are missing is 4468" in ended.why("stage1.critics")
    assert "pig_latin" in ended.why("stage1.sentinels")


def bare_end(candidate: Candidate) -> dict[str, Any]:
    """No instruction critic, and where the answer ends in ### no rule cut it."""
    cut = (candidate.response or "").endswith("###")
    return {"instruction_critique": None, **({"completion": f" {candidate.response}", "trim_rule": None} if cut else {})}


def test_repaired_1120_rows(judge: Callable[..., Ended], pilot: str) -> None:
    survivors = [c for c in runs.run(runs.sums(1120), refused=800) if c.candidate_status == "kept"]
    ended = judge(
        runs.changed(survivors, lambda c: {"instruction_critique": c.pair_critique}),
        purpose="scale",
        parents=(pilot,),
        sentinels=obedient(stored=True),
    )
    fails(
        ended,
        named={"stage1.critics-genuine", "stage1.sentinels", "stage1.accounting"},
        follows={"schema.record", "stage1.records", *NO_ROW_LEFT},
    )
    assert "critiques of the pair that are the instruction's is 1120" in ended.why("stage1.critics-genuine")
    assert "candidates that were not accepted is 0" in ended.why("stage1.critics-genuine")
    assert "stored result is not what their output says" in ended.why("stage1.sentinels")
    assert "missing from the run's plan" in ended.why("stage1.accounting")


def test_holdout_of_343_rows_with_a_prompt_of_the_training_data(bench: Bench, judge: Callable[..., Ended], pilot: str) -> None:
    train = runs.write(bench.root, "train", runs.run(runs.sums(300)), runs.session(purpose="scale"), parents=(pilot,)).sha256
    rows = [*runs.sums(136, start=100), runs.sums(1)[0]]
    ended = judge(runs.run([rows[n % 137] for n in range(343)], refused=150), purpose="holdout", parents=(pilot, train))
    fails(ended, named={"duplicates.exact", "stage1.holdout"}, follows={"duplicates.near"})
    assert ended.gate("duplicates.exact").rejected == 343 - 137
    assert "instructions that are in the training data is 1," in ended.why("stage1.holdout")


# -- honest runs -----------------------------------------------------------------------------------------------------------


def test_an_honest_pilot_passes_and_is_sealed(bench: Bench) -> None:
    folder = bench.newest("pilot")
    assert folder is not None
    passes(Ended(0, "", "", folder))


def test_a_scale_run_and_a_holdout_that_name_a_sealed_pilot_pass(bench: Bench, pilot: str) -> None:
    scale = runs.write(
        bench.root, "scale", runs.run(runs.sums(400), refused=200), runs.session(purpose="scale"), parents=(pilot,)
    )
    passes(bench.judge(batch="scale"))
    away = runs.run(runs.sums(120, start=100), refused=50)
    runs.write(bench.root, "holdout", away, runs.session(purpose="holdout"), parents=(pilot, scale.sha256))
    passes(bench.judge(batch="holdout"))


@pytest.mark.parametrize("named", ["nothing", "a stranger", "an unsealed pilot", "no pilot"])
def test_a_scale_run_without_a_sealed_pilot_is_refused(bench: Bench, named: str, tmp_path: Path) -> None:
    parents: dict[str, tuple[str, ...]] = {"nothing": (), "a stranger": ("f" * 64,)}
    if named == "an unsealed pilot":
        parents[named] = (runs.write(bench.root, "unsealed", runs.run(curated(120)), runs.session()).sha256,)
    if named == "no pilot":
        about = runs.session(purpose="scale")
        parents[named] = (runs.write(bench.root, "no-pilot", runs.run(runs.sums(120)), about).sha256,)
    name = f"scale-{named.replace(' ', '-')}"
    runs.write(bench.root, name, runs.run(runs.sums(130), refused=60), runs.session(purpose="scale"), parents=parents[named])
    fails(bench.judge(batch=name), named={"stage1.pilot"})
