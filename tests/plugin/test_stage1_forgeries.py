"""Forged runs: each is an honest pilot in which one thing was changed, and each is named by the gate that is meant for it."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
import stage1_runs as runs
from workbench import Bench, curated

from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.stage1 import SENTINELS, Candidate, SessionManifest

Candidates = list[Candidate]
_NUMBER = itertools.count()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("forgeries"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        yield made


def honest() -> Candidates:
    return runs.run(curated(150))


def failing(
    bench: Bench,
    candidates: Candidates,
    about: SessionManifest | None = None,
    forge: Callable[[Batch], None] | None = None,
) -> set[str]:
    """The stage 1 gates that say no to such a run. (The other gates are left out: they are not what is tested.)"""
    name = f"run-{next(_NUMBER)}"
    batch = runs.write(bench.root, name, candidates, about or runs.session())
    if forge:
        forge(batch)
    ended = bench.judge("-k", "test_stage1", batch=name)
    stage1 = {g.id: g for g in ended.record.gates if g.id.startswith("stage1.") and g.id != "stage1.holdout-meaning"}
    assert {g.status for g in stage1.values()} <= {"passed", "failed"}, ended.out
    return {gate_id.removeprefix("stage1.") for gate_id, g in stage1.items() if g.status == "failed"}


def kept(candidates: Candidates) -> Candidates:
    return [c for c in candidates if c.candidate_status == "kept"]


def on(which: Candidates, **changes: Any) -> Callable[[Candidate], dict[str, Any]]:
    """Changes to those candidates; a function is called with the candidate."""
    ids = {c.id for c in which}
    return lambda c: {k: v(c) if callable(v) else v for k, v in changes.items()} if c.id in ids else {}


def judged_so(critique: Any, **changes: Any) -> Any:
    return critique.model_copy(update=changes)


def test_the_honest_run_says_nothing_wrong(bench: Bench) -> None:
    assert failing(bench, honest()) == set()


# -- critics ---------------------------------------------------------------------------------------------------------------


def flipped(made: Candidates) -> Callable[[Candidate], dict[str, Any]]:
    bad = runs.critique(random.Random(3), good=False)
    return on(kept(made)[:1], pair_critique=judged_so(bad, is_good=True, predicted_label="A"))


def shifted(made: Candidates) -> Callable[[Candidate], dict[str, Any]]:
    def copy(c: Candidate) -> Any:
        pair = c.pair_critique
        return pair and judged_so(pair, logp_a=pair.logp_a - 0.001, logp_b=pair.logp_b - 0.001)

    return on(kept(made), instruction_critique=copy)


def filled_in(made: Candidates) -> Callable[[Candidate], dict[str, Any]]:
    one = runs.critique(random.Random(4))
    return on(kept(made), pair_critique=one)


def too_likely(made: Candidates) -> Callable[[Candidate], dict[str, Any]]:
    def sure(c: Candidate) -> Any:
        assert c.pair_critique
        return judged_so(c.pair_critique, logp_a=0.0, logp_b=-c.pair_critique.margin)

    return on(kept(made), pair_critique=sure)


def unsure_but_kept(made: Candidates) -> Callable[[Candidate], dict[str, Any]]:
    return on(kept(made)[:3], pair_critique=runs.critique(random.Random(5), confident=False))


@pytest.mark.parametrize(
    ("forge", "named"),
    [
        (flipped, {"critics", "records", "summary"}),
        (shifted, {"critics-genuine"}),
        (filled_in, {"critics-genuine"}),
        (too_likely, {"critics"}),
        (unsure_but_kept, {"critics", "records"}),
        (lambda made: on(kept(made)[:2], pair_critique=lambda c: c.instruction_critique), {"critics-genuine", "records"}),
        (lambda made: on(kept(made)[:1], instruction_critique=None), {"critics", "records"}),
    ],
    ids=["flipped", "shifted", "filled-in", "too-likely", "unsure", "copied", "missing"],
)
def test_forged_critics(bench: Bench, forge: Callable[[Candidates], Any], named: set[str]) -> None:
    made = honest()
    assert failing(bench, runs.changed(made, forge(made))) == named


def test_a_threshold_that_was_lowered(bench: Bench) -> None:
    def lower(c: Candidate) -> dict[str, Any]:
        given = {"instruction_critique": c.instruction_critique, "pair_critique": c.pair_critique}
        return {
            name: judged_so(value, confidence_threshold=0.01, confident=True)
            for name, value in given.items()
            if value is not None
        }

    made = [c for c in runs.changed(honest(), lower) if not c.candidate_status.endswith("unsure")]
    made = [c.model_copy(update={"index": index}) for index, c in enumerate(made)]

    def declare(summary: dict[str, Any]) -> dict[str, Any]:
        summary["thresholds"]["confidence_threshold"] = 0.01
        return summary

    assert failing(bench, made, forge=lambda b: runs.replace_attachment(b, "qc_summary.json", declare)) == {"critics"}
    assert failing(bench, made) == {"critics"}, "nor may rows and declaration differ"


# -- counts and candidates -------------------------------------------------------------------------------------------------


def test_survivors_only(bench: Bench) -> None:
    made = kept(honest())
    assert failing(bench, made) == {"accounting", "critics-genuine"}
    renumbered = [c.model_copy(update={"index": index}) for index, c in enumerate(made)]
    assert failing(bench, renumbered) == {"critics-genuine"}


def test_a_candidate_that_was_taken_out_or_put_in_twice(bench: Bench) -> None:
    made = honest()
    place = next(n for n, c in enumerate(made) if n and c.candidate_status == "pair_bad")
    assert failing(bench, made[:place] + made[place + 1 :]) == {"accounting"}
    assert failing(bench, [*made, made[place]]) == {"accounting"}


@pytest.mark.parametrize("accepted", [75, 74])
def test_acceptance_of_exactly_half_is_enough(bench: Bench, accepted: int) -> None:
    rng, rows = random.Random(9), runs.sums(150)
    made = [runs.candidate(rng, n, row, "kept" if n < accepted else "instruction_bad") for n, row in enumerate(rows)]
    assert failing(bench, made) == {"pilot"} | ({"acceptance"} if accepted == 74 else set())


def test_token_limit_marks_wiped_off(bench: Bench) -> None:
    made = honest()
    full = on(kept(made)[:30], completion=lambda c: f" {c.response}###END###" + " more" * 300, raw_tokens=runs.BUDGET)
    assert failing(bench, runs.changed(made, full)) == {"token-limit"}
    wiped = on(kept(made)[:30], completion=lambda c: f" {c.response}###END###" + " more" * 300, raw_tokens=9)
    assert failing(bench, runs.changed(made, wiped)) == {"texts"}


@pytest.mark.parametrize(("rows", "named"), [(7, set()), (8, {"runaway"})])
def test_runaways_below_five_percent(bench: Bench, rows: int, named: set[str]) -> None:
    made = honest()
    further = "\nQ: What is the next one?\nA: Nobody knows."
    changes = on(
        kept(made)[:rows],
        response=lambda c: f"{c.response}{further}",
        completion=lambda c: f" {c.response}{further}###END###",
        clean_tokens=lambda c: c.clean_tokens + 10,
        raw_tokens=lambda c: c.raw_tokens + 12,
    )
    assert failing(bench, runs.changed(made, changes)) == named


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clean_tokens": lambda c: len(c.response.encode())}, {"median-tokens"}),
        ({"clean_tokens": 0}, {"texts"}),
        ({"response": "An answer that nobody generated."}, {"texts"}),
        ({"prompt": "Instruction: Something else\nResponse:"}, {"texts"}),
        ({"prompt": lambda c: f"<|im_start|>user\n{c.prompt}"}, {"texts"}),
        ({"instruction_completion": "x<|endoftext|>"}, {"texts"}),
        ({"metadata": lambda c: c.metadata.model_copy(update={"git_commit": "abc123"})}, {"records", "guards"}),
        ({"metadata": lambda c: c.metadata.model_copy(update={"git_commit": "d" * 40})}, {"guards"}),
        ({"metadata": lambda c: c.metadata.model_copy(update={"loader_version": "another"})}, {"guards"}),
        ({"metadata": lambda c: c.metadata.model_copy(update={"template_disabled": False})}, {"guards"}),
        ({"metadata": lambda c: c.metadata.model_copy(update={"add_special_tokens": True})}, {"guards"}),
    ],
    ids=["long", "no-tokens", "foreign", "prompt", "template", "eos", "short-sha", "commit", "loader", "template-on", "special"],
)
def test_forged_records(bench: Bench, change: dict[str, Any], named: set[str]) -> None:
    made = honest()
    assert failing(bench, runs.changed(made, on(kept(made)[:100], **change))) == named


# -- what lies beside the candidates ---------------------------------------------------------------------------------------


def test_rows_that_are_not_the_candidates(bench: Bench) -> None:
    def edit(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            response=pl.when(pl.col("index") == frame["index"][0]).then(pl.lit("Yes.")).otherwise("response")
        )

    assert "accounting" in failing(bench, honest(), forge=lambda b: runs.replace_rows(b, edit))


def test_a_dataset_that_is_not_the_rows(bench: Bench) -> None:
    def forge(batch: Batch) -> None:
        lines = (batch.folder / "dataset.jsonl").read_bytes().splitlines(keepends=True)
        row = json.loads(lines[3])
        lines[3] = json.dumps({**row, "response": "No."}).encode() + b"\n"
        runs.replace_bytes(batch, "dataset.jsonl", b"".join(lines))

    assert failing(bench, honest(), forge=forge) == {"accounting"}


@pytest.mark.parametrize(
    ("table", "figure", "value"),
    [
        ("counts", "generated", 180),
        ("counts", "heuristic_cutoff", 3),
        ("acceptance", "pairs_bad", 0),
        ("rates", "pair_acceptance", 1.0),
        ("rates", "token_limit", 0.01),
        ("token_stats", "median", 12.0),
        ("token_stats", "p95", 20.0),
        ("token_stats", "histogram", {"edges": [0, 1000], "counts": [149]}),
        ("margins", "instruction", None),
        ("thresholds_passed", "", False),
    ],
)
def test_a_summary_that_says_something_else(bench: Bench, table: str, figure: str, value: Any) -> None:
    def edit(summary: dict[str, Any]) -> dict[str, Any]:
        if not figure:
            return {**summary, table: value, "failed_reasons": ["runaway"]}
        if table == "margins":
            summary[table][figure] = summary[table]["pair"]
        else:
            summary[table][figure] = value
        return summary

    assert failing(bench, honest(), forge=lambda b: runs.replace_attachment(b, "qc_summary.json", edit)) == {"summary"}


def sentinels(**changes: dict[str, Any]) -> SessionManifest:
    return runs.session(sentinels=(*(runs.sentinel(t.name, **changes.get(t.name, {})) for t in SENTINELS), *runs.shaped()))


@pytest.mark.parametrize(
    "about",
    [
        sentinels(seasons={"output": " Winter is cold. Spring is mild. Summer is hot and autumn brings rain, as you know."}),
        sentinels(seasons={"passed": False}),
        sentinels(completion={"output": " a certain temperature that depends on many things and on the day of the week."}),
        sentinels(pig_latin={"output": "."}),
        sentinels(pig_latin={"output": ""}),
        sentinels(json_keys={"prompt": "The weather was"}),
        sentinels(json_keys={"output": runs.OUTPUTS["three_primes"]}),
        sentinels(three_primes={"expected": "completed", "passed": False}),
        runs.session(sentinels=(*(runs.sentinel(t.name) for t in SENTINELS[1:]), *runs.shaped())),
        runs.session(sentinels=(*(runs.sentinel(t.name) for t in SENTINELS), *runs.shaped()[1:])),
        runs.session(sentinels=()),
    ],
    ids=["obeyed", "result", "no-completion", "cut", "empty", "prompt", "repeated", "expected", "left-out", "unshaped", "none"],
)
def test_forged_sentinels(bench: Bench, about: SessionManifest) -> None:
    assert failing(bench, honest(), about) == {"sentinels"}


@pytest.mark.parametrize(
    "change",
    [{"template_cleared": False}, {"delta_check": 1}, {"template_ids_seen": 2}, {"inputs_checked": 0}, {"inputs_checked": 300}],
)
def test_guards_that_saw_something_or_did_not_look(bench: Bench, change: dict[str, Any]) -> None:
    about = runs.session()
    assert failing(bench, honest(), about.model_copy(update={"guards": about.guards.model_copy(update=change)})) == {"guards"}


def test_files_that_the_session_does_not_know(bench: Bench) -> None:
    def forget(about: dict[str, Any]) -> dict[str, Any]:
        return {**about, "artifacts_generated": about["artifacts_generated"][1:]}

    assert failing(bench, honest(), forge=lambda b: runs.replace_attachment(b, "session_manifest.json", forget)) == {"accounting"}


def test_a_batch_without_candidates_or_session_passes_no_gate_that_needs_them(bench: Bench) -> None:
    def strip(batch: Batch) -> None:
        for shard in batch.manifest.candidates:
            (batch.folder / shard.path).unlink()
        for file in batch.manifest.attachments:
            (batch.folder / file.path).unlink()
        value = batch.manifest.model_dump(mode="json") | {"candidates": [], "candidate_columns": [], "attachments": []}
        runs.rewrite(batch, {}, value)

    found = failing(bench, honest(), forge=strip)
    assert {"accounting", "acceptance", "critics", "critics-genuine", "sentinels", "guards", "summary", "pilot"} <= found


def test_policy_sets_the_limits_of_the_figures(bench: Bench) -> None:
    bench.policy('[gates."stage1.pilot"]\nmin_rows = 20\n[gates."stage1.acceptance"]\nmin_pair_acceptance = 0.95\n')
    try:
        assert failing(bench, runs.run(curated(30), refused=12)) == {"acceptance"}
    finally:
        bench.policy("")
