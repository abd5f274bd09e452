"""Every format that we write: what comes back is what was written, and what was not written by us is refused."""

from __future__ import annotations

import json
import math
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
import record_strategies
import replay_strategies
import stage1_run_strategies
import stage1_strategies
import token_strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from stage1_strategies import critique

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
from pytest_distill.contracts.inspection import Inspection
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.contracts.manifest import Counts, Created, How, Manifest
from pytest_distill.contracts.run import Bound, Rows, RunRecord, RunTimes
from pytest_distill.contracts.stage1 import (
    Acceptance,
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
    Thresholds,
)
from pytest_distill.errors import Code, DistillError

WRITTEN: dict[str, st.SearchStrategy[Any]] = {
    **record_strategies.WRITTEN,
    **stage1_strategies.WRITTEN,
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
