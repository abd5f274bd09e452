"""Strategies for evidence, scores and samples, and one small document of each format."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from strategies import COUNT, SHA, TEXT, maybe

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.evidence import (
    SAMPLE_SCORES,
    EvidenceRecord,
    ModelLedgerEntry,
    Playbook,
    PreferenceSample,
    Provenance,
    QuarantineEntry,
    RagSample,
    ScoredRun,
    SftSample,
    Skip,
    StageState,
    StreamState,
    Tally,
    Written,
    sample_id,
)
from pytest_distill.contracts.quarantine import EXPORT_REASONS, Reason

NOW = "2026-01-31T12:00:00Z"
TIME = st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")
WORD = st.text("abc äß:/", min_size=1, max_size=12).filter(str.strip)
NUMBER = st.floats(0, 1e9)
WORDS = st.lists(WORD, max_size=3).map(tuple)
SOME_WORDS = st.lists(WORD, min_size=1, max_size=3).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBER | TEXT, lambda inner: st.lists(inner, max_size=2), max_leaves=4
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)


provenance = st.builds(Provenance, source_file=WORD, line_offset=COUNT, sig_hash=SHA, line_hash=SHA, recorded_at=TIME)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True)
evidence = st.builds(
    EvidenceRecord, run_id=WORD, task_id=WORD, timestamp=TIME, provenance=provenance, source=maybe(NAME),
    source_class=st.sampled_from([None, "verdict-bearing", "telemetry-rich", "extraction"]),
    scored_by=st.sampled_from([None, "attempts", "verdict", "severity", "applied", "events", "grounding", "markers", "join"]),
    task_type=maybe(TEXT), model_name=maybe(TEXT), model_provider=maybe(TEXT),
    model_role=st.sampled_from([None, "executor", "reviewer", "extractor", "applier", "other"]),
    success_markers=WORDS, failure_markers=WORDS, observer_verdict=st.sampled_from([None, "accept", "reject", "cycle"]),
    validation_results=maybe(OBJECT), retrieved_context=maybe(TEXT), file=maybe(TEXT), instruction=maybe(TEXT), text=maybe(TEXT),
    latency_ms=maybe(NUMBER), cost=maybe(NUMBER), prompt_tokens=maybe(COUNT), completion_tokens=maybe(COUNT), metadata=OBJECT,
)  # fmt: skip
scored = st.builds(
    ScoredRun, evidence_run_id=WORD, evidence_task_id=WORD,
    category=st.sampled_from(["accepted", "partially_accepted", "rejected", "needs_human_review"]), reasons=SOME_WORDS,
    sub_scores=st.dictionaries(TEXT, NUMBER, max_size=2), joined_run_id=maybe(WORD), scored_at=TIME, scorer_version=WORD,
    provenance=provenance,
)  # fmt: skip


@st.composite
def rag(draw: st.DrawFn) -> RagSample:
    run, place, category = draw(WORD), draw(provenance), draw(st.sampled_from(sorted(SAMPLE_SCORES)))
    return RagSample(
        id=sample_id(run, place.sig_hash), title=draw(WORD), content=draw(WORD), tags=draw(WORDS), source_run_id=run,
        source_category=category, success_score=SAMPLE_SCORES[category], created_at=draw(TIME), provenance=place,
    )  # fmt: skip


@st.composite
def sft(draw: st.DrawFn) -> SftSample:
    run, place = draw(WORD), draw(provenance)
    return SftSample(
        id=sample_id(run, place.sig_hash), instruction=draw(WORD), context=draw(TEXT), response=draw(WORD), source_run_id=run,
        quality_score=draw(st.sampled_from(["accepted", "partially_accepted"])), created_at=draw(TIME), provenance=place,
    )  # fmt: skip


@st.composite
def preference(draw: st.DrawFn) -> PreferenceSample:
    run, other = draw(st.lists(WORD, min_size=2, max_size=2, unique=True))
    a, b = draw(provenance), draw(provenance)
    text = draw(WORD)
    return PreferenceSample(
        id=sample_id(run, a.sig_hash, other, b.sig_hash), prompt=draw(WORD), chosen=text, rejected=f"{text} no",
        reason=draw(WORD), task_id=draw(WORD), rejected_task_id=draw(WORD),
        chosen_run_id=run, rejected_run_id=other, created_at=draw(TIME),
        provenance=a, rejected_provenance=b,
    )  # fmt: skip


playbook = st.builds(
    Playbook, playbook_id=SHA, task_type=WORD, problem_pattern=WORD, useful_context=WORDS, model_routing_path=WORDS,
    commands_worked=WORDS, commands_failed=WORDS, validation_steps=WORDS, repo_files_touched=WORDS, recovery_strategy=WORDS,
    known_failure_modes=WORDS, escalation_threshold=st.integers(1, 9), acceptance_criteria=SOME_WORDS, source_run_ids=SOME_WORDS,
    created_at=TIME, provenance=provenance,
)  # fmt: skip


@st.composite
def ledger_entries(draw: st.DrawFn) -> ModelLedgerEntry:
    a, p, r = draw(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)).filter(lambda counts: sum(counts) > 0))
    rate = round(a / (a + p + r), 6)
    return ModelLedgerEntry(
        model=draw(WORD), task_type=draw(WORD), success_rate=rate, sample_count=a + p + r, accepted=a, partially_accepted=p,
        rejected=r,
    )  # fmt: skip


quarantined = st.builds(
    QuarantineEntry, exporter=st.sampled_from(["export-rag", "export-sft", "export-preference"]),
    reason=st.sampled_from(EXPORT_REASONS), source_record=OBJECT, errors=SOME_WORDS, provenance=provenance,
) | st.builds(
    QuarantineEntry, exporter=st.just("export-sft"), reason=st.just(Reason.MISSING_PROVENANCE), source_record=OBJECT,
    errors=SOME_WORDS, provenance=st.none(),
)  # fmt: skip
skip = st.builds(
    Skip, source_file=WORD, line=st.integers(1, 9), line_offset=COUNT, line_hash=SHA, reason=st.just("torn_line"), message=WORD,
    recorded_at=TIME,
)  # fmt: skip
tally = st.builds(Tally, bytes=COUNT, lines=COUNT, rows=COUNT, skipped=COUNT, sha256=SHA)
written = st.lists(st.builds(Written, path=WORD, bytes=COUNT, rows=COUNT, sha256=SHA), max_size=2).map(tuple)

WRITTEN: dict[str, st.SearchStrategy[Contract]] = {
    "evidence_record": evidence,
    "scored_run": scored,
    "rag_sample": rag(),
    "sft_sample": sft(),
    "preference_sample": preference(),
    "playbook": playbook,
    "model_ledger_entry": ledger_entries(),
    "export_quarantine": quarantined,
    "evidence_skip": skip,
    "stream_state": st.builds(
        StreamState, stream=NAME, source_file=WORD, transform_sha256=SHA, complete=tally, whole=tally, outputs=written
    ),
    "stage_state": st.builds(StageState, stage=WORD, key=SHA, outputs=written, counts=st.dictionaries(TEXT, COUNT, max_size=2)),
}

_SHA, _OTHER = "0" * 64, "1" * 64
PLACE = Provenance(source_file="a.jsonl", line_offset=0, sig_hash=_SHA, line_hash=_OTHER, recorded_at=NOW)
_SAMPLE: dict[str, Any] = {"created_at": NOW, "provenance": PLACE}
# One document of each format, small and valid.
ONE: dict[str, Contract] = {
    "evidence_record": EvidenceRecord(run_id="r", task_id="t", timestamp=NOW, provenance=PLACE),
    "scored_run": ScoredRun(
        evidence_run_id="r", evidence_task_id="t", category="accepted", reasons=("said so",), scored_at=NOW, scorer_version="1",
        provenance=PLACE,
    ),
    "rag_sample": RagSample(
        id=sample_id("r", _SHA), title="t", content="c", tags=(), source_run_id="r", source_category="accepted",
        success_score=1.0, **_SAMPLE,
    ),
    "sft_sample": SftSample(
        id=sample_id("r", _SHA), instruction="i", context="", response="a", source_run_id="r", quality_score="accepted", **_SAMPLE
    ),
    "preference_sample": PreferenceSample(
        id=sample_id("r", _SHA, "s", _SHA), prompt="p", chosen="a", rejected="b", reason="why", task_id="t", rejected_task_id="t",
        chosen_run_id="r", rejected_run_id="s", rejected_provenance=PLACE, **_SAMPLE,
    ),
    "playbook": Playbook(
        playbook_id=_SHA, task_type="t", problem_pattern="p", escalation_threshold=1, acceptance_criteria=("c",),
        source_run_ids=("r",), **_SAMPLE,
    ),
    "model_ledger_entry": ModelLedgerEntry(
        model="m", task_type="t", success_rate=0.5, sample_count=2, accepted=1, partially_accepted=0, rejected=1
    ),
    "export_quarantine": QuarantineEntry(
        exporter="export-sft", reason=Reason.EMPTY_CONTENT, source_record={}, errors=("no text",), provenance=PLACE
    ),
    "evidence_skip": Skip(
        source_file="a.jsonl", line=1, line_offset=0, line_hash=_SHA, reason="torn_line", message="m", recorded_at=NOW
    ),
    "stream_state": StreamState(
        stream="s", source_file="a.jsonl", transform_sha256=_SHA, complete=Tally(sha256=_SHA), whole=Tally(sha256=_SHA),
        outputs=(),
    ),
    "stage_state": StageState(stage="score", key=_SHA, outputs=()),
}  # fmt: skip
