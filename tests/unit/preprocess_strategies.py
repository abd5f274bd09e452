"""Strategies for what a preprocessing run keeps on disk, and says of itself in its batch."""

from __future__ import annotations

import base64

from hypothesis import strategies as st
from strategies import COUNT, SHA, TEXT

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.preprocess import (
    Cursor,
    DiagnosticFigures,
    Freeze,
    PreprocessRun,
    PreprocessSummary,
    ResumeState,
    RngState,
    SourceRead,
    StoredUnit,
)

DIGEST = SHA.map(lambda digest: f"sha256:{digest}")
SOME = st.integers(1, 2**40)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
NUMBER = st.none() | st.floats(-1e9, 1e9)
THRESHOLD = NUMBER | TEXT | st.integers(-9, 9) | st.booleans() | st.lists(TEXT, max_size=3).map(tuple)
ENCODED = st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode())

rng = st.builds(RngState, python=ENCODED, numpy=ENCODED)
freeze = st.builds(
    Freeze, pipeline=TEXT, pipeline_version=TEXT, thresholds=st.dictionaries(TEXT, THRESHOLD, max_size=3),
    scorer_prompts=st.dictionaries(TEXT, SHA, max_size=2), models=st.dictionaries(TEXT, SHA, max_size=2),
    tokenizer=st.none() | st.dictionaries(TEXT, st.none() | TEXT, max_size=2),
)  # fmt: skip
figures = st.builds(
    DiagnosticFigures, bound=NUMBER, promoted=st.booleans(), rows=COUNT, over=COUNT, mean=NUMBER, median=NUMBER, p95=NUMBER,
    max=NUMBER,
)  # fmt: skip


@st.composite
def states(draw: st.DrawFn) -> ResumeState:
    done, docs = draw(st.booleans()), draw(COUNT)
    return ResumeState(
        stage=draw(TEXT), started_at=draw(TEXT), completed_at=draw(TEXT) if done else None,
        status="completed" if done else "running", rng_state=draw(rng),
        cursor=Cursor(source=draw(st.none() | TEXT), shard_dir=draw(st.none() | TEXT), local_doc_count=docs),
        last_record_digest=draw(DIGEST) if docs else None, manifest_digest=draw(DIGEST), pipeline_version=draw(TEXT),
        git_sha=draw(st.none() | TEXT),
    )  # fmt: skip


@st.composite
def summaries(draw: st.DrawFn) -> PreprocessSummary:
    kept, dropped = draw(COUNT), draw(st.dictionaries(TEXT, COUNT, max_size=3))
    return PreprocessSummary(
        freeze=draw(freeze), read=kept + sum(dropped.values()), kept=kept, dropped=dropped, retention=draw(st.floats(0, 1)),
        languages=draw(st.dictionaries(TEXT, COUNT, max_size=3)), diagnostics=draw(st.dictionaries(TEXT, figures, max_size=2)),
    )  # fmt: skip


units = st.builds(
    StoredUnit, path=NAME, sha256=SHA, first=COUNT, docs=SOME, source=COUNT, source_docs=SOME, source_records_sha256=SHA,
    last_record_digest=DIGEST,
)  # fmt: skip
runs = st.builds(
    PreprocessRun, id=TEXT, kind=st.sampled_from(["text", "sft"]), what=TEXT, why=TEXT, freeze=freeze, unit_rows=SOME,
    sources=st.lists(TEXT, max_size=3).map(tuple), options=st.dictionaries(TEXT, THRESHOLD, max_size=3),
    tools=st.dictionaries(TEXT, TEXT, max_size=3), command=st.lists(TEXT, max_size=3).map(tuple),
)  # fmt: skip

WRITTEN: dict[str, st.SearchStrategy[Contract]] = {
    "state_stage": states(),
    "preprocess_run": runs,
    "preprocess_unit": units,
    "preprocess_source": st.builds(SourceRead, source=COUNT, name=TEXT, sha256=SHA, bytes=COUNT, docs=COUNT),
    "preprocess": summaries(),
}

_SHA = "0" * 64
_FREEZE = Freeze(pipeline="preprocess", pipeline_version="v1", thresholds={})
# One document of each format, small and valid.
ONE: dict[str, Contract] = {
    "state_stage": ResumeState(
        stage="clean", started_at="", completed_at=None, status="running", rng_state=RngState(python="", numpy=""),
        cursor=Cursor(source=None, shard_dir=None, local_doc_count=0), last_record_digest=None, manifest_digest=f"sha256:{_SHA}",
        pipeline_version="v1", git_sha=None,
    ),
    "preprocess_run": PreprocessRun(
        id="a", kind="text", what="", why="", freeze=_FREEZE, unit_rows=1, sources=(), options={}, tools={}, command=()
    ),
    "preprocess_unit": StoredUnit(
        path="a", sha256=_SHA, first=0, docs=1, source=0, source_docs=1, source_records_sha256=_SHA,
        last_record_digest=f"sha256:{_SHA}",
    ),
    "preprocess_source": SourceRead(source=0, name="", sha256=_SHA, bytes=0, docs=0),
    "preprocess": PreprocessSummary(freeze=_FREEZE, read=1, kept=1, dropped={}, retention=1, languages={}, diagnostics={}),
}  # fmt: skip
