"""The text gates in a real run: each rejects the row planted for it and none of the curated rows."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pytest
from workbench import Bench, Ended, curated

PROMPT = "Tell me in a sentence or two what a reader ought to know about the old harbour of the town, please."
# One planted answer for each gate on answers.
PLANTED = {
    "text.blank": " \n",
    "text.pseudo-empty": "<no output>",
    "text.encoding": "The harbour was built in the eleventh century, and it\u2019s older than the churchâ€™s tower.",
    "text.delimiter-leak": "The harbour was built in the eleventh century. ###",
    "text.template-leak": "The harbour was built in the eleventh century.<|im_end|>",
    "text.placeholder": "The harbour was rebuilt by <contractor> in the eleventh century.",
    "answer.truncated": "What a reader ought to know of the harbour is this:",
    "answer.runaway": "The harbour was built in the eleventh century.\nInstruction: Name a river.",
    "answer.refusal": "I'm sorry, but I cannot provide information about harbours.",
    "text.language": "Der alte Hafen der Stadt wurde im elften Jahrhundert gebaut und ist damit älter als die meisten Kirchen.",
    "privacy.personal-data": "The harbour master is ada.lovelace@analytical.co.uk, as far as anybody knows.",
    "privacy.secrets": "The harbour's key is " + "AKIA" + "Z7QW3RTY2UIOP5AS" + ", as far as anybody knows.",
    "code.syntax": "This draws the harbour:\n\n```python\ndef draw(:\n    pass\n```",
    "length.answer": "harbour and sea " * 1500 + "and land.",
}


def rejected_by(ended: Ended) -> dict[str, set[int]]:
    """Gate id -> rows in the run's quarantine."""
    assert ended.folder is not None
    rows = pl.read_parquet(ended.folder / "quarantine.parquet")
    return {gate: set(part["row"]) for (gate,), part in rows.group_by("by")}


@pytest.fixture(scope="module")
def planted(make_bench: Callable[[], Bench]) -> Ended:
    bench = make_bench()
    rows = curated(20)
    start = {name for row in rows for name in row}
    for number, answer in enumerate(PLANTED.values()):
        rows.append(
            {**dict.fromkeys(start), "id": f"planted-{number}", "instruction": f"{PROMPT} ({number})", "response": answer}
        )
    rows.append({**rows[-1], "response": "The harbour is old.", "instruction": "A repeated id."})
    bench.batch(rows, "planted")
    return bench.judge(batch="planted")


@pytest.mark.parametrize("gate", PLANTED)
def test_each_gate_catches_its_row_and_spares_the_curated_ones(planted, gate):
    caught = rejected_by(planted)[gate]
    assert 20 + list(PLANTED).index(gate) in caught
    assert all(row >= 20 for row in caught)
    assert planted.status(gate) == "failed"


def test_a_repeated_id_is_rejected_and_the_first_one_stays(planted):
    assert rejected_by(planted)["ids.unique"] == {20 + len(PLANTED)}


def test_nothing_leaves(planted):
    assert planted.code == 1
    assert not planted.sealed


def test_curated_rows_pass_every_text_gate(bench):
    ended = bench.judge()
    assert ended.sealed, ended.out
    assert ended.status("counts.rows") == "passed"
    assert ended.status("schema.json") == "not_applicable"


def test_the_delimiter_has_no_allowance(bench):
    bench.policy('[gates."text.delimiter-leak"]\nmax_rejected_rows = 5\n')
    assert bench.judge().code != 0


def test_the_workspaces_schema_sees_whole_rows(bench):
    bench.file("rows.json", json.dumps({"required": ["id", "response"], "properties": {"response": {"maxLength": 5}}}))
    bench.policy('[record_schema]\npath = "rows.json"\n')
    ended = bench.judge()
    assert ended.status("schema.json") == "failed"
    assert "$.response" in ended.out


def test_a_schema_that_cannot_be_used_stops_the_run(bench):
    bench.file("rows.json", '{"type": "strnig"}')
    bench.policy('[record_schema]\npath = "rows.json"\n')
    ended = bench.judge()
    assert ended.code != 0
    assert "E-POLICY" in ended.out + ended.err


def test_rows_that_were_planned_and_are_missing(bench):
    bench.policy('[gates."counts.rows"]\nmin_rows = 31\n')
    ended = bench.judge()
    assert ended.status("counts.rows") == "failed"
    assert "rows remaining is 30" in ended.out
