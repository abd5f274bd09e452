"""`evaluate`: the gates over rows in memory give what the command line gives."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pytest_distill import evaluate
from pytest_distill.errors import Code, DistillError

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what is loaded here lies on this disk

SUMS = [{"instruction": f"What is {a} plus {b}?", "response": f"{a} plus {b} is {a + b}."} for a in (3, 4, 5) for b in (21, 34)]
LEAK = {"instruction": "Name a metal.", "response": "Iron<b>###END###"}


@pytest.fixture(scope="module")
def good():
    return evaluate(pl.DataFrame(SUMS))


@pytest.fixture(scope="module")
def bad():
    return evaluate([*SUMS, LEAK])


def test_good_rows_pass_and_may_be_kept(good):
    assert good.passed
    assert good.kept.select("instruction", "response").to_dicts() == SUMS
    assert set(good.gates["status"]) <= {"passed", "not_applicable"}


def test_pandas_and_datasets_go_in_and_datasets_come_out(tmp_path):
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    (tmp_path / "distill.toml").write_text("")
    results = [evaluate(rows, workspace=tmp_path) for rows in (pandas.DataFrame(SUMS), datasets.Dataset.from_list(SUMS))]
    assert [r.batch.id for r in results] == [evaluate(SUMS, workspace=tmp_path).batch.id] * 2, "equal rows, equal batch"
    left = results[1].dataset()
    assert isinstance(left, datasets.Dataset)
    assert left.select_columns(["instruction", "response"]).to_list() == SUMS


def test_an_export_in_hugging_face_layout_loads(good, tmp_path):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pytest_distill.cli.main", "export", good.batch.id, "--format", "hf", "--out", str(out)]
    subprocess.run([*command, "--workspace", str(good.batch.folder.parents[1])], check=True, capture_output=True)
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.select_columns(["instruction", "response"]).to_list() == SUMS


def test_a_bad_row_is_named_with_its_own_columns(bad):
    assert bad.verdict == "FAILED"
    row = bad.rejected.row(0, named=True)
    assert (row["gate"], row["reason"], row["row"], row["response"]) == (
        "text.delimiter-leak",
        "delimiter_leak",
        len(SUMS),
        LEAK["response"],
    )


def test_what_was_not_judged_good_cannot_be_kept(bad):
    with pytest.raises(DistillError) as refused:
        bad.kept  # noqa: B018 - the property refuses
    assert refused.value.code is Code.UNSEALED


def test_the_display_is_escaped_and_quotes_rows(bad):
    shown = bad._repr_html_()
    assert "<b>text.delimiter-leak</b>" in shown
    assert f"row {len(SUMS)}" in shown
    assert "<b>###" not in shown


def test_good_rows_say_how_they_leave(good):
    assert repr(good) == str(good) == f"{good.batch.id}: PASSED, 6 of 6 rows remain"
    assert ".kept and .dataset()" in good._repr_html_()
    assert good.batch.id in repr(good.batch)


def test_equal_rows_are_read_once_and_judged_again_in_a_workspace(tmp_path):
    (tmp_path / "distill.toml").write_text("")
    first, second = (evaluate(SUMS, workspace=tmp_path) for _ in range(2))
    assert first.batch.folder == second.batch.folder
    assert first.batch.folder.is_relative_to(tmp_path)
    assert first.folder != second.folder
    assert (first.folder / "verdict.json").read_bytes() == (second.folder / "verdict.json").read_bytes()


def test_dates_become_iso_text(tmp_path):
    (tmp_path / "distill.toml").write_text("")
    result = evaluate([{**row, "day": dt.date(2026, 1, 31)} for row in SUMS], workspace=tmp_path, batch_id="dated")
    assert result.batch.id == "dated"
    assert set(result.kept["day"]) == {"2026-01-31"}


@pytest.mark.parametrize("value", [float("nan"), b"bytes", object()])
def test_values_that_json_cannot_hold_are_refused_with_their_row(value):
    with pytest.raises(DistillError) as refused:
        evaluate([*SUMS, {**SUMS[0], "extra": value}])
    assert refused.value.code is Code.COLUMN
    assert f"row {len(SUMS) + 1}" in refused.value.message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (None, "the rows are no rows but NoneType"),
        ("rows.jsonl", "the rows are no rows but str"),
        ({"instruction": ["a"], "response": ["b"]}, "the rows are no rows but dict"),
        ([*SUMS, 3], f"row {len(SUMS) + 1} is no dict but int"),
        ([], "there is no row"),
    ],
)
def test_what_is_no_rows_is_told_in_its_own_words(rows, said):
    with pytest.raises(DistillError) as refused:
        evaluate(rows)
    assert said in refused.value.message


def test_a_run_that_reaches_no_verdict_says_why(tmp_path: Path):
    (tmp_path / "distill.toml").write_text('[gates."no.such-gate"]\nmax_rejected_rows = 1\n')
    with pytest.raises(DistillError) as refused:
        evaluate(SUMS, workspace=tmp_path)
    assert refused.value.code is Code.NOT_RUN
    assert "no.such-gate" in refused.value.message
