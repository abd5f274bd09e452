"""The measure cache makes a run faster and never makes it wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from workbench import Bench

OWN = """
    from helper import long

    @measure(version=1)
    def long_enough(response: pl.Series) -> pl.Series:
        return long(response)

    @gate("own.short", rejects="short", limits={"shortest": 1})
    def test_short(long_enough, answer_text, quarantine, limits):
        quarantine(~long_enough | (answer_text.str.len_chars() < limits.shortest))
"""


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """Without the warm cache that the tests of other things start with."""
    shutil.rmtree(bench.root / ".distill")
    return bench


def written(bench: Bench) -> Bench:
    bench.file("helper.py", "def long(texts):\n    return texts.str.len_chars() >= 1\n")
    bench.file("pytest.ini", "[pytest]\npythonpath = .\n")
    bench.gates(OWN)
    return bench


def test_a_warm_run_computes_nothing_and_says_the_same(bench: Bench) -> None:
    written(bench)
    cold, warm = bench.judge(), bench.judge()
    assert {"long_enough", "answer_text"} <= cold.computed
    assert warm.computed == set()
    assert (warm.times.scans, cold.times.scans) == (0, 1)
    assert warm.record == cold.record


def test_a_limit_is_no_part_of_a_measure(bench: Bench) -> None:
    written(bench)
    bench.judge()
    bench.policy('[gates."own.short"]\nshortest = 4000\n')
    ended = bench.judge()
    assert ended.computed == set()
    assert ended.gate("own.short").rejected == 30


def test_a_policy_table_is_part_of_the_measures_that_are_given_it(bench: Bench) -> None:
    bench.judge()
    bench.policy("[duplicates]\nsimilarity = 0.7\n")
    computed = bench.judge().computed
    assert "near_duplicate_of" in computed
    assert "answer_text" not in computed


def test_an_edit_in_a_module_that_a_measure_imports_computes_it_again(bench: Bench) -> None:
    written(bench)
    assert bench.judge().status("own.short") == "passed"
    bench.file("helper.py", "def long(texts):\n    return texts.str.len_chars() >= 3000\n")
    ended = bench.judge()
    assert ended.status("own.short") == "failed"
    assert "long_enough" in ended.computed
    assert "answer_text" not in ended.computed, "standard measures do not depend on a workspace"


def entries(bench: Bench) -> list[Path]:
    return sorted((bench.root / ".distill" / "cache").rglob("*.arrow"))


def test_an_overwritten_entry_is_computed_again(bench: Bench) -> None:
    written(bench)
    cold = bench.judge()
    for entry in entries(bench):
        data = bytearray(entry.read_bytes())
        data[len(data) // 2] ^= 1
        entry.write_bytes(data)
    again = bench.judge()
    assert again.computed == cold.computed
    assert again.record == cold.record


def test_a_truncated_or_empty_entry_is_computed_again(bench: Bench) -> None:
    written(bench)
    cold = bench.judge()
    for number, entry in enumerate(entries(bench)):
        entry.write_bytes(entry.read_bytes()[:-1] if number % 2 else b"")
    again = bench.judge()
    assert again.computed == cold.computed
    assert again.record == cold.record


def test_an_entry_under_another_name_is_computed_again(bench: Bench) -> None:
    written(bench)
    cold = bench.judge()
    shard = max({entry.parent for entry in entries(bench)}, key=lambda folder: len(list(folder.iterdir())))
    names = sorted(shard.iterdir())
    kept = [name.read_bytes() for name in names]
    for name, data in zip(names, [*kept[1:], kept[0]], strict=True):
        name.write_bytes(data)
    again = bench.judge()
    assert again.computed, "what lies there belongs to other columns"
    assert again.record == cold.record


def test_entries_made_under_another_key_are_computed_again(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(bench)
    cold = bench.judge()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    again = bench.judge()
    assert again.computed == cold.computed
    assert again.record == cold.record


def test_no_cache_computes_everything_and_keeps_nothing(bench: Bench) -> None:
    written(bench)
    ended = bench.judge("--distill-no-cache")
    assert "answer_text" in ended.computed
    assert entries(bench) == []


def test_a_column_has_the_name_of_its_measure_cold_and_warm(bench: Bench) -> None:
    bench.gates("""
        @measure(version=1)
        def first(response: pl.Series) -> pl.Series:
            return response.str.len_chars()

        @measure(version=1)
        def second(response: pl.Series) -> pl.Series:
            return response.str.len_bytes().alias("first")

        @gate("own.names")
        def test_names(first, second, require):
            require("names", " ".join(pl.DataFrame([first, second]).columns), equals="first second")
    """)
    assert bench.judge().status("own.names") == "passed"
    assert bench.judge().status("own.names") == "passed"
