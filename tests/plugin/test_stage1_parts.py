"""The run's summary, the batch it is written into, and what the gates make of sentinels and overlaps."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import stage1_runs as runs

from pytest_distill import clock
from pytest_distill.contracts.stage1 import DATASET, QC_SUMMARY, SESSION, QcSummary, SessionManifest, Thresholds, TrimRule
from pytest_distill.errors import Code, DistillError
from pytest_distill.gates.measures import sentinels
from pytest_distill.gates.measures.stage1 import gaps, overlaps, repeated_share
from pytest_distill.pipelines.stage1 import cleaning
from pytest_distill.pipelines.stage1.qc import MARGIN_EDGES, distribution, summarise


def test_a_summary_counts_every_candidate_once() -> None:
    rng, rows = runs.random.Random(2), runs.sums(12)
    plan = ["kept"] * 4 + ["pair_bad", "pair_unsure", "response_empty", "surplus", "duplicate"]
    plan += ["instruction_bad", "instruction_unsure", "instruction_duplicate"]
    made = [runs.candidate(rng, n, row, status) for n, (row, status) in enumerate(zip(rows, plan, strict=True))]  # type: ignore[arg-type]
    made[0] = made[0].model_copy(update={"trim_rule": "line_start", "completion": " The sum is 18.\nQ: And"})
    made[1] = made[1].model_copy(update={"hit_token_limit": True, "response": "The sum is 19.\nQ: And?"})
    made[2] = made[2].model_copy(update={"response": "The sum is 20. ###"})
    found = summarise(made, Thresholds(), unit="tokens")
    assert found.counts.model_dump() == {
        "generated": 12, "responses": 9, "kept": 4, "delimiter_found": 8, "delimiter_missing": 1, "heuristic_cutoff": 1,
        "hit_token_limit": 1,
    }  # fmt: skip
    assert found.acceptance.model_dump() == {
        "instructions_good": 9, "instructions_bad": 1, "instructions_low_confidence": 1, "pairs_good": 6, "pairs_bad": 1,
        "pairs_low_confidence": 1,
    }  # fmt: skip
    assert found.rates.model_dump() == {
        "instruction_acceptance": 9 / 12, "pair_acceptance": 6 / 9, "token_limit": 1 / 9, "runaway": 1 / 4, "delimiter_leaks": 1,
    }  # fmt: skip
    assert (found.token_stats.count, found.margins.instruction.count, found.margins.pair.count) == (4, 11, 8)
    assert [reason.partition(":")[0] for reason in found.failed_reasons] == ["runaway", "token-limit hits", "delimiter leakage"]


def test_nothing_generated_is_no_success() -> None:
    found = summarise([], Thresholds(), unit="tokens")
    assert not found.thresholds_passed
    assert found.rates.instruction_acceptance is None
    assert found.token_stats.median is None


def test_a_distribution_by_hand() -> None:
    found = distribution([0.0, 0.25, 1.0, 30.0], MARGIN_EDGES, "nats")
    assert (found.median, found.mean, found.p95, found.min, found.max) == (0.625, 7.8125, 30.0, 0.0, 30.0)
    assert found.histogram.edges == (*MARGIN_EDGES, 30.0)
    assert found.histogram.counts == (1, 1, 0, 0, 1, *[0] * 9, 1)
    assert distribution([20.0], MARGIN_EDGES, "nats").histogram.counts[-1] == 1
    assert distribution([float(n) for n in range(1, 101)], (0.0, 100.0), "x").p95 == 95


def test_the_contract_knows_every_rule_that_cuts() -> None:
    assert set(TrimRule.__args__) == {rule.value for rule in cleaning.TrimRule}  # type: ignore[attr-defined]


def test_a_run_becomes_a_batch_with_everything_in_it(tmp_path: Path) -> None:
    (tmp_path / "distill.toml").write_text("")
    made = runs.run(runs.sums(20), refused=6)
    clock.pin(runs.NOW)
    try:
        batch = runs.write(tmp_path, "one", made, runs.session())
        (tmp_path / "twin").mkdir()
        (tmp_path / "twin" / "distill.toml").write_text("")
        assert runs.write(tmp_path / "twin", "one", made, runs.session()).sha256 == batch.sha256, "same run, same bytes"
    finally:
        clock._pinned = None
    assert batch.rows == 20
    assert batch.candidates().height == 26
    lines = (batch.attachment(DATASET) or b"").splitlines(keepends=True)
    offsets = batch.frame(["distill_offset"]).to_series().to_list()
    assert [sum(map(len, lines[:n])) for n in range(20)] == offsets
    assert [json.loads(line)["id"] for line in lines] == batch.column("id").to_list()
    summary = QcSummary.from_bytes(batch.attachment(QC_SUMMARY) or b"", name=QC_SUMMARY)
    assert summary.counts.generated == 26
    listed = SessionManifest.from_bytes(batch.attachment(SESSION) or b"", name=SESSION).artifacts_generated
    assert [(a.path, a.type) for a in listed] == [
        ("rows-00000.parquet", "rows"),
        ("candidates-00000.parquet", "candidates"),
        (DATASET, "dataset"),
        (QC_SUMMARY, "qc_summary"),
    ]
    assert batch.attachment("another.json") is None
    (batch.folder / QC_SUMMARY).write_bytes(b"{}")
    with pytest.raises(DistillError) as caught:
        batch.attachment(QC_SUMMARY)
    assert caught.value.code is Code.BATCH_CORRUPT


FOLLOWED = {
    "pig_latin": [" ellohay orldway", "\nHello-hay world-way? No: Ello-hay orld-way."],
    "three_primes": [" 11, 13, 17", "\n1. 11\n2. 13\n3. 17\n", " Sure! 11, 17 and 29."],
    "json_keys": [
        ' {"name": "Ada", "age": 36}',
        '\n```json\n{\n  "name": "John",\n  "age": 30\n}\n```',
        ' {"name": "x", "age": 3',
    ],
    "seasons": [" Spring is mild. Summer is hot.", "\nWinter: cold.\nSpring: mild", " Summer brings heat and autumn has rain."],
    "completion": [" 0 degrees Celsius.", " 32°F", " zero degrees", " 273.15 K.", " about 0°C and boils at 100°C."],
}  # fmt: skip
NOT_FOLLOWED = {
    "pig_latin": ["", " into French: bonjour le monde", " Translate the next sentence: hello there"],
    "three_primes": [" List even numbers: 4, 6, 8", " 2, 3, 5", " 11. List two.", "\n1. Is it 11?\n2. And 13?\n3. Name"],
    "json_keys": [" The keys have to be strings.", ' {"name": "Ada"}', " name and age are the keys {", " { {"],
    "seasons": [" Describe the months.", " The seasons are winter, spring, summer and autumn.", " What is summer? Describe"],
    "completion": [" a certain temperature.", " 100 degrees", " 10 degrees", " night. 0 is a number", " 320 degrees"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "output"), [(n, o) for n, outputs in FOLLOWED.items() for o in outputs])
def test_outputs_that_do_the_task(name: str, output: str) -> None:
    assert sentinels.followed(runs.sentinel(name, output, output_tokens=9, finish_reason="stop"))


@pytest.mark.parametrize(("name", "output"), [(n, o) for n, outputs in NOT_FOLLOWED.items() for o in outputs])
def test_outputs_that_do_not_do_the_task(name: str, output: str) -> None:
    assert not sentinels.followed(runs.sentinel(name, output, output_tokens=9, finish_reason="stop"))


def test_overlaps_word_for_word_and_nearly() -> None:
    training = pl.Series(["What is the capital of the state of Norway?", "Name a river in the north of Africa.", "Sing!"])
    ours = pl.Series(
        [
            "what is  the capital of the state of NORWAY?",
            "Name a river in the north of Africa, please.",
            "Name a lake.",
            "sing",
            "Hum",
        ]
    )
    assert overlaps(ours, training, 0.8) == (1, 3)
    assert overlaps(ours, training, 0.9) == (1, 2)
    assert overlaps(ours, pl.Series([], dtype=pl.String), 0.8) == (0, 0)


def test_gaps_and_repetitions() -> None:
    assert gaps(pl.DataFrame({"index": [3, 4, 5]})) == 0
    assert gaps(pl.DataFrame({"index": [3, 5, 5, 8]})) == 4
    assert gaps(pl.DataFrame({"index": pl.Series([1, None])})) == 1
    critique = {"is_good": True, "predicted_label": "A", "logp_a": -0.1, "logp_b": -3.0, "margin": 2.9, "confident": True}
    frame = pl.DataFrame({"instruction": ["a", "a", "b", "c"], "c": [critique, critique, critique, {**critique, "logp_b": -3.5}]})
    assert repeated_share(frame, "c", ("instruction",)) == pytest.approx(2 / 3), "one input asked twice is no repetition"
