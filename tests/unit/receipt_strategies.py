"""Strategies for receipts, summaries of runs and drift reports: whatever a stage may have read, written and counted."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import COUNT, SHA, TEXT

from pytest_distill.contracts.audit import METRICS, AuditCheck, AuditReport, BaselineEntry
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.receipts import (
    Datasets,
    Delta,
    FileDigest,
    NotRun,
    RecordCounts,
    RunSummary,
    StageReceipt,
    Validation,
    io_hash,
    pct_change,
    run_hash,
)
from pytest_distill.stages import drift

GIT = st.text("0123456789abcdef", min_size=40, max_size=40)
STAGE = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)
RUN_ID = st.integers(1, 10**7).map(lambda number: f"{number:06d}")
TIME = st.just("2026-01-31T12:00:00Z")
PART = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,5}", fullmatch=True)
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join) | PART.map(lambda name: f"outside:{name}")
FILES = st.lists(
    st.builds(FileDigest, path=PATH, sha256=SHA, timeless_sha256=st.none() | SHA, rows=st.none() | COUNT), max_size=4
).map(tuple)
COUNTS = st.fixed_dictionaries(dict.fromkeys(RecordCounts.model_fields, COUNT)).map(RecordCounts.model_validate)
PARAMETERS = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT | st.floats(-9, 9), max_size=3)


@st.composite
def receipts(draw: st.DrawFn, stage: st.SearchStrategy[str] = STAGE) -> StageReceipt:
    inputs, outputs, parameters, counts = draw(FILES), draw(FILES), draw(PARAMETERS), draw(COUNTS)
    completed = draw(st.booleans())
    errors = tuple(draw(st.lists(TEXT, min_size=0 if completed else 1, max_size=3)))
    return StageReceipt(
        run_id=draw(RUN_ID), stage=draw(stage), position=draw(st.integers(1, 9)), git_sha=draw(st.none() | GIT),
        version=draw(TEXT), parameters=parameters, inputs=inputs, outputs=outputs, input_hash=io_hash(inputs, parameters),
        output_hash=io_hash(outputs), record_counts=counts, materialised=draw(st.dictionaries(TEXT, COUNT, max_size=3)),
        validation=Validation(passed=counts.skipped == 0 and not errors, errors=errors), completed=completed,
        started_at=draw(TIME), duration_seconds=draw(st.floats(0, 1e6)),
    )  # fmt: skip


@st.composite
def summaries(draw: st.DrawFn) -> RunSummary:
    names = draw(st.lists(STAGE, max_size=3, unique=True))
    lines = tuple(draw(receipts(st.just(name))).line() for name in names)
    not_run = tuple(draw(st.lists(st.builds(NotRun, stage=STAGE, why=st.text(min_size=1, max_size=9)), max_size=1)))
    return RunSummary(
        run_id=draw(RUN_ID), pipeline=draw(TEXT), subject=draw(TEXT), version=draw(TEXT), stages=lines, not_run=not_run,
        totals=sum((line.record_counts for line in lines), RecordCounts()), datasets=Datasets(rag=draw(st.none() | COUNT)),
        overall_passed=bool(lines) and not not_run and all(line.passed and line.completed for line in lines),
        run_hash=run_hash(lines), started_at=draw(TIME), duration_seconds=draw(st.floats(0, 1e6)),
    )  # fmt: skip


reports = st.builds(drift.compare, summaries(), summaries(), warn_percent=st.floats(1, 100))

METRIC_VALUES = st.fixed_dictionaries(dict.fromkeys(METRICS, COUNT))


@st.composite
def audits(draw: st.DrawFn) -> AuditReport:
    check = st.builds(AuditCheck, phase=st.integers(0, 7), name=st.text(min_size=1, max_size=9), ok=st.booleans(), detail=TEXT)
    checks = tuple(draw(st.lists(check, max_size=9)))
    now, prior = draw(METRIC_VALUES), draw(METRIC_VALUES)
    changes = (
        Delta(name=name, prior=prior[name], now=now[name], pct_change=pct_change(prior[name], now[name])) for name in METRICS
    )
    return AuditReport(
        checks=checks, metrics=now, changes=tuple(changes), warnings=(draw(TEXT),), warn_percent=draw(st.floats(1, 100)),
        passed={check.phase for check in checks} == set(range(8)) and all(check.ok for check in checks),
    )  # fmt: skip


_EMPTY = RunSummary(
    run_id="000001", pipeline="run-all", version="1", stages=(), totals=RecordCounts(), overall_passed=False,
    run_hash=run_hash(()), started_at="", duration_seconds=0.5,
)  # fmt: skip
# One document of each format, small and valid.
ONE: dict[str, Contract] = {
    "receipt": StageReceipt(
        run_id="000001", stage="collect", position=1, version="1", input_hash=io_hash(()), output_hash=io_hash(()),
        validation=Validation(passed=True), completed=True, started_at="", duration_seconds=0.5,
    ),
    "run_summary": _EMPTY,
    "drift": drift.compare(_EMPTY, _EMPTY, warn_percent=20.0),
    "audit": AuditReport(checks=(), metrics=dict.fromkeys(METRICS, 0), warn_percent=20.0, passed=False),
    "audit_baseline": BaselineEntry(metrics=dict.fromkeys(METRICS, 0), recorded_at=""),
}  # fmt: skip

WRITTEN: dict[str, st.SearchStrategy[Contract]] = {
    "receipt": receipts(),
    "run_summary": summaries(),
    "drift": reports,
    "audit": audits(),
    "audit_baseline": st.builds(BaselineEntry, metrics=METRIC_VALUES, recorded_at=TEXT),
}
