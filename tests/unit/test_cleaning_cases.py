"""Cleaning and the gate against 300 completions written by hand: 200 answers to keep whole, 100 that run away.

`data/cleaning.jsonl`: id, kind, expected (whole, cut), delimiter (whether the completion holds one), instruction, completion (as
a model wrote it), kept (the answer). Nothing of it was made by a program.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from pytest_distill.gates.measures.runaway import runaway_line
from pytest_distill.measuring.measure import declaration
from pytest_distill.pipelines.stage1.cleaning import Cleaned, TrimRule, clean_response, runs_away

CASES = [json.loads(line) for line in (Path(__file__).parent / "data" / "cleaning.jsonl").read_text("utf-8").splitlines()]
WHOLE = [case for case in CASES if case["expected"] == "whole"]
CUT = [case for case in CASES if case["expected"] == "cut"]
SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))


def judged(instructions, answers):
    return declaration(runaway_line).function(pl.Series(instructions, dtype=pl.String), pl.Series(answers, dtype=pl.String))


def test_the_cases_are_what_they_say():
    assert (len(WHOLE), len(CUT), len({case["id"] for case in CASES})) == (200, 100, 300)
    assert len({case["completion"] for case in CASES}) == 300
    for case in CASES:
        assert case["completion"].strip().startswith(case["kept"]), case["id"]
        assert ("###END###" in case["completion"]) == case["delimiter"], case["id"]
    for case in WHOLE:
        if not case["delimiter"]:
            assert case["completion"].strip() == case["kept"], case["id"]
    assert sum(not case["delimiter"] for case in WHOLE) >= 140
    assert sum("\n\n" in case["kept"] for case in WHOLE) >= 150


@pytest.mark.parametrize("told", [True, False], ids=["knowing the instruction", "without it"])
def test_answers_stay_whole_and_runaways_are_cut(told, record_property):
    wrong = []
    for case in CASES:
        found = clean_response(case["completion"], instruction=case["instruction"] if told else "")
        if found.text != case["kept"]:
            wrong.append((case["id"], case["kind"], found))
    missed = Counter(name.partition("-")[0] for name, _, _ in wrong)
    kept, cut = len(WHOLE) - missed["whole"], len(CUT) - missed["cut"]
    record_property(
        "figure",
        f"cleaning ({'with' if told else 'without'} the instruction): {kept} of {len(WHOLE)} answers whole, {cut} of {len(CUT)} "
        f"runaways cut at their end; precision {cut / (cut + missed['whole']):.3f}, recall {cut / len(CUT):.3f}",
    )
    assert wrong == []


def test_the_gate_catches_the_same_runaways_where_cleaning_is_off(record_property):
    spared = judged([c["instruction"] for c in WHOLE], [c["kept"] for c in WHOLE])
    caught = judged([c["instruction"] for c in CUT], [c["completion"].strip() for c in CUT])
    hits, alarms = len(caught) - caught.null_count(), len(spared) - spared.null_count()
    record_property(
        "figure",
        f"gate answer.runaway on uncleaned text: {hits} of {len(CUT)} runaways found, {alarms} of {len(WHOLE)} answers accused; "
        f"precision {hits / (hits + alarms):.3f}, recall {hits / len(CUT):.3f}",
    )
    assert [c["id"] for c, found in zip(WHOLE, spared, strict=True) if found is not None] == []
    assert [c["id"] for c, found in zip(CUT, caught, strict=True) if found is None] == []


def test_what_cleaning_leaves_is_no_runaway_for_the_gate_nor_for_the_summary():
    cleaned = [clean_response(c["completion"], instruction=c["instruction"]).text for c in CASES]
    assert judged([c["instruction"] for c in CASES], cleaned).null_count() == len(CASES)
    left = [c for c, text in zip(CASES, cleaned, strict=True) if runs_away(text, instruction=c["instruction"])]
    assert {c["instruction"] for c in left} == {  # turns in answers that a delimiter vouched for: the run drops them, to be safe
        "Write an interview with a lighthouse keeper.",
        "Write a FAQ for a library with two entries.",
        "What are instructions per cycle?",
    }


def test_the_summary_sees_every_runaway_that_was_not_cleaned():
    unseen = [c for c in CUT if not runs_away(c["completion"], instruction=c["instruction"])]
    assert [c["id"] for c in unseen if clean_response(c["completion"]).trim_rule is not TrimRule.FRAGMENT] == [], (
        "those are leaks"
    )


def test_a_delimiter_vouches_for_what_stands_before_it():
    """The one thing no rule can tell: a second paragraph may be the next answer. The delimiter can."""
    assert clean_response("Paris.\n\nLyon has two rivers.").text == "Paris."
    assert clean_response("Paris.\n\nLyon has two rivers. ###END###").text == "Paris.\n\nLyon has two rivers."
    two = "The Nile is the longest river of Africa.\n\nThe Amazon is the longest river of South America."
    assert clean_response(two).text == two, "two whole sentences: a second paragraph as far as anyone can see"


def test_the_instruction_tells_a_task_in_any_language():
    completion = "chien\nTraduis en français : cat\nchat"
    assert clean_response(completion) == Cleaned(completion, None)
    cut = clean_response(completion, instruction="Traduis en français : dog")
    assert cut == Cleaned("chien", TrimRule.NEW_QUESTION)


@pytest.mark.parametrize(
    ("name", "share"), [("instruct/self_instruct_t0.jsonl.gz", 0.998), ("code/codegen_instruct.json.gz", 0.998)]
)
def test_real_answers_with_blank_lines_stay_whole(name, share, record_property):
    if not (SHARED / name).is_file():
        pytest.skip(f"{name} is not in DISTILL_SHARED_DATA: real answers with blank lines were not cleaned")
    data = gzip.decompress((SHARED / name).read_bytes())
    rows = json.loads(data) if data[:1] == b"[" else [json.loads(line) for line in data.splitlines()]
    rows = [row for row in rows if "\n\n" in row["response"].strip()]
    kept = sum(clean_response(row["response"], instruction=row["instruction"]).trim_rule is None for row in rows)
    accused = judged([row["instruction"] for row in rows], [row["response"] for row in rows]).drop_nulls()
    record_property(
        "figure", f"real answers with blank lines, {name}: {kept} of {len(rows)} whole, the gate accuses {len(accused)}"
    )
    assert kept >= share * len(rows)
    assert len(accused) == 0
