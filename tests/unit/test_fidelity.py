"""Fidelity: what differs, what is decided from it, what calibrates and what does not, and a gate that decides again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import judge

from pytest_distill import storage
from pytest_distill.contracts.fidelity import Fidelity, FidelityCalibration, FidelityHeldOut, FidelityPair, FidelityScore
from pytest_distill.errors import Code, DistillError
from pytest_distill.gates import test_grading as gates
from pytest_distill.gates.measures.fidelity import fidelity_fault
from pytest_distill.measuring.fidelity import decide, differences, length
from pytest_distill.measuring.measure import declaration
from pytest_distill.pipelines.grading import fidelity, verifier
from pytest_distill.policy.model import Grading

HELD = FidelityHeldOut(count=1, precision=1, recall=1, f1=1, f1_doubtful_passed=1, f1_decided=1, verify_share=0)
CALIBRATION = FidelityCalibration(
    low=0.6, high=0.8, shortest=0.6, rejecting=("length", "negation", "numbers"), count=40, faithful=20, model_sha256="0" * 64,
    data_sha256="1" * 64, seed=0, held_out=HELD,
)  # fmt: skip
SAID = "On 3 June Paula paid 12 dollars for twenty-five tulips, which were not fresh."
SAME = "Paula bought 25 tulips that were not fresh for $12 on the 3rd of June."


@pytest.mark.parametrize(
    ("rephrased", "found"),
    [
        (SAME, ()),
        (SAME.replace("25", "26"), ("numbers",)),
        (SAME.replace("not ", ""), ("negation",)),
        (SAME.replace("Paula", "Omar"), ("names",)),
        (SAME.replace("June", "July"), ("names",)),
        (SAME.replace("$12", "12 euros"), ("units",)),
        ("Paula, June: 25 not fresh, $12 (3).", ("length",)),
    ],
)
def test_what_a_model_of_meaning_misses_is_compared_exactly(rephrased: str, found: tuple[str, ...]) -> None:
    assert differences(SAID, rephrased, shortest=0.55) == found


@pytest.mark.parametrize(
    ("cosine", "found", "decision"),
    [
        (0.81, (), "pass"),
        (0.8, (), "verify"),
        (0.7, (), "verify"),
        (0.6, (), "verify"),
        (0.59, (), "reject"),
        (0.99, ("numbers",), "reject"),
        (0.99, ("names",), "verify"),
        (0.59, ("names",), "reject"),
    ],
)
def test_both_edges_are_for_the_verifier_and_differences_only_make_it_stricter(cosine: float, found: Any, decision: str) -> None:
    assert decide(cosine, found, CALIBRATION) == decision


def pairs(count: int, *, shift: float = 0.0) -> tuple[list[FidelityPair], list[float]]:
    """Faithful pairs near 0.9, pairs with another number near 0.95, and pairs about something else near 0.3."""
    made, cosines = [], []
    for number in range(10, 10 + count):
        said = f"Paula has {number} tulips and plants them in spring."
        made += [FidelityPair(original=said, rephrased=f"In spring Paula plants her {number} tulips there.", faithful=True)]
        made += [FidelityPair(original=said, rephrased=f"In spring Paula plants her {number + 1} tulips there.", faithful=False)]
        made += [FidelityPair(original=said, rephrased=f"The {number} ships Paula saw in spring were old.", faithful=False)]
        cosines += [0.9 + number % 7 / 100, 0.95, 0.3 + shift + number % 5 / 100]
    return made, cosines


def calibrated(made: list[FidelityPair], cosines: list[float]) -> FidelityCalibration:
    return fidelity.calibrate(fidelity.Compared(made, cosines), model_sha256="0" * 64, data_sha256="0" * 64, seed=0)


def test_a_calibration_is_fitted_on_one_half_and_reported_on_the_other() -> None:
    made = calibrated(*pairs(120))
    assert "numbers" in made.rejecting
    assert made.low <= made.high < 0.91
    assert made.held_out.f1 > 0.95
    assert made.count + made.held_out.count == 360
    assert calibrated(*pairs(120)).to_bytes() == made.to_bytes()


def test_what_cannot_be_told_apart_is_in_doubt() -> None:
    made = calibrated(*pairs(120, shift=0.63))
    assert made.held_out.verify_share > 0.3
    assert made.held_out.f1 < made.held_out.f1_doubtful_passed


@pytest.mark.parametrize("count", [0, 10])
def test_too_few_pairs_calibrate_nothing(count: int) -> None:
    with pytest.raises(DistillError, match=r"E-FIDELITY.*needs 20"):
        calibrated(*pairs(count))


@pytest.mark.parametrize("line", ['{"original": "a", "rephrased": "b"}', '{"original": "a", "faithful": true}', '{"a": 1}'])
def test_a_line_that_is_no_labelled_pair_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "pairs.jsonl").write_text(line)
    with pytest.raises(DistillError) as caught:
        fidelity.read_pairs(tmp_path / "pairs.jsonl")
    assert caught.value.code is Code.FIDELITY


@pytest.mark.parametrize("values", [{"low": 0.9}, {"faithful": 40}, {"count": 0}])
def test_thresholds_that_cross_and_labels_of_one_kind_are_no_calibration(values: dict[str, Any]) -> None:
    with pytest.raises(DistillError):
        FidelityCalibration.from_bytes(json.dumps(json.loads(CALIBRATION.to_bytes()) | values).encode(), name="c.json")


GOOD = '{"fidelity_score": 4, "pass": true, "verifier_model": "m", "version": "v1.0"}'


def test_the_verifier_answers_with_one_json_value() -> None:
    assert verifier.read_reply(GOOD, "m").passed
    assert json.loads(verifier.read_reply(GOOD, "m").to_bytes())["pass"] is True


@pytest.mark.parametrize(
    "reply",
    [
        f"Sure: {GOOD}", f"{GOOD}\n{GOOD}", GOOD.replace("4", "6"), GOOD.replace("4", "4.5"), GOOD.replace("4", "NaN"),
        GOOD.replace("true", "false"), GOOD.replace('"pass": true, ', ""), GOOD.replace("{", '{"why": "x", '),
        GOOD.replace('"m"', '"other"'), GOOD.replace("v1.0", "v0"), "", "[]",
    ],
)  # fmt: skip
def test_a_reply_that_is_no_score_is_refused_and_never_mended(reply: str) -> None:
    with pytest.raises(DistillError) as caught:
        verifier.read_reply(reply, "m")
    assert caught.value.code is Code.FIDELITY


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_a_text_cannot_leave_its_place_in_the_prompt(original: str, rephrased: str) -> None:
    prompt = verifier.prompt(FidelityPair(original=original, rephrased=rephrased), "m")
    value, _ = json.JSONDecoder().raw_decode(prompt[prompt.index("{") :])
    assert value == {"original": original, "rephrased": rephrased}


# ---- the gate


def grading(tmp_path: Path, calibration: FidelityCalibration | None = CALIBRATION) -> Grading:
    if calibration is None:
        return Grading()
    calibration.write(tmp_path / "fidelity.json")
    table = Grading.model_validate({"fidelity": "fidelity.json"})
    assert table.fidelity is not None
    table.fidelity.pin(tmp_path)
    return table


def row(rephrased: str = SAME, **values: Any) -> str:
    found = differences(SAID, rephrased, shortest=CALIBRATION.shortest)
    stored = Fidelity(
        original="text", rephrased="new", calibration_sha256=storage.sha256_bytes(CALIBRATION.to_bytes()), cosine=0.9,
        length=round(length(SAID, rephrased), 4), differences=found, decision="pass",
    ).model_dump(mode="json")  # fmt: skip
    return json.dumps({"text": SAID, "new": rephrased, "fidelity": stored | values})


SCORE = FidelityScore(fidelity_score=4, passed=True, verifier_model="m", version="v").model_dump(mode="json")
ROWS = {
    row(): None,
    row(cosine=0.7, decision="verify", verifier=SCORE): None,
    row(cosine=0.7): "is to verify, and says pass",
    row(cosine=0.5): "is to reject, and says pass",
    row(cosine=0.5, decision="reject"): "not faithful",
    row(cosine=0.7, decision="verify"): "verified by nobody",
    row(cosine=0.7, decision="verify", verifier=SCORE | {"fidelity_score": 3, "pass": False}): "says 3 of 5",
    row(cosine=0.7, decision="verify", verifier=SCORE | {"fidelity_score": 3}): "no fidelity",
    row(SAME.replace("25", "26"), differences=[]): "differs in numbers, and says nothing",
    row(calibration_sha256="f" * 64): "another calibration",
    row(new="x", rephrased=SAME, original="gone"): "no fidelity",
    json.dumps({"text": SAID, "new": SAME}): "no fidelity",
}


def test_the_gate_decides_again_from_what_was_stored(tmp_path: Path) -> None:
    faults = declaration(fidelity_fault).function(pl.Series(list(ROWS)), config=grading(tmp_path))
    for fault, said in zip(faults, ROWS.values(), strict=True):
        assert (fault is None) if said is None else said in fault
    verdict = judge(gates.test_rephrasings_are_faithful, fidelity_fault=faults)
    assert verdict.rejected == [said is not None for said in ROWS.values()]


def test_without_a_calibration_every_row_is_rejected(tmp_path: Path) -> None:
    faults = declaration(fidelity_fault).function(pl.Series([row()]), config=grading(tmp_path, None))
    assert faults.to_list() == ["the policy names no calibration of fidelity"]
