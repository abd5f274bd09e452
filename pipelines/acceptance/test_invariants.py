"""The 22 invariants of the acceptance run. `distill acceptance` collects exactly these, and all of them have to pass.

5  every stage left a receipt          3  the run has a summary, whole, with a hash
5  and the receipt is whole            6  the contamination firewall held
2  the counts are the known ones       1  the same again gives the same
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from pytest_distill.batch.batch import Batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.contracts.evidence import Provenance, QuarantineEntry
from pytest_distill.contracts.receipts import RunSummary, StageReceipt, io_hash
from pytest_distill.pipelines.acceptance.run import Acceptance
from pytest_distill.pipelines.evidence import store
from pytest_distill.pipelines.evidence.stages import EXPORTERS, STAGES
from pytest_distill.stages import summaries

every_stage = pytest.mark.parametrize("stage", STAGES)


def batch_of(acceptance: Acceptance, exporter: str) -> Batch:
    batch = next(found.batch for found in acceptance.first.exported if found.exporter == exporter)
    assert batch is not None, f"{exporter} made no batch"
    return batch


def rows_of(batch: Batch) -> list[dict[str, Any]]:
    rows = [orjson.loads(line) for line in json_lines(batch.frame(batch.column_names), batch.manifest.columns)]
    assert rows, "nothing was exported, so nothing was shown"
    return rows


def receipt_of(acceptance: Acceptance, stage: str) -> StageReceipt:
    folder = summaries.run_folder(acceptance.workspace, acceptance.first.summary.run_id)
    return StageReceipt.load(folder / f"{stage}.json")


@every_stage
def test_the_stage_left_a_receipt(acceptance: Acceptance, stage: str) -> None:
    assert receipt_of(acceptance, stage).stage == stage


@every_stage
def test_the_receipt_is_whole(acceptance: Acceptance, stage: str) -> None:
    receipt = receipt_of(acceptance, stage)
    assert receipt.run_id == acceptance.first.summary.run_id, "one run, one id"
    assert receipt.completed
    assert receipt.inputs
    assert receipt.outputs
    assert receipt.input_hash == io_hash(receipt.inputs, receipt.parameters)
    assert receipt.output_hash == io_hash(receipt.outputs)
    assert receipt.validation.passed == (receipt.record_counts.skipped == 0 and not receipt.validation.errors)


def test_the_summary_is_there(acceptance: Acceptance) -> None:
    folder = summaries.run_folder(acceptance.workspace, acceptance.first.summary.run_id)
    assert (folder / summaries.SUMMARY).is_file()
    assert (folder / summaries.SUMMARY_PAGE).is_file()


def test_the_summary_is_whole(acceptance: Acceptance) -> None:
    summary = summaries.load(acceptance.workspace, acceptance.first.summary.run_id)
    assert isinstance(summary, RunSummary)
    assert [line.stage for line in summary.stages] == list(STAGES)
    assert not summary.not_run
    assert not summary.overall_passed, "a row was skipped, and that is said"
    assert summary.datasets.model_dump() == {"rag": 8, "sft": 6, "preference": 1}


def test_the_run_hash_is_a_sha256(acceptance: Acceptance) -> None:
    assert re.fullmatch("[0-9a-f]{64}", acceptance.first.summary.run_hash)


def test_sft_holds_accepted_runs_only(acceptance: Acceptance) -> None:
    assert {row["quality_score"] for row in rows_of(batch_of(acceptance, "export-sft"))} == {"accepted"}


def test_rag_holds_no_rejected_run(acceptance: Acceptance) -> None:
    rejected = {run.evidence_run_id for run in scores(acceptance) if run.category == "rejected"}
    assert rejected
    rows = rows_of(batch_of(acceptance, "export-rag"))
    assert {row["source_category"] for row in rows} <= {"accepted", "partially_accepted"}
    assert not {row["source_run_id"] for row in rows} & rejected


def test_no_run_is_paired_with_itself(acceptance: Acceptance) -> None:
    assert all(row["chosen_run_id"] != row["rejected_run_id"] for row in rows_of(batch_of(acceptance, "export-preference")))


def test_no_pair_has_one_text(acceptance: Acceptance) -> None:
    assert all(row["chosen"].split() != row["rejected"].split() for row in rows_of(batch_of(acceptance, "export-preference")))


def test_no_provenance_is_missing(acceptance: Acceptance) -> None:
    for exporter in EXPORTERS:
        for row in rows_of(batch_of(acceptance, exporter)):
            Provenance.model_validate(row["provenance"])


def test_every_quarantined_record_has_a_reason(acceptance: Acceptance) -> None:
    entries = [entry for exporter in EXPORTERS for entry in quarantined(batch_of(acceptance, exporter))]
    assert len(entries) == sum(found.quarantined for found in acceptance.first.exported) > 0


def test_collect_keeps_14_rows_and_skips_one(acceptance: Acceptance) -> None:
    counts = receipt_of(acceptance, "collect").record_counts
    assert (counts.in_, counts.out, counts.skipped, counts.deduped) == (15, 14, 1, 0)


def test_score_accepts_6_rejects_4_and_sets_4_aside(acceptance: Acceptance) -> None:
    counts = receipt_of(acceptance, "score").record_counts
    assert (counts.in_, counts.accepted, counts.rejected, counts.quarantined) == (14, 6, 4, 4)


def test_the_same_again_adds_nothing_and_has_the_same_hash(acceptance: Acceptance) -> None:
    assert acceptance.second.summary.run_id != acceptance.first.summary.run_id
    assert acceptance.second.summary.totals.out == 0
    assert sum(one.out for one in acceptance.second.built) == 0
    assert acceptance.second.summary.run_hash == acceptance.first.summary.run_hash
    assert acceptance.elsewhere.summary.run_hash == acceptance.first.summary.run_hash


def scores(acceptance: Acceptance) -> Iterator[Any]:
    from pytest_distill.contracts.evidence import ScoredRun

    for partition in store.partitions(store.scored_folder(acceptance.workspace)):
        yield from store.rows(partition.path, ScoredRun)


def quarantined(batch: Batch) -> Iterator[QuarantineEntry]:
    """Every entry through its contract: a reason that is one of the eleven, words, and where the record comes from."""
    for row in batch.candidates().iter_rows(named=True):
        if row["status"] != "kept":
            yield QuarantineEntry(
                exporter=row["exporter"],
                reason=row["status"],
                source_record=orjson.loads(row["source_record"]),
                errors=orjson.loads(row["errors"]),
                provenance=orjson.loads(row["provenance"]),
            )
