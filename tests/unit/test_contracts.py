"""Every format that we write: what comes back is what was written, and what was not written by us is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import bulk_strategies
import domain_strategies
import evidence_strategies
import grading_strategies
import inspection_strategies
import jsonschema
import preprocess_strategies
import pytest
import receipt_strategies
import replay_strategies
import stage1_run_strategies
import token_strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_distill.contracts import (
    attestation,
    audit,
    calibration,
    evidence,
    fidelity,
    grading,
    inspection,
    ledger,
    manifest,
    preprocess,
    receipts,
    replay,
    run,
    stage1,
    stage1_run,
    tokens,
)
from pytest_distill.contracts.attestation import (
    Digest,
    Envelope,
    Resource,
    Results,
    Seal,
    Signature,
    Subject,
    Summary,
    Verdict,
    Verifier,
)
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.export_schemas import FOLDER, FORMATS, schema
from pytest_distill.contracts.inspection import Decision, Inspection
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.contracts.manifest import Counts, Created, How, Manifest, Shard, Source
from pytest_distill.contracts.run import Bound, Example, Figure, GateRecord, MeasureRecord, Rows, RunRecord, RunTimes, Waiver
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
from pytest_distill.errors import Code, DistillError

# -- strategies: one per model, from its own annotations, with the patterns that annotations cannot tell -------------------

TEXT = st.text(max_size=20)
SHA = st.text("0123456789abcdef", min_size=64, max_size=64)
NUMBER = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
SCALAR = NUMBER | TEXT | st.booleans()
NAME = st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}"), fullmatch=True)
URI = st.from_regex(re.compile(r"[a-z][a-z0-9+.-]{0,5}:[\x21-\x7e]{1,20}"), fullmatch=True)
COUNT = st.integers(0, 2**40)


def several(strategy: st.SearchStrategy[Any], smallest: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=smallest, max_size=3).map(tuple)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


bound = st.builds(Bound, op=st.sampled_from(["below", "at_most", "above", "at_least", "equals"]), value=SCALAR)
figure = st.builds(Figure, name=TEXT, value=maybe(SCALAR), bound=maybe(bound), ok=st.booleans(), unit=maybe(TEXT), rows=COUNT)
example = st.builds(Example, row=COUNT, id=TEXT, source=TEXT, line=COUNT, text=TEXT, start=maybe(COUNT), end=maybe(COUNT))
waiver = st.builds(Waiver, gate=TEXT, reason=TEXT, who=TEXT, expires=TEXT)
limits = st.dictionaries(TEXT, maybe(SCALAR | several(TEXT)), max_size=3)
gate = st.builds(
    GateRecord, id=TEXT, title=TEXT, kind=st.sampled_from(["row", "batch"]), severity=st.sampled_from(["block", "warn"]),
    status=st.sampled_from(["passed", "failed", "warned", "waived", "not_applicable", "did_not_run"]), why=several(TEXT),
    figures=several(figure), rows_seen=COUNT, rejected=COUNT, reason_code=maybe(TEXT), examples=several(example),
    origin=st.sampled_from(["standard", "workspace", "policy"]), source=maybe(TEXT), source_sha256=maybe(SHA), limits=limits,
    waiver=maybe(waiver),
)  # fmt: skip
measure = st.builds(MeasureRecord, name=TEXT, version=COUNT, status=st.sampled_from(["ok", "failed"]), error=maybe(TEXT))
record = st.builds(
    RunRecord, run_id=TEXT, batch_id=NAME, batch_sha256=SHA, kind=TEXT,
    verdict=st.sampled_from(["PASSED", "FAILED", "INCOMPLETE"]), findings=several(TEXT), policy_sha256=SHA, gates_sha256=SHA,
    plugins=several(TEXT), plugins_sha256=SHA, required=several(TEXT),
    gates=several(gate), rows=st.builds(Rows, batch=COUNT, quarantined=COUNT, remaining=COUNT), quarantine_sha256=maybe(SHA),
    measures=several(measure),
)  # fmt: skip
times = st.builds(
    RunTimes, started_at=TEXT, finished_at=TEXT, seconds=NUMBER.map(float), scans=COUNT,
    measure_seconds=st.dictionaries(TEXT, NUMBER.map(float), max_size=3), command=several(TEXT),
)  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    shards = tuple(
        Shard(path=f"rows-{number}.parquet", rows=rows, sha256=draw(SHA))
        for number, rows in enumerate(draw(st.lists(COUNT, max_size=3)))
    )
    kept, rejected = sum(s.rows for s in shards), draw(COUNT)
    columns = [manifest.Column(name=name, type="json", nulls="absent") for name in draw(st.sets(TEXT, max_size=3))]
    return Manifest(
        id=draw(NAME), kind="sft", origin="derived", what=draw(TEXT), why=draw(TEXT),
        how=How(pipeline=draw(TEXT), parameters=draw(st.dictionaries(TEXT, maybe(SCALAR), max_size=3))),
        seed=draw(maybe(st.integers())),
        counts=Counts(planned=draw(maybe(COUNT)), read=kept + rejected, kept=kept, quarantined=rejected),
        columns=tuple(columns), shards=shards, mapping=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        sources=(
            Source(
                name=draw(TEXT), sha256=draw(SHA), bytes=1, rows_read=kept + rejected, rows_kept=kept, rows_quarantined=rejected
            ),
        ),
        quarantine=Shard(path="quarantine.parquet", rows=rejected, sha256=draw(SHA)) if rejected else None,
    )  # fmt: skip


def aliased(model: type[Contract], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`st.builds` would guess the fields by their aliases too, as if they were others."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


digest = st.builds(Digest, sha256=SHA)
subject = st.builds(Subject, name=st.text(min_size=1, max_size=5), digest=digest)
resource = st.builds(Resource, name=maybe(TEXT), uri=maybe(URI), digest=digest)
results = aliased(
    Results, result=st.sampled_from(["PASSED", "WARNED", "FAILED"]), configuration=several(resource), passed_tests=several(TEXT),
    warned_tests=several(TEXT), failed_tests=several(TEXT),
)  # fmt: skip
verdict = aliased(Verdict, subject=several(subject, 1).map(lambda s: s[:1]), predicate=results)
summary = aliased(
    Summary, verifier=st.builds(Verifier, id=URI), resource_uri=URI, policy=resource, input_attestations=several(resource, 1),
    verified_levels=several(TEXT, 1), waivers=maybe(several(waiver)),
)  # fmt: skip
seal = aliased(Seal, subject=several(subject, 1).map(lambda s: s[:2]), predicate=summary)
envelope = st.builds(Envelope.around, st.binary(max_size=40), st.binary(max_size=40))
entry = st.builds(
    LedgerEntry, seq=st.integers(1, 2**40), at=TEXT, event=st.text(min_size=1, max_size=5), batch=maybe(TEXT),
    facts=st.dictionaries(TEXT, maybe(SCALAR | several(TEXT) | st.dictionaries(TEXT, COUNT, max_size=2)), max_size=3), prev=SHA,
)  # fmt: skip

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
    "manifest": manifests(),
    "created": st.builds(Created, created_at=TEXT, where=TEXT, command=several(TEXT)),
    "evidence": record,
    "run": times,
    "verdict": verdict,
    "seal": seal,
    "seal.dsse": envelope,
    "ledger": entry,
    "sft": sft,
    "candidate": candidate,
    "qc_summary": qc,
    "session_manifest": session,
    "inspection": inspections(),
    **bulk_strategies.WRITTEN,
    **inspection_strategies.WRITTEN,
    **domain_strategies.WRITTEN,
    **preprocess_strategies.WRITTEN,
    **token_strategies.WRITTEN,
    **receipt_strategies.WRITTEN,
    **replay_strategies.WRITTEN,
    **evidence_strategies.WRITTEN,
    **stage1_run_strategies.WRITTEN,
    **grading_strategies.WRITTEN,
}


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_is_read_is_what_was_written(name: str, data: st.DataObject) -> None:
    model = data.draw(WRITTEN[name])
    written = model.to_bytes()
    read = type(model).from_bytes(written, name=name)
    assert read == model
    assert read.to_bytes() == written, "types too: 1 is not 1.0 and not true"
    jsonschema.Draft202012Validator(json.loads(schema(name))).validate(json.loads(written))


NOW = "2026-01-31T12:00:00Z"
NOTHING = Distribution(
    count=0, median=None, mean=None, p95=None, min=None, max=None, unit="", histogram=Histogram(edges=(0, 1), counts=(0,))
)
ANSWER: dict[str, Any] = {
    "id": "a", "index": 0, "instruction": "Say 4.", "response": "4", "prompt": "Say 4.\n", "completion": " 4",
    "instruction_critique": critique(-0.25, -2.0), "pair_critique": critique(-0.5, -1.75), "raw_tokens": 1, "clean_tokens": 1,
    "hit_token_limit": False, "trim_rule": None,
    "metadata": stage1.Metadata(
        git_commit="a" * 40, timestamp=NOW, loader_version="1", model_name="m", model_revision="r", template_disabled=True,
        add_special_tokens=False, tokenizer_name="t", tokenizer_hash="0" * 64, script_name="s", artifact_type="sft",
        generation=stage1.Generation(
            seed=1, temperature=0, top_p=1, repetition_penalty=1, max_new_tokens=9, do_sample=False
        ),
    ),
}  # fmt: skip


def one(name: str) -> dict[str, Any]:
    """One document of a format, small and valid."""
    sha = "0" * 64
    base: dict[str, Contract] = {
        "manifest": Manifest(
            id="a", kind="sft", origin="ingested", what="", why="", how=How(pipeline="p"),
            counts=Counts(read=0, kept=0, quarantined=0),
            columns=(), sources=(), shards=(),
        ),
        "created": Created(created_at="", where=""),
        "evidence": RunRecord(
            run_id="r", batch_id="a", batch_sha256=sha, kind="sft", verdict="FAILED", policy_sha256=sha, gates_sha256=sha,
            plugins_sha256=sha, rows=Rows(batch=0, quarantined=0, remaining=0),
        ),
        "run": RunTimes(started_at="", finished_at="", seconds=0.5),
        "verdict": Verdict(
            subject=(Subject(name="a", digest=Digest(sha256=sha)),),
            predicate=Results(result="FAILED", configuration=(), passed_tests=(), warned_tests=(), failed_tests=()),
        ),
        "seal": Seal(
            subject=(Subject(name="a", digest=Digest(sha256=sha)),),
            predicate=Summary(
                verifier=Verifier(id="a:b"), resource_uri="a:b", policy=Resource(uri="a:b"),
                input_attestations=(Resource(uri="a:b"),),
                verified_levels=("x",),
            ),
        ),
        "seal.dsse": Envelope(payload="", signatures=(Signature(sig=""),)),
        "inspection": Inspection(batch="b", batch_sha256=sha, rows=()),
        "ledger": LedgerEntry(seq=1, at="", event="e", prev=sha),
        "sft": SftRecord(**ANSWER),
        "candidate": Candidate(**ANSWER, instruction_prompt="1.", instruction_completion="", candidate_status="kept"),
        "qc_summary": QcSummary(
            counts=QcCounts(**dict.fromkeys(QcCounts.model_fields, 0)),
            acceptance=Acceptance(**dict.fromkeys(Acceptance.model_fields, 0)),
            token_stats=NOTHING, margins=Margins(instruction=NOTHING, pair=NOTHING), thresholds=Thresholds(),
            rates=Rates(instruction_acceptance=None, pair_acceptance=None, token_limit=None, runaway=None, delimiter_leaks=0),
            thresholds_passed=False, failed_reasons=("nothing was generated",),
        ),
        "session_manifest": SessionManifest(
            session_id="s", session_start=NOW, purpose="pilot", git_commit="a" * 40, git_dirty=False,
            environment=Environment(hostname="", python=""), loader_version="1", sentinels=(),
            guards=Guards(template_found=False, template_cleared=False, delta_check=0, template_ids_seen=0, inputs_checked=0),
        ),
        **bulk_strategies.ONE,
        **inspection_strategies.ONE,
        **domain_strategies.ONE,
        **preprocess_strategies.ONE,
        **token_strategies.ONE,
        **receipt_strategies.ONE,
        **replay_strategies.ONE,
        **evidence_strategies.ONE,
        **stage1_run_strategies.ONE,
        **grading_strategies.ONE,
    }  # fmt: skip
    value: dict[str, Any] = json.loads(base[name].to_bytes())
    return value


def refused(name: str, value: Any) -> str:
    with pytest.raises(DistillError) as caught:
        FORMATS[name].from_bytes(json.dumps(value).encode(), name="the file")
    assert caught.value.code is Code.MANIFEST
    return caught.value.message


@pytest.mark.parametrize("name", FORMATS)
def test_unknown_fields_are_refused(name: str) -> None:
    assert "surprise" in refused(name, {**one(name), "surprise": 1})


@pytest.mark.parametrize("name", [name for name, model in FORMATS.items() if "schema_version" in model.model_fields])
@pytest.mark.parametrize("version", [0, "next", "1", None])
def test_unknown_versions_are_refused(name: str, version: Any) -> None:
    known = one(name)
    other = known["schema_version"] + 1 if version == "next" else version
    assert "schema_version" in refused(name, {**known, "schema_version": other})


@pytest.mark.parametrize("name", ["verdict", "seal"])
@pytest.mark.parametrize("field", ["_type", "predicateType"])
def test_statements_of_another_type_are_refused(name: str, field: str) -> None:
    assert field in refused(name, {**one(name), field: "https://example.org/v2"})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        Bound(op="below", value=number)
    assert "seconds" in refused("run", {**one("run"), "seconds": number})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": 1} x'])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(DistillError) as caught:
        RunTimes.from_bytes(data, name="run.json")
    assert caught.value.code is Code.MANIFEST


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"\[E-MANIFEST\]: cannot read .*gone"):
        RunTimes.load(tmp_path / "gone")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"counts": {"read": 3, "kept": 1, "quarantined": 1}}, "rows read must equal rows kept plus rows quarantined"),
        ({"counts": {"read": 1, "kept": 1, "quarantined": 0}}, "shard rows do not add up"),
        ({"counts": {"read": 1, "kept": 0, "quarantined": 1}}, "quarantine rows do not add up"),
        ({"columns": [{"name": "a", "type": "json", "nulls": "never"}] * 2}, "a column is listed twice"),
        ({"shards": [{"path": "a", "rows": 0, "sha256": "0" * 64}] * 2}, "a file is listed twice"),
        ({"shards": [{"path": "../a", "rows": 0, "sha256": "0" * 64}]}, "shards.0.path"),
        ({"shards": [{"path": ".a", "rows": 0, "sha256": "0" * 64}]}, "shards.0.path"),
        ({"shards": [{"path": "a\n", "rows": 0, "sha256": "0" * 64}]}, "shards.0.path"),
        ({"id": "a/b"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"kind": "other"}, "kind"),
    ],
)
def test_a_manifest_that_does_not_add_up_is_refused(changes: dict[str, Any], said: str) -> None:
    assert said in refused("manifest", {**one("manifest"), **changes})


def test_contracts_are_frozen() -> None:
    with pytest.raises(ValidationError):
        RunTimes(started_at="", finished_at="", seconds=1.0).seconds = 2.0


@pytest.mark.parametrize("name", FORMATS)
def test_the_exported_schemas_are_current(name: str) -> None:
    assert (FOLDER / f"{name}.schema.json").read_bytes() == schema(name), "run: python -m pytest_distill.contracts.export_schemas"


def test_every_format_has_a_schema_and_no_schema_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in FORMATS}
    parts = {
        value
        for module in (
            attestation,
            audit,
            calibration,
            evidence,
            fidelity,
            grading,
            inspection,
            ledger,
            manifest,
            preprocess,
            receipts,
            replay,
            run,
            stage1,
            stage1_run,
            tokens,
        )
        for value in vars(module).values()
        if isinstance(value, type)
    }
    parts |= bulk_strategies.MODELS | inspection_strategies.MODELS | domain_strategies.MODELS
    models = {part for part in parts if issubclass(part, Contract)} - {Contract, attestation.Attestation}
    reached = set().union(*(json.loads(schema(name)).get("$defs", {}) for name in FORMATS)) | {
        m.__name__ for m in FORMATS.values()
    }
    assert {m.__name__ for m in models} == reached - {"JsonValue", "Reason"}, "those two are values, no documents"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"candidate_status": "forgotten"}, "candidate_status"),
        ({"pair_critique": None}, "needs both critiques"),
        ({"pair_critique": critique(-0.5, -0.75).model_dump()}, "good and confident in both"),
        ({"pair_critique": critique(-0.25, -2.0).model_dump()}, "copies of each other"),
        ({"pair_critique": {**critique(-0.5, -1.75).model_dump(), "is_good": False}}, "label A and is_good must agree"),
        ({"pair_critique": {**critique(-0.5, -1.75).model_dump(), "logp_a": 0.5}}, "logp_a"),
        ({"pair_critique": {**critique(-0.5, -1.75).model_dump(), "note": "x"}}, "note"),
        ({"completion": None}, "needs prompt, completion, response"),
        ({"response": "  "}, "needs a response"),
        ({"instruction": " "}, "needs an instruction"),
        ({"raw_tokens": "1"}, "raw_tokens"),
        ({"candidate_status": "instruction_bad"}, "has no response"),
        ({"candidate_status": "pair_bad"}, "not what the critic said"),
        ({"candidate_status": "pair_unsure"}, "not what the critic said"),
        (
            {"candidate_status": "response_runaway", "instruction_critique": critique(-5.0, -0.5).model_dump()},
            "good and confident",
        ),
    ],
)
def test_a_candidate_whose_evidence_is_not_that_of_its_status_is_refused(changes: dict[str, Any], said: str) -> None:
    assert said in refused("candidate", {**one("candidate"), **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"passed": None}, "passed is null exactly where"),
        ({"shape": "production"}, "exactly the production shape"),
        ({"output_tokens": 29}, "has 30 tokens"),
        ({"output_tokens": 31}, "output_tokens"),
    ],
)
def test_a_sentinel_that_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    fine = Sentinel(
        name="completion", shape="bare", prompt="Water freezes at", output=" 0", output_tokens=30, finish_reason="length",
        expected="completed", passed=True,
    )  # fmt: skip
    sentinels = [{**fine.model_dump(), **changes}]
    assert said in refused("session_manifest", {**one("session_manifest"), "sentinels": sentinels})
