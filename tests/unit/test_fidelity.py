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
from pytest_distill.contracts.fidelity import Fidelity, FidelityCalibration, FidelityHeldOut, FidelityPair, FidelityScore, Figure
from pytest_distill.errors import Code, DistillError
from pytest_distill.gates import test_grading as gates
from pytest_distill.gates.measures.fidelity import fidelity_fault
from pytest_distill.measuring.fidelity import decide, differences, figures, score
from pytest_distill.measuring.measure import declaration
from pytest_distill.pipelines.grading import fidelity, verifier
from pytest_distill.policy.model import Grading

HELD = FidelityHeldOut(count=1, precision=1, recall=1, f1=1, f1_doubtful_passed=1, f1_decided=1, verify_share=0)
WEIGHTS: dict[Figure, float] = {
    "cosine": 4.0, "clause": -1.0, "ending": -1.0, "fewer": -1.0, "names": -1.0, "negation": -3.0, "numbers-came": -1.0,
    "numbers-changed": -3.0, "numbers-gone": -2.0, "question": -2.0, "repeated": -3.0, "shorter": -3.0, "units": -1.0,
    "unsaid": 0.0,
}  # fmt: skip
CALIBRATION = FidelityCalibration(
    low=0.3, high=0.5, constant=-2.0, weights=WEIGHTS, count=40, faithful=20, model_sha256="0" * 64, data_sha256="1" * 64, seed=0,
    held_out=HELD,
)  # fmt: skip
SAID = "On 3 June Paula paid 12 dollars for twenty-five tulips, which were not fresh."
SAME = "Paula bought 25 tulips that were not fresh for $12 on the 3rd of June."


CHANGED = ("numbers-came", "numbers-changed", "numbers-gone")


@pytest.mark.parametrize(
    ("rephrased", "found"),
    [
        (SAME, ()),
        (SAME.replace("25", "26"), CHANGED),
        (SAME.replace("25 ", ""), ("numbers-gone",)),
        (SAME.replace("not ", ""), ("negation",)),
        (SAME.replace("Paula", "Omar"), ("names",)),
        (SAME.replace("June", "July"), ("names", *CHANGED)),
        (SAME.replace("$12", "12 euros"), ("units",)),
        (SAME.rstrip("."), ("ending",)),
    ],
)
def test_what_a_model_of_meaning_misses_is_compared_exactly(rephrased: str, found: tuple[str, ...]) -> None:
    assert differences(figures(SAID, rephrased, 0.9)) == found


@pytest.mark.parametrize(
    ("original", "rephrased"),
    [
        ("She runs for two weeks.", "She runs for 14 days."),
        ("It takes 30 minutes.", "It takes half an hour."),
        ("He ate 1 1/2 dozen.", "He ate 1.5 dozen."),
        ("A fifth are red.", "One out of every five are red."),
        ("Days one and three are dry.", "The first and third days are dry."),
        ("On Monday and Tuesday she ran.", "On both Monday and Tuesday she ran."),
    ],
)
def test_a_number_in_other_words_is_no_difference(original: str, rephrased: str) -> None:
    assert not any(name.startswith("numbers") for name in differences(figures(original, rephrased, 0.9)))
    assert not any(name.startswith("numbers") for name in differences(figures(rephrased, original, 0.9)))


def test_a_number_changed_to_one_that_stands_elsewhere_is_found() -> None:
    found = figures("Ann has 8 cats, 5 dogs and 8 cows.", "Ann owns 8 cats, 5 dogs and 5 cows.", 0.99)
    assert found["numbers-changed"] == 1
    assert found["numbers-gone"] == found["numbers-came"] == 0


def test_a_clause_that_is_gone_shows_and_so_does_the_question() -> None:
    said = "Tom has 9 red sticks. The blue sticks weigh 7 grams. How many sticks are there?"
    whole = figures(said, "There are 9 red sticks with Tom; blue sticks weigh 7 grams. What is the number of sticks?", 0.9)
    less = figures(said, "There are 9 red sticks with Tom. What is the number of sticks?", 0.9)
    assert less["clause"] > whole["clause"]
    assert less["repeated"] > whole["repeated"] == 0
    assert figures(said, "Tom has 9 red sticks. The blue sticks weigh 7 grams.", 0.9)["question"] == 2
    assert whole["question"] == 0


def test_a_number_that_rephrasings_may_leave_out_still_counts_as_one_fewer() -> None:
    said = "He played 2 matches on Monday, 3 on Friday, and 5 on Saturday. How many?"
    less = figures(said, "He played 3 matches on Friday and 5 on Saturday. How many?", 0.9)
    assert less["numbers-gone"] == less["repeated"] == 0
    assert less["fewer"] == pytest.approx(1 / 3)
    assert figures(said, "He played 5, 3 and 2 matches. How many?", 0.9)["fewer"] == 0
    assert figures("No number at all.", "Nor 1 here, nor 2.", 0.9)["fewer"] == 0


def test_a_denial_in_other_words_weighs_less_than_one_that_came_from_nowhere() -> None:
    assert figures("The melons are unripe.", "The melons are not ripe.", 0.9)["negation"] == 1
    assert figures("The melons are ripe.", "The melons are not ripe.", 0.9)["negation"] == 2
    assert figures("True if ripe, else False.", "It is true if they are ripe, and false if they are not.", 0.9)["negation"] == 1


@given(st.text(), st.text(), st.floats(-1, 1))
def test_no_text_breaks_the_figures_and_a_text_keeps_its_own_sense(original: str, rephrased: str, cosine: float) -> None:
    assert 0 <= score(figures(original, rephrased, cosine), CALIBRATION) <= 1
    assert differences(figures(original, original, 1.0)) == ()
    assert all(value >= 0 for name, value in figures(original, rephrased, cosine).items() if name != "cosine")


@pytest.mark.parametrize(
    ("sure", "decision"), [(0.51, "pass"), (0.5, "verify"), (0.4, "verify"), (0.3, "verify"), (0.29, "reject")]
)
def test_both_edges_are_for_the_verifier(sure: float, decision: str) -> None:
    assert decide(sure, CALIBRATION) == decision


@pytest.mark.parametrize("name", [name for name, weight in WEIGHTS.items() if weight])
def test_differences_only_make_it_stricter(name: Figure) -> None:
    same = figures(SAID, SAME, 0.9)
    worse = same | {name: -0.5 if name == "cosine" else same[name] + 1}
    assert score(worse, CALIBRATION) < score(same, CALIBRATION)


def pairs(count: int) -> tuple[list[FidelityPair], list[float]]:
    """Faithful pairs near 0.9, pairs with another number near 0.95, and pairs about something else near 0.3."""
    made, cosines = [], []
    for number in range(10, 10 + count):
        said = f"Paula has {number} tulips and plants them in spring."
        made += [FidelityPair(original=said, rephrased=f"In spring Paula plants her {number} tulips there.", faithful=True)]
        made += [FidelityPair(original=said, rephrased=f"In spring Paula plants her {number + 1} tulips there.", faithful=False)]
        made += [FidelityPair(original=said, rephrased=f"The {number} ships Paula saw in spring were old.", faithful=False)]
        cosines += [0.9 + number % 7 / 100, 0.95, 0.3 + number % 5 / 100]
    return made, cosines


def calibrated(made: list[FidelityPair], cosines: list[float]) -> FidelityCalibration:
    return fidelity.calibrate(fidelity.Compared(made, cosines), model_sha256="0" * 64, data_sha256="0" * 64, seed=0)


def test_a_calibration_is_fitted_on_one_half_and_reported_on_the_other() -> None:
    made = calibrated(*pairs(120))
    assert made.weights["numbers-changed"] < 0 < made.weights["cosine"]
    assert made.low <= made.high
    assert made.held_out.f1 > 0.95
    assert made.count + made.held_out.count == 360
    assert calibrated(*pairs(120)).to_bytes() == made.to_bytes()


def test_what_cannot_be_told_apart_is_in_doubt() -> None:
    made, cosines = pairs(120)
    told = [FidelityPair(original=pair.original, rephrased=pair.rephrased, faithful=False) for pair in made if pair.faithful]
    done = calibrated(made + told, cosines + cosines[::3])
    assert done.held_out.verify_share > 0.3
    assert done.held_out.f1 < done.held_out.f1_doubtful_passed


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


@pytest.mark.parametrize("values", [
    {"low": 0.9}, {"faithful": 40}, {"count": 0}, {"weights": {"cosine": 1}}, {"weights": WEIGHTS | {"cosine": -1}},
    {"weights": WEIGHTS | {"names": 0.5}}, {"constant": "NaN"}, {"schema_version": 3},
])  # fmt: skip
def test_thresholds_that_cross_weights_that_turn_and_labels_of_one_kind_are_no_calibration(values: dict[str, Any]) -> None:
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
    own = figures(SAID, rephrased, values.get("cosine", 0.9))
    stored = Fidelity(
        original="text", rephrased="new", calibration_sha256=storage.sha256_bytes(CALIBRATION.to_bytes()), cosine=0.9,
        score=score(own, CALIBRATION), differences=differences(own), decision="pass",
    ).model_dump(mode="json")  # fmt: skip
    return json.dumps({"text": SAID, "new": rephrased, "fidelity": stored | values})


SCORE = FidelityScore(fidelity_score=4, passed=True, verifier_model="m", version="v").model_dump(mode="json")
ROWS = {
    row(): None,
    row(cosine=0.5, decision="verify", verifier=SCORE): None,
    row(cosine=0.5): "is to verify, and says pass",
    row(cosine=0.2): "is to reject, and says pass",
    row(cosine=0.2, decision="reject"): "not faithful",
    row(cosine=0.5, decision="verify"): "verified by nobody",
    row(cosine=0.5, decision="verify", verifier=SCORE | {"fidelity_score": 3, "pass": False}): "says 3 of 5",
    row(cosine=0.5, decision="verify", verifier=SCORE | {"fidelity_score": 3}): "no fidelity",
    row(SAME.replace("25", "26"), differences=[]): "differs in numbers-came, numbers-changed, numbers-gone, and says nothing",
    row(SAME.replace("25", "26"), decision="reject"): "not faithful",
    row(score=0.99): "and says 0.990000",
    row(calibration_sha256="f" * 64): "another calibration",
    row(new="x", rephrased=SAME, original="gone"): "no fidelity",
    row(original="new"): "compares the column new with itself",
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
