"""Verdict and seal: what they say, and what cannot be sealed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_workspace import gate_record

from pytest_distill.contracts.attestation import Envelope, Seal, Verdict, pre_authentication_encoding
from pytest_distill.contracts.run import Example, Rows, RunRecord, Waiver
from pytest_distill.errors import Code, DistillError
from pytest_distill.release.seal import LEVEL, LEVEL_WAIVED, refusals, seal_of, write_seal
from pytest_distill.release.verdict import EVIDENCE, PUBLIC_EVIDENCE, VERDICT, failed_gates, public, statement, write_verdict

SHA = {letter: letter * 64 for letter in "abcde"}
WAIVER = Waiver(gate="b.two", reason="known", who="Ada", expires="2099-01-01")


def record_of(*gates: Any, **facts: Any) -> RunRecord:
    base: dict[str, Any] = {
        "run_id": "000001",
        "batch_id": "demo",
        "batch_sha256": SHA["a"],
        "kind": "sft",
        "verdict": "PASSED",
        "policy_sha256": SHA["b"],
        "gates_sha256": SHA["c"],
        "plugins_sha256": SHA["d"],
        "required": tuple(gate.id for gate in gates),
        "gates": gates,
        "rows": Rows(batch=5, quarantined=0, remaining=5),
    }
    return RunRecord(**{**base, **facts})


def judged(folder: Path, record: RunRecord) -> dict[str, Any]:
    record.write(folder / EVIDENCE)
    write_verdict(folder, record)
    return json.loads((folder / VERDICT).read_bytes())


def test_a_verdict_is_an_in_toto_test_result(tmp_path: Path) -> None:
    said = judged(tmp_path, record_of(gate_record("a.one"), gate_record("b.two")))
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert said["subject"] == [{"name": "demo", "digest": {"sha256": SHA["a"]}}]
    predicate = said["predicate"]
    assert (predicate["result"], predicate["passedTests"], predicate["failedTests"]) == ("PASSED", ["a.one", "b.two"], [])
    digests = {r["name"]: r["digest"]["sha256"] for r in predicate["configuration"] if "digest" in r}
    assert digests["policy"] == SHA["b"]
    assert set(digests) == {"policy", "gates", "plugins", EVIDENCE, PUBLIC_EVIDENCE}
    assert all("digest" in r or "uri" in r for r in predicate["configuration"])


@pytest.mark.parametrize(
    ("record", "result", "failed"),
    [
        (record_of(gate_record("a.one", status="failed"), verdict="FAILED"), "FAILED", ["a.one"]),
        (record_of(gate_record("a.one", status="did_not_run"), verdict="FAILED"), "FAILED", ["a.one"]),
        (record_of(gate_record("a.one"), required=("a.one", "z.never"), verdict="FAILED"), "FAILED", ["z.never"]),
        (record_of(gate_record("a.one"), required=("a.one", "z.never")), "FAILED", ["z.never"]),
        (record_of(gate_record("a.one"), verdict="INCOMPLETE"), "FAILED", []),
        (record_of(gate_record("a.one", status="warned")), "WARNED", []),
        (record_of(gate_record("a.one"), gate_record("b.two", status="waived", waiver=WAIVER)), "WARNED", []),
        (record_of(gate_record("a.one"), gate_record("b.two", status="not_applicable")), "PASSED", []),
    ],
)
def test_a_gate_that_did_not_say_yes_is_in_failed_tests(
    record: RunRecord, result: str, failed: list[str], tmp_path: Path
) -> None:
    predicate = judged(tmp_path, record)["predicate"]
    assert (predicate["result"], predicate["failedTests"]) == (result, failed)


def test_a_verdict_is_not_written_about_other_evidence(tmp_path: Path) -> None:
    record = record_of(gate_record("a.one"))
    record_of(gate_record("a.one", rejected=1)).write(tmp_path / EVIDENCE)
    with pytest.raises(DistillError) as refused:
        write_verdict(tmp_path, record)
    assert refused.value.code is Code.EVIDENCE
    assert not (tmp_path / VERDICT).exists()


def test_a_verdict_is_not_written_about_another_quarantine(tmp_path: Path) -> None:
    record = record_of(gate_record("a.one"))
    record.write(tmp_path / EVIDENCE)
    (tmp_path / "quarantine.parquet").write_bytes(b"rows that the record does not know")
    with pytest.raises(DistillError, match="is not the quarantine of this run"):
        write_verdict(tmp_path, record)


def test_a_seal_is_a_verification_summary_without_a_time(tmp_path: Path) -> None:
    record = record_of(gate_record("a.one"))
    judged(tmp_path, record)
    write_seal(tmp_path, record)
    seal = json.loads((tmp_path / "seal.json").read_bytes())
    assert seal["predicateType"] == "https://slsa.dev/verification_summary/v1"
    predicate = seal["predicate"]
    assert "timeVerified" not in predicate
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["verifiedLevels"] == [LEVEL]
    assert not any(level.startswith("SLSA_") for level in predicate["verifiedLevels"])
    assert predicate["policy"]["digest"] == {"sha256": SHA["b"]}
    assert set(predicate) == {
        "verifier", "resourceUri", "policy", "inputAttestations", "verificationResult", "verifiedLevels",
    }  # fmt: skip


def test_a_waiver_shows_in_the_seal(tmp_path: Path) -> None:
    record = record_of(gate_record("a.one"), gate_record("b.two", status="waived", waiver=WAIVER))
    judged(tmp_path, record)
    write_seal(tmp_path, record)
    predicate = json.loads((tmp_path / "seal.json").read_bytes())["predicate"]
    assert predicate["verifiedLevels"] == [LEVEL_WAIVED]
    assert predicate["pkg:pypi/pytest-distill#waivers"] == [WAIVER.model_dump()]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (record_of(gate_record("a.one"), verdict="FAILED"), "the verdict is FAILED"),
        (
            record_of(gate_record("a.one"), verdict="FAILED", findings=("a conftest rewrote outcomes",)),
            "a conftest rewrote outcomes",
        ),
        (record_of(gate_record("a.one"), verdict="INCOMPLETE"), "did not finish"),
        (record_of(gate_record("a.one", status="failed")), "did not pass: a.one"),
        (record_of(gate_record("a.one", status="did_not_run", severity="warn")), "did not pass: a.one"),
        (record_of(gate_record("a.one"), required=("a.one", "z.never")), "did not pass: z.never"),
        (record_of(), "no gate was required"),
        (record_of(gate_record("a.one"), gate_record("a.one")), "recorded twice"),
        (record_of(gate_record("a.one"), rows=Rows(batch=0, quarantined=0, remaining=0)), "no row remains"),
        (record_of(gate_record("a.one"), rows=Rows(batch=5, quarantined=1, remaining=5)), "are not the 5 of the batch"),
        (record_of(gate_record("a.one"), rows=Rows(batch=5, quarantined=1, remaining=4)), "no quarantine is recorded"),
    ],
)
def test_what_did_not_pass_is_not_sealed(record: RunRecord, reason: str, tmp_path: Path) -> None:
    judged_anyway = record.model_copy(update={"quarantine_sha256": None})
    judged_anyway.write(tmp_path / EVIDENCE)
    write_verdict(tmp_path, judged_anyway)
    with pytest.raises(DistillError, match=reason) as refused:
        write_seal(tmp_path, record)
    assert refused.value.code is Code.UNSEALED
    assert not (tmp_path / "seal.json").exists()


def test_a_record_that_passed_gives_no_reason_to_refuse() -> None:
    assert refusals(record_of(gate_record("a.one"))) == []


def test_another_runs_verdict_is_not_sealed(tmp_path: Path) -> None:
    judged(tmp_path, record_of(gate_record("a.one")))
    with pytest.raises(DistillError, match="does not say what the evidence") as refused:
        write_seal(tmp_path, record_of(gate_record("a.one"), run_id="000002", policy_sha256=SHA["e"]))
    assert refused.value.code is Code.SEAL_INVALID


def test_the_public_evidence_has_no_rejected_text_and_the_same_verdict(tmp_path: Path) -> None:
    example = Example(row=1, id="b", source="rows", line=2, text="SECRET-TOKEN")
    record = record_of(gate_record("a.one", kind="row", rejected=1, examples=(example,)))
    judged(tmp_path, record)
    assert b"SECRET-TOKEN" in record.to_bytes()
    assert b"SECRET-TOKEN" not in public(record).to_bytes()
    verdict = (tmp_path / VERDICT).read_bytes()
    assert seal_of(public(record), verdict) == seal_of(record, verdict)


statuses = st.sampled_from(["passed", "failed", "warned", "waived", "not_applicable", "did_not_run"])


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), statuses, max_size=6),
    st.sets(st.text("abcd", min_size=1, max_size=3), max_size=4),
)
def test_no_required_gate_can_hide(said: dict[str, Any], asked: set[str]) -> None:
    record = record_of(*(gate_record(name, status=status) for name, status in said.items()), required=tuple(asked))
    negative = {name for name, status in said.items() if status in ("failed", "did_not_run")}
    assert set(failed_gates(record)) == negative | (asked - set(said))
    assert bool(refusals(record)) == bool(negative or asked - set(said) or not asked)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@given(
    st.lists(
        st.tuples(names, st.sampled_from(["passed", "warned", "waived"])), min_size=1, max_size=5, unique_by=lambda pair: pair[0]
    ),
    names,
)
def test_verdict_and_seal_round_trip(said: list[tuple[str, Any]], words: str) -> None:
    waiver = Waiver(gate="any", reason=words, who=words, expires="2099-01-01")
    gates = [
        gate_record(name, status=status, waiver=waiver if status == "waived" else None, title=words) for name, status in said
    ]
    record = record_of(*gates)
    assert RunRecord.from_bytes(record.to_bytes(), name="record") == record
    verdict = statement(record, evidence_sha256=SHA["a"], public_sha256=SHA["b"], tool_uri="pkg:pypi/x@1").to_bytes()
    assert Verdict.from_bytes(verdict, name="verdict").to_bytes() == verdict
    seal = seal_of(record, verdict, sums=words.encode()).to_bytes()
    assert Seal.from_bytes(seal, name="seal").to_bytes() == seal


@given(st.binary(max_size=200), st.binary(max_size=80))
def test_an_envelope_round_trips(payload: bytes, signature: bytes) -> None:
    data = Envelope.around(payload, signature).to_bytes()
    assert Envelope.from_bytes(data, name="envelope").to_bytes() == data


def test_the_pre_authentication_encoding_is_that_of_the_specification() -> None:
    assert pre_authentication_encoding("ä".encode()) == b"DSSEv1 28 application/vnd.in-toto+json 2 \xc3\xa4"


@pytest.mark.parametrize("model", [Verdict, Seal])
def test_an_unknown_field_is_refused(model: type[Verdict] | type[Seal], tmp_path: Path) -> None:
    record = record_of(gate_record("a.one"))
    judged(tmp_path, record)
    write_seal(tmp_path, record)
    data = json.loads((tmp_path / (VERDICT if model is Verdict else "seal.json")).read_bytes())
    assert model.from_bytes(json.dumps(data).encode(), name="it")
    with pytest.raises(DistillError, match="E-MANIFEST"):
        model.from_bytes(json.dumps({**data, "more": 1}).encode(), name="it")
