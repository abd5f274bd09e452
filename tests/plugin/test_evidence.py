"""A gate passes on evidence: figures within bounds, drawn from the batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from workbench import Bench, Ended

BOUNDS = {
    "below": ("0.0999", "0.10"),
    "at_most": ("0.10", "0.1001"),
    "above": ("0.1001", "0.10"),
    "at_least": ("0.10", "0.0999"),
    "equals": ("0.1", "0.1000001"),
}


def test_bounds_are_strict_or_inclusive_as_their_names_say(bench: Bench) -> None:
    for op, (good, bad) in BOUNDS.items():
        for name, value in (("good", good), ("bad", bad)):
            bench.gates(
                f'@gate("{op.replace("_", "-")}.{name}")\n'
                f'def test_{name}(batch, require):\n    require("share", {value} + 0 * batch.rows, {op}=0.10)\n',
                f"{op}_{name}",
            )
    ended = bench.judge()
    for op in BOUNDS:
        assert ended.status(f"{op.replace('_', '-')}.good") == "passed", op
        assert ended.status(f"{op.replace('_', '-')}.bad") == "failed", op
    assert "share is 0.1, allowed is < 0.1" in ended.why("below.bad")


REFUSED = [
    ('require("x", None, below=3)', "x is None, which is no number: cannot tell"),
    ('require("x", float("nan"), below=3)', "x is nan, which is no number: cannot tell"),
    ('require("x", float("-inf"), below=3)', "x is -inf, which is no number: cannot tell"),
    ('require("x", id.head(0).str.len_chars().mean(), below=3)', "x is None, which is no number: cannot tell"),
    ('require("x", id, below=3)', "which is no number: cannot tell"),
    ('require("x", "2", below=3)', "x is 2, allowed is < 3"),
    ('require("x", True, below=3)', "x is True, allowed is < 3"),
    ('require("x", True, equals=1)', "x is True, allowed is == 1"),
    ('require("x", 1)', "needs exactly one bound that is a number"),
    ('require("x", 1, below=3, above=0)', "needs exactly one bound that is a number"),
    ('require("x", 1, below=float("nan"))', "needs exactly one bound that is a number"),
    ("pass", "it left no figure: call require or quarantine"),
    ("return 1", "it returned a value, which decides nothing: call quarantine(mask) or require("),
    ("assert False, 'an ordinary assert'", "an ordinary assert"),
    ('pytest.skip("later")', "it was skipped (later): whether a gate applies is decided by applies="),
    ('pytest.xfail("later")', "it called xfail (later)"),
    ("limits.nothing", "has no limit 'nothing'"),
    ("limits.bound = 3", "limits are set in distill.toml, not in a gate (bound)"),
    ('batch.column("nothing")', "demo has no column 'nothing'"),
]


@pytest.fixture(scope="module")
def refused(make_bench: Callable[[], Bench]) -> Ended:
    bench = make_bench()
    for number, (written, _) in enumerate(REFUSED):
        # A good figure stands beside each, which must not cover for it.
        good = 'require("ids", id.n_unique(), above=0)' if written != "pass" else "id.n_unique()"
        bench.gates(
            f"""
            @gate("own.gate{number}", limits={{"bound": 3}})
            def test_own(id, batch, limits, require):
                {good}
                {written}
            """,
            f"own{number}",
        )
    return bench.judge()


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[written for written, _ in REFUSED])
def test_a_no_says_why(refused: Ended, number: int) -> None:
    assert refused.status(f"own.gate{number}") == "failed"
    assert REFUSED[number][1] in refused.why(f"own.gate{number}")
    assert REFUSED[number][1].split(" ", 1)[-1] in refused.out


def test_a_figure_that_is_drawn_from_nothing_is_no_evidence(bench: Bench) -> None:
    bench.gates("""
        @gate("nothing.constant")
        def test_constant(require):
            require("x", 1, below=3)

        @gate("nothing.looked-up")
        def test_looked_up(answer_text, id, batch, manifest, require):
            assert answer_text is not id
            require("x", 1, below=3)

        @gate("something.column")
        def test_column(id, require):
            require("x", len(id), above=3)

        @gate("something.fact")
        def test_fact(manifest, require):
            require("x", manifest.kind, equals="sft")

        @gate("something.names")
        def test_names(batch, require):
            require("has an id", "id" in batch.column_names, equals=True)

        @gate("something.numpy")
        def test_numpy(answer_words, require):
            import numpy
            require("x", numpy.asarray(answer_words).mean(), above=0)

        @gate("something.frame")
        def test_frame(answer_words, id, require):
            require("x", pl.DataFrame({"a": answer_words, "id": id}).filter(pl.col("a") > 1).height, above=0)
    """)
    ended = bench.judge()
    for gate_id in ("nothing.constant", "nothing.looked-up"):
        assert "it used no column of the batch" in ended.why(gate_id)
    for gate_id in ("something.column", "something.fact", "something.names", "something.numpy", "something.frame"):
        assert ended.status(gate_id) == "passed", ended.why(gate_id)


def test_one_run_shows_every_figure_of_a_gate(bench: Bench) -> None:
    bench.gates("""
        @gate("own.many")
        def test_many(id, require):
            require("first", len(id), below=3, unit="rows")
            require("second", len(id), above=3, unit="rows")
            require("third", len(id), equals=3)
    """)
    ended = bench.judge()
    assert [(f.name, f.value, f.ok, f.rows) for f in ended.gate("own.many").figures] == [
        ("first", 30, False, 30),
        ("second", 30, True, 30),
        ("third", 30, False, 30),
    ]
    assert ended.gate("own.many").why == ("first is 30 rows, allowed is < 3 rows", "third is 30, allowed is == 3")
