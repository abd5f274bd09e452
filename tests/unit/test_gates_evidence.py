"""Gates of exported evidence: a batch that an exporter made passes, and one that was tampered with on the way does not."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import polars as pl
import pytest
from evidence_workspace import LATER, finding, make, review, scored

from pytest_distill import clock
from pytest_distill.batch.rows import json_lines
from pytest_distill.gates import test_evidence as gates
from pytest_distill.gates.measures import evidence as measures
from pytest_distill.pipelines.exporters.pairs import export_preference
from pytest_distill.pipelines.exporters.rows import export_rag, export_sft

STREAMS: dict[str, list[Any]] = {
    "audits": [finding(), finding("medium", finding_id="F2"), finding("high", finding_id="F3")],
    "observer_reviews": [review(), review(verdict="reject", text="No."), review("src/b.rs", "maybe", "Who knows.")],
}


class Judged:
    """An exported batch as a gate is given it, with its rows and candidates free to change."""

    def __init__(self, batch: Any) -> None:
        self.manifest = batch.manifest
        lines = json_lines(batch.frame(batch.column_names), batch.manifest.columns)
        self.samples = [orjson.loads(line) for line in lines]
        self.looked_at = [dict(row) for row in batch.candidates().iter_rows(named=True)]
        self.attachment = batch.attachment

    @property
    def all_rows(self) -> int:
        return len(self.samples)

    def column(self, name: str) -> pl.Series:
        return pl.Series(name, [sample.get(name) for sample in self.samples], dtype=pl.String)

    def candidates(self) -> pl.DataFrame:
        return pl.DataFrame(self.looked_at, schema=dict.fromkeys({key: None for row in self.looked_at for key in row}, pl.String))

    def failing(self, gate: Any) -> set[str]:
        """The figures of a gate that are beyond their bounds."""
        wrong = set()

        def require(name: str, value: float, *, equals: float | None = None, at_most: float | None = None) -> None:
            if (equals is not None and value != equals) or (at_most is not None and value > at_most):
                wrong.add(name)

        given = {
            "batch": self, "manifest": self.manifest, "require": require, "limits": SimpleNamespace(max_pairs_per_task=5),
            "sample_record": pl.Series([orjson.dumps(sample).decode() for sample in self.samples], dtype=pl.String),
        }  # fmt: skip
        wanted = gate.__code__.co_varnames[: gate.__code__.co_argcount]
        gate(**{name: given[name] for name in wanted})
        return wrong


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with clock.pinned(LATER):
        workspace = make(Path(tmp_path_factory.mktemp("gates")) / "w", **STREAMS)
        scored(workspace)
        return {found.exporter: found.batch for found in (f(workspace) for f in (export_rag, export_sft, export_preference))}


TRACES, SFT, RAG, PAIRS, ACCOUNTS = (
    gates.test_every_sample_traces_back, gates.test_answers_come_from_accepted_runs, gates.test_no_rejected_run_is_retrieved,
    gates.test_pairs_are_of_two_runs, gates.test_every_record_is_accounted_for,
)  # fmt: skip
GATES = {
    "export-rag": [TRACES, RAG, ACCOUNTS],
    "export-sft": [TRACES, SFT, ACCOUNTS],
    "export-preference": [TRACES, PAIRS, ACCOUNTS],
}


@pytest.mark.parametrize("exporter", GATES)
def test_what_was_exported_passes(batches: dict[str, Any], exporter: str) -> None:
    judged = Judged(batches[exporter])
    assert judged.samples
    assert {gate.__name__: judged.failing(gate) for gate in GATES[exporter]} == {gate.__name__: set() for gate in GATES[exporter]}


def set_to(**values: Any) -> Any:
    return lambda judged: judged.samples[0].update(values)


def without(name: str) -> Any:
    return lambda judged: judged.samples[0].pop(name)


def turned_away(**values: Any) -> Any:
    return lambda judged: next(row for row in judged.looked_at if row["status"] != "kept").update(values)


def same(name: str, other: str, end: str = "") -> Any:
    return lambda judged: judged.samples[0].update({name: judged.samples[0][other] + end})


@pytest.mark.parametrize(
    ("exporter", "gate", "change", "figure"),
    [
        ("export-sft", TRACES, without("provenance"), "samples without whole provenance"),
        ("export-sft", TRACES, set_to(provenance={"sig_hash": "0" * 64}), "samples without whole provenance"),
        ("export-preference", TRACES, without("rejected_provenance"), "samples without whole provenance"),
        ("export-sft", TRACES, set_to(id="0" * 64), "samples whose id is not their rows'"),
        ("export-rag", TRACES, set_to(source_run_id="another"), "samples whose id is not their rows'"),
        ("export-rag", TRACES, lambda judged: judged.samples.append(judged.samples[0]), "ids that are used twice"),
        ("export-sft", SFT, set_to(quality_score="partially_accepted"), "samples that are not accepted"),
        ("export-sft", SFT, set_to(quality_score="rejected"), "samples that are not accepted"),
        ("export-sft", SFT, set_to(quality_score=None), "samples that are not accepted"),
        ("export-sft", SFT, lambda judged: turned_away(status="kept")(judged), "kept records whose score is not"),
        ("export-rag", RAG, set_to(source_category="rejected"), "documents that are not accepted"),
        ("export-rag", RAG, set_to(source_category="needs_human_review"), "documents that are not accepted"),
        ("export-rag", RAG, turned_away(status="kept"), "kept records whose score is not"),
        ("export-preference", PAIRS, same("rejected_run_id", "chosen_run_id"), "pairs of a run with itself"),
        ("export-preference", PAIRS, same("rejected", "chosen", " "), "pairs of one text"),
        ("export-preference", PAIRS, lambda judged: judged.samples.extend(judged.samples * 5), "most pairs of one task"),
        ("export-sft", ACCOUNTS, lambda judged: judged.samples.pop(), "rows that are not the kept records"),
        ("export-sft", ACCOUNTS, set_to(response="Something else."), "the rows are those that were exported"),
        ("export-sft", ACCOUNTS, turned_away(errors=None), "records turned away without a whole entry"),
        ("export-sft", ACCOUNTS, turned_away(errors="[]"), "records turned away without a whole entry"),
        ("export-sft", ACCOUNTS, turned_away(status="because"), "records turned away without a whole entry"),
        ("export-sft", ACCOUNTS, turned_away(status="blank"), "records turned away without a whole entry"),
        ("export-sft", ACCOUNTS, turned_away(provenance=None), "records turned away without a whole entry"),
    ],
)  # fmt: skip
def test_what_was_tampered_with_does_not(batches: dict[str, Any], exporter: str, gate: Any, change: Any, figure: str) -> None:
    judged = Judged(batches[exporter])
    with contextlib.suppress(KeyError):
        change(judged)
    assert figure in judged.failing(gate)


def test_options_of_the_export_widen_the_firewall_and_no_further(batches: dict[str, Any]) -> None:
    judged = Judged(batches["export-sft"])
    how = judged.manifest.how.model_copy(update={"parameters": {**judged.manifest.how.parameters, "include_partial": True}})
    judged.manifest = judged.manifest.model_copy(update={"how": how})
    judged.samples[0]["quality_score"] = "partially_accepted"
    assert judged.failing(SFT) == set()
    judged.samples[0]["quality_score"] = "needs_human_review"
    assert judged.failing(SFT) == {"samples that are not accepted"}


def test_injected_times_are_no_part_of_the_digest(batches: dict[str, Any]) -> None:
    judged = Judged(batches["export-sft"])
    judged.samples[0]["created_at"] = "2030-01-01T00:00:00Z"
    judged.samples[0]["provenance"]["recorded_at"] = "2030-01-01T00:00:00Z"
    assert judged.failing(ACCOUNTS) == set()


def test_a_batch_without_its_digest_is_not_accounted_for(batches: dict[str, Any]) -> None:
    judged = Judged(batches["export-sft"])
    judged.attachment = lambda name: None
    assert "the rows are those that were exported" in judged.failing(ACCOUNTS)
    assert measures.declared_timeless(SimpleNamespace(attachment=lambda name: b'{"sha256": 7}')) is None
