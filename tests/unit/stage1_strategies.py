"""Any candidate, summary, session and inspection of Stage 1, for tests of their formats."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from strategies import COUNT, SHA, TEXT, maybe, several

from pytest_distill.contracts import stage1
from pytest_distill.contracts.inspection import Decision, Inspection
from pytest_distill.contracts.stage1 import (
    Acceptance,
    Artifact,
    Budgets,
    Candidate,
    Distribution,
    Environment,
    Guards,
    Histogram,
    Margins,
    QcCounts,
    QcSummary,
    Rates,
    Sentinel,
    SessionManifest,
    SftRecord,
    StoredCritique,
    Thresholds,
)

LOGP = st.floats(-50, 0, allow_nan=False)
SHARE = st.floats(0, 1)
WORD = st.text("abc äß", min_size=1, max_size=8).filter(str.strip)
GIT = st.text("0123456789abcdef", min_size=40, max_size=40)
TIME = st.just("2026-01-31T12:00:00Z")


def critique(logp_a: float, logp_b: float, threshold: float = 1.0) -> StoredCritique:
    margin = abs(logp_a - logp_b)
    return StoredCritique(
        is_good=logp_a > logp_b, predicted_label="A" if logp_a > logp_b else "B", logp_a=logp_a, logp_b=logp_b, margin=margin,
        confident=margin >= threshold, confidence_threshold=threshold,
    )  # fmt: skip


accepted = st.floats(-2, 0).map(lambda logp: critique(logp, logp - 3.0))
generation = st.builds(
    stage1.Generation, seed=st.integers(), temperature=SHARE, top_p=st.floats(0.1, 1), repetition_penalty=st.floats(0.5, 2),
    max_new_tokens=st.integers(1, 99), do_sample=st.booleans(),
)  # fmt: skip
metadata = st.builds(
    stage1.Metadata, git_commit=GIT, timestamp=TIME, loader_version=WORD, model_name=WORD, model_revision=WORD,
    quantization=maybe(TEXT), template_disabled=st.booleans(), add_special_tokens=st.booleans(), tokenizer_name=WORD,
    tokenizer_hash=SHA, script_name=WORD, artifact_type=WORD, generation=generation,
)  # fmt: skip
answered: dict[str, st.SearchStrategy[Any]] = {
    "id": WORD, "index": COUNT, "instruction": WORD, "response": WORD, "prompt": WORD, "completion": WORD,
    "instruction_critique": accepted, "pair_critique": st.just(critique(-3.0, -7.5)), "raw_tokens": COUNT, "clean_tokens": COUNT,
    "hit_token_limit": st.booleans(), "trim_rule": st.sampled_from([None, "delimiter", "line_start"]), "metadata": metadata,
}  # fmt: skip
sft = st.builds(SftRecord, **answered)
candidate = st.builds(
    Candidate, **answered, candidate_status=st.sampled_from(["kept", "duplicate", "surplus"]), instruction_prompt=WORD,
    instruction_completion=TEXT,
) | st.builds(
    Candidate, id=WORD, index=COUNT, instruction=WORD, instruction_prompt=WORD, instruction_completion=TEXT,
    candidate_status=st.just("instruction_bad"), metadata=metadata, instruction_critique=st.just(critique(-5.0, -0.5)),
    prompt=st.none(), completion=st.none(), response=st.none(), pair_critique=st.none(), raw_tokens=st.none(),
    clean_tokens=st.none(), hit_token_limit=st.none(), trim_rule=st.none(),
)  # fmt: skip
histogram = st.sets(st.floats(0, 100), min_size=2, max_size=4).flatmap(
    lambda edges: st.builds(
        Histogram,
        edges=st.just(tuple(sorted(edges))),
        counts=st.lists(COUNT, min_size=len(edges) - 1, max_size=len(edges) - 1).map(tuple),
    )
)
FIGURE = maybe(st.floats(0, 100))
figures = st.builds(
    Distribution, count=COUNT, median=FIGURE, mean=FIGURE, p95=FIGURE, min=FIGURE, max=FIGURE, unit=TEXT, histogram=histogram
)
qc = st.builds(
    QcSummary,
    counts=st.builds(QcCounts, **dict.fromkeys(QcCounts.model_fields, COUNT)),
    acceptance=st.builds(Acceptance, **dict.fromkeys(Acceptance.model_fields, COUNT)),
    token_stats=figures, margins=st.builds(Margins, instruction=figures, pair=figures),
    thresholds=st.builds(Thresholds, max_runaway_share=SHARE, max_delimiter_leaks=COUNT),
    rates=st.builds(
        Rates, instruction_acceptance=maybe(SHARE), pair_acceptance=maybe(SHARE), token_limit=maybe(SHARE), runaway=maybe(SHARE),
        delimiter_leaks=COUNT,
    ),
    thresholds_passed=st.just(value=False), failed_reasons=several(TEXT, 1),
)  # fmt: skip
sentinel = st.builds(
    Sentinel, name=st.sampled_from(["pig_latin", "completion"]), shape=st.just("bare"), prompt=WORD, output=TEXT,
    output_tokens=st.just(30), finish_reason=st.sampled_from(["length", "stop"]),
    expected=st.sampled_from(["not_followed", "completed"]), passed=st.booleans(),
)  # fmt: skip
session = st.builds(
    SessionManifest, session_id=WORD, session_start=TIME, purpose=st.sampled_from(["pilot", "scale", "holdout"]), git_commit=GIT,
    git_branch=maybe(TEXT), git_dirty=st.booleans(), environment=st.builds(Environment, hostname=TEXT, python=TEXT),
    artifacts_generated=several(st.builds(Artifact, path=WORD, type=WORD, sha256=SHA, timestamp=TIME)), loader_version=WORD,
    guards=st.builds(
        Guards, template_found=st.booleans(), template_cleared=st.booleans(), delta_check=st.integers(), template_ids_seen=COUNT,
        inputs_checked=COUNT,
    ),
    sentinels=several(sentinel), budgets=st.builds(Budgets, gpu_hours_estimate=maybe(SHARE), max_cost=st.none()),
    timeouts=st.dictionaries(TEXT, SHARE, max_size=2), notes=TEXT,
)  # fmt: skip


@st.composite
def inspections(draw: st.DrawFn) -> Inspection:
    rows = tuple(sorted(draw(st.sets(COUNT, max_size=4))))
    judged = st.builds(
        Decision, row=COUNT, judgement=st.sampled_from(["good", "bad", "unsure"]), reason=WORD, who=WORD, at=TIME,
        verifier=st.none() | SHA, seconds=st.none() | st.floats(0, 900),
    )  # fmt: skip
    decisions = tuple(draw(judged).model_copy(update={"row": row}) for row in rows if draw(st.booleans()))
    return Inspection(batch=draw(WORD), batch_sha256=draw(SHA), rows=rows, decisions=decisions)


WRITTEN: dict[str, st.SearchStrategy[Any]] = {
    "sft": sft,
    "candidate": candidate,
    "qc_summary": qc,
    "session_manifest": session,
    "inspection": inspections(),
}
