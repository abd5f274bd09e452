"""Strategies for replay runs and studies."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from strategies import COUNT, SHA, TEXT

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import ModelUse
from pytest_distill.contracts.replay import (
    Bundle,
    BundleItem,
    Compared,
    Escalation,
    EscalationWindow,
    ReplayAudit,
    ReplayFinding,
    ReplayRun,
    ReplayStudy,
    ReplayValidation,
    task_hash,
)
from pytest_distill.pipelines.replay.replay import run_of

SHARE = st.floats(0, 1)
MODEL = st.builds(ModelUse, name=TEXT, revision=TEXT, weights_sha256=st.none() | SHA)


def items(category: str, most: int) -> st.SearchStrategy[tuple[BundleItem, ...]]:
    item = st.builds(BundleItem, rag_id=TEXT, title=TEXT, content=TEXT, category=st.just(category), similarity=SHARE)
    return st.lists(item, max_size=most).map(tuple)


BUNDLE = st.builds(
    Bundle, exemplars=items("accepted", 3), warnings=items("partially_accepted", 2),
    validation_steps=st.lists(TEXT, max_size=2).map(tuple),
)  # fmt: skip
FINDING = st.builds(ReplayFinding, code=st.sampled_from(["empty", "hedge", "hallucinated_file_path"]), found=TEXT, message=TEXT)


@st.composite
def validations(draw: st.DrawFn, *, passed: bool | None = None) -> ReplayValidation:
    passed = draw(st.booleans()) if passed is None else passed
    ungrounded, grounded = tuple(draw(st.lists(TEXT, max_size=2))), draw(COUNT)
    return ReplayValidation(
        passed=passed, findings=() if passed else (draw(FINDING),), words=draw(COUNT),
        checklist_overlap=draw(st.none() | SHARE),
        audit=ReplayAudit(claims=grounded + len(ungrounded), grounded=grounded, ungrounded=ungrounded),
    )  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> ReplayRun:
    task, validation = draw(TEXT.filter(str.strip)), draw(validations())
    retrieval = draw(st.booleans())
    bundle = draw(BUNDLE) if retrieval else Bundle()
    escalation = st.builds(
        Escalation, model=MODEL, reason=TEXT, output=TEXT, validation=validations(), prompt_tokens=COUNT, completion_tokens=COUNT,
        cost=st.floats(0, 1e6),
    )  # fmt: skip
    return run_of(
        schema_version=1, task=task, task_hash=task_hash(task), retrieval=retrieval,
        rag_ids=tuple(item.rag_id for item in bundle.items), bundle=bundle, corpus_sha256=draw(st.none() | SHA),
        prompt=draw(TEXT), model=draw(MODEL), seed=draw(st.integers()), output=draw(TEXT), prompt_tokens=draw(COUNT),
        completion_tokens=draw(COUNT),
        finish_reason="stop", validation=validation, accepted=validation.passed and not validation.audit.ungrounded,
        escalation=None if validation.passed else draw(st.none() | escalation), recorded_at="2026-01-31T12:00:00Z",
    )  # fmt: skip


@st.composite
def studies(draw: st.DrawFn) -> ReplayStudy:
    outcomes = draw(st.tuples(COUNT, COUNT, COUNT, st.integers(1, 99)))
    interval = st.tuples(st.floats(-1, 1), st.floats(-1, 1))
    compared = st.builds(
        Compared, figure=TEXT, with_retrieval=SHARE, without_retrieval=SHARE, difference=st.floats(-1, 1), interval=interval,
        p_value=st.none() | SHARE,
    )  # fmt: skip
    window = st.builds(
        EscalationWindow, first=st.integers(1, 99), runs=st.integers(1, 50), wanted=COUNT, escalated=COUNT, share=SHARE,
        interval=interval,
    )  # fmt: skip
    return ReplayStudy(
        tasks=sum(outcomes), tasks_sha256=draw(SHA), corpus_sha256=draw(SHA), model=draw(MODEL), seed=draw(st.integers()),
        room=draw(COUNT), max_new_tokens=draw(COUNT), both_passed=outcomes[0], only_with=outcomes[1], only_without=outcomes[2],
        neither=outcomes[3], compared=tuple(draw(st.lists(compared, max_size=2))),
        escalation=tuple(draw(st.lists(window, max_size=2))),
    )  # fmt: skip


_RUN: dict[str, Any] = {
    "schema_version": 1, "task": "t", "task_hash": task_hash("t"), "retrieval": False, "rag_ids": (), "bundle": Bundle(),
    "corpus_sha256": None, "prompt": "p", "model": ModelUse(name="m", revision="r"), "seed": 0, "output": "o", "prompt_tokens": 1,
    "completion_tokens": 1, "finish_reason": "stop", "accepted": True, "escalation": None, "recorded_at": "",
    "validation": ReplayValidation(passed=True, words=1, checklist_overlap=None, audit=ReplayAudit(claims=0, grounded=0)),
}  # fmt: skip
ONE: dict[str, Contract] = {
    "replay_run": run_of(**_RUN),
    "replay_study": ReplayStudy(
        tasks=1, tasks_sha256="0" * 64, corpus_sha256="0" * 64, model=ModelUse(name="m", revision="r"), seed=0, room=1,
        max_new_tokens=1, both_passed=1, only_with=0, only_without=0, neither=0, compared=(), escalation=(),
    ),
}  # fmt: skip
WRITTEN: dict[str, st.SearchStrategy[Contract]] = {"replay_run": runs(), "replay_study": studies()}
