"""What people compare with: spread and shift of columns, measures in stats and diff, and conditions on rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_workspace import SOURCE_ROWS, make_workspace, write_batch

from pytest_distill.batch.batch import open_batch
from pytest_distill.cli import main as cli
from pytest_distill.errors import DistillError
from pytest_distill.measuring.columns import Columns
from pytest_distill.measuring.statistics import FIGURES, Missing, figures, shift, spread
from pytest_distill.measuring.where import matching
from pytest_distill.policy.workspace import Workspace

values = st.lists(
    st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(allow_nan=True, allow_infinity=False)), max_size=12
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = make_workspace(tmp_path_factory.mktemp("statistics"))
    write_batch(place.batches / "a")
    write_batch(
        place.batches / "b", [{**row, "response": f"{row['response']} and many more words than before"} for row in SOURCE_ROWS]
    )
    return place


def columns(workspace: Workspace, batch: str = "a") -> Columns:
    return Columns.of(workspace, open_batch(workspace.batch_folder(batch)))


def rows(workspace: Workspace, condition: str) -> list[int]:
    return matching(condition, columns(workspace)).arg_true().to_list()


@given(values, values)
def test_shift_is_the_largest_gap_between_the_shares_up_to_any_value(a: list[float | None], b: list[float | None]) -> None:
    old, new = (pl.Series(v, dtype=pl.Float64) for v in (a, b))
    there = [[x for x in v if x is not None and x == x] for v in (a, b)]
    if not all(there):
        assert shift(old, new) is None
        return
    one, other = there
    gaps = [abs(sum(x <= at for x in one) / len(one) - sum(x <= at for x in other) / len(other)) for at in (*one, *other)]
    assert shift(old, new) == pytest.approx(max(gaps))
    assert shift(new, old) == shift(old, new)
    assert shift(old, old) == 0


def test_spread_leaves_out_what_is_not_there() -> None:
    assert spread(pl.Series([1.0, None, float("nan"), 3.0]))[:3] == (1.0, 2.0, 2.0)
    assert spread(pl.Series([None, None], dtype=pl.Float64)) == (None,) * 5
    assert spread(pl.Series([True, False, True, True])).mean == 0.75


def test_every_figure_is_one_that_the_suite_measures(workspace: Workspace) -> None:
    found = columns(workspace)
    assert {name.partition(".")[0] for name in FIGURES} <= set(found.measures)
    shown = dict(figures(found))
    assert set(shown) == set(FIGURES)  # an sft batch has them all
    lengths = shown["answer_words"]
    assert isinstance(lengths, pl.Series)
    assert lengths.to_list() == [len(row["response"].split()) for row in SOURCE_ROWS]
    assert isinstance(shown["near_duplicate_of.jaccard"], Missing)  # nobody has judged it


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("response_words > 1", [n for n, row in enumerate(SOURCE_ROWS) if len(row["response"].split()) > 1]),
        ("instruction_chars = 50", [3]),
        ("response_tokens > 0 AND response_tokens = answer_tokens", [0, 1, 2, 3, 4, 5]),
        ("response LIKE '%TOKEN%' AND id != 'b'", [4]),
        ("score > 1", [3, 5]),  # a null is not more than 1
        ("checked", [0, 3, 4]),
        ("quality.symbol_share > 0.3 OR tokens = 1", [0, 3]),
        ("tokens IS NULL", [1, 3, 4]),
    ],
)
def test_conditions_reach_columns_measures_and_lengths(workspace: Workspace, condition: str, expected: list[int]) -> None:
    assert rows(workspace, condition) == expected


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("respnse_tokens > 3", "Did you mean response_tokens"),
        ("score_tokens > 3", "there is no column or measure"),  # a number has no tokens
        ("zzz > 3", "Columns: id, instruction"),
        ("response", "neither true nor false"),
        ("response >", "--where: "),
        ("score > 'much'", "--where: "),
        ("TRUE", "names no column"),
        ("AVG(score) > 1", "not about single rows"),
        ("score > 1; DROP TABLE x", "--where: "),
        ("score > (SELECT MAX(score) FROM read_csv('/etc/passwd'))", "--where: "),
    ],
)
def test_what_is_no_condition_is_refused_with_a_way_on(workspace: Workspace, condition: str, told: str) -> None:
    with pytest.raises(DistillError) as caught:
        rows(workspace, condition)
    assert told in caught.value.line()
    assert "\n" not in caught.value.line()


def distill(capsys: pytest.CaptureFixture[str], workspace: Workspace, *words: str) -> Any:
    assert cli.main([*words, "--workspace", str(workspace.root), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_sample_is_drawn_from_the_rows_that_match(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    found = distill(capsys, workspace, "sample", "a", "-n", "10", "--where", "score > 1")
    assert [(row["row"], row["line"], row["values"]["id"]) for row in found] == [(3, 4, "d"), (5, 6, "f")]
    assert len(distill(capsys, workspace, "sample", "a", "-n", "1", "--where", "score > 1")) == 1
    assert distill(capsys, workspace, "sample", "a", "--where", "score > 1e301") == []


def test_stats_and_diff_show_measures(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {m["measure"]: m for m in distill(capsys, workspace, "stats", "b")["measures"]}
    assert measured["answer_words"]["min"] >= 7
    moved = {m["measure"]: m for m in distill(capsys, workspace, "diff", "a", "b")["measures"]}
    assert moved["answer_words"]["shift"] == 1
    assert moved["answer_words"]["before"]["median"] + 6 == moved["answer_words"]["after"]["median"]
    assert moved["prompt_tokens"]["shift"] == moved["score"]["shift"] == 0
    assert next(iter(moved)) in {name for name, facts in moved.items() if facts["shift"] == 1}


def test_a_condition_may_be_shown_to_a_terminal(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "a", "--where", "\x1b[2J > 1", "--workspace", str(workspace.root)]) == 1
    assert "\x1b" not in capsys.readouterr().err
