"""Fixture closures are the plan: which measures are computed, for whom, and what happens when one cannot be."""

from __future__ import annotations

from workbench import Bench

REACHED_SOMEHOW = """
    @measure(version=1)
    def direct(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

    @measure(version=1)
    def on_top(direct: pl.Series, answer_text: pl.Series) -> pl.Series:
        return direct + answer_text.str.len_chars()

    @measure(version=1)
    def by_class(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

    @measure(version=1)
    def by_helper(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

    @measure(version=1)
    def by_use(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

    @measure(version=1)
    def by_indirect(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

    @measure(version=1)
    def late(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

    @measure(version=1)
    def unwanted(response: pl.Series) -> pl.Series:
        raise AssertionError("nobody asked")

    @measure(version=1)
    def optional(response: pl.Series, no_such_column: pl.Series | None = None) -> pl.Series:
        assert no_such_column is None
        return response.str.len_chars()

    @measure(version=1, scope="batch", config="duplicates")
    def given(kind: str, direct: pl.Series, config) -> pl.Series:
        return pl.Series([f"{kind} {config.similarity} {len(direct)}"] * len(direct))

    @gate("reach.on-top")
    def test_on_top(on_top, require):
        require("longest", on_top.max(), above=0)

    class TestClass:
        @gate("reach.class")
        def test_class(self, by_class, require):
            require("longest", by_class.max(), above=0)

    @pytest.fixture
    def half(by_helper):
        return by_helper.max() / 2

    @gate("reach.helper")
    def test_helper(half, require):
        require("half of the longest", half, above=0)

    @pytest.mark.usefixtures("by_use")
    @gate("reach.use")
    def test_use(request, require):
        require("longest", request.getfixturevalue("by_use").max(), above=0)

    @pytest.fixture
    def least(request, by_indirect):
        return by_indirect.max() - request.param

    @gate("reach.indirect")
    @pytest.mark.parametrize("least", [0, 1], indirect=True)
    def test_indirect(least, require):
        require("longest", least, at_least=0)

    @gate("reach.parametrized")
    @pytest.mark.parametrize("factor", [1, 2])
    def test_parametrized(factor, direct, require):
        require("longest", direct.max() * factor, above=0)

    @gate("reach.late")
    def test_late(request, require):
        require("longest", request.getfixturevalue("late").max(), above=0)

    @gate("reach.optional")
    def test_optional(optional, require):
        require("longest", optional.max(), above=0)

    @gate("reach.given")
    def test_given(given, require):
        require("given", given[0], equals="sft 0.8 30")

    @gate("reach.facts")
    def test_facts(manifest, require):
        require("kept", manifest.counts.kept, equals=30)

    @gate("reach.raw")
    def test_raw(instruction, batch, require):
        require("same", instruction.equals(batch.column("instruction")), equals=True)
"""


def test_every_way_to_reach_a_measure_is_planned_into_one_scan(bench: Bench) -> None:
    bench.gates(REACHED_SOMEHOW)
    ended = bench.judge()
    own = {g.id: (g.status, g.why) for g in ended.record.gates if g.id.startswith("reach.")}
    assert own == dict.fromkeys(own, ("passed", ()))
    assert set(own) == {
        "reach.on-top", "reach.class", "reach.helper", "reach.use", "reach.indirect[0]", "reach.indirect[1]",
        "reach.parametrized[1]", "reach.parametrized[2]", "reach.late", "reach.optional", "reach.given", "reach.facts",
        "reach.raw",
    }  # fmt: skip
    assert {"direct", "on_top", "by_class", "by_helper", "by_use", "by_indirect", "late", "optional", "given"} <= ended.computed
    assert "unwanted" not in ended.computed
    assert ended.times.scans == 2, "one scan for the plan, one for the measure that came through getfixturevalue"
    assert ended.record.verdict == "PASSED"


def test_a_failing_measure_fails_the_gates_that_need_it_and_no_others(bench: Bench) -> None:
    bench.gates("""
        @measure(version=1)
        def fine(response: pl.Series) -> pl.Series:
            return response.str.len_chars()

        @measure(version=1)
        def broken(response: pl.Series) -> pl.Series:
            raise ValueError(f"no luck with {response[0][:8]!r}\\x1b[31m")

        @measure(version=1)
        def above_broken(broken: pl.Series) -> pl.Series:
            return broken

        @measure(version=1)
        def short(response: pl.Series) -> pl.Series:
            return response.head(3)

        @measure(version=1)
        def a_list(response: pl.Series) -> pl.Series:
            return response.to_list()

        @measure(version=1)
        def objects(response: pl.Series) -> pl.Series:
            return pl.Series([object() for _ in response], dtype=pl.Object)

        @measure(version=1)
        def two_types(response: pl.Series, id: pl.Series) -> pl.Series:
            return response.str.len_chars() if id[0] == "geography-01" else response

        @measure(version=1)
        def circle_a(circle_b: pl.Series) -> pl.Series:
            return circle_b

        @measure(version=1)
        def circle_b(circle_a: pl.Series) -> pl.Series:
            return circle_a

        @measure(version=1)
        def unknown(no_such_column: pl.Series) -> pl.Series:
            return no_such_column

        @measure(version=1, scope="batch")
        def all_rows(response: pl.Series) -> pl.Series:
            return response.str.len_chars()

        @measure(version=1)
        def wants_all_rows(all_rows: pl.Series) -> pl.Series:
            return all_rows

        @gate("m.fine")
        def test_fine(fine, require):
            require("longest", fine.max(), above=0)

        @gate("m.broken")
        def test_broken(broken, require):
            require("longest", broken.max(), above=0)

        @gate("m.above")
        def test_above(above_broken, require):
            require("longest", above_broken.max(), above=0)

        @gate("m.short")
        def test_short(short, require):
            require("longest", 1, above=0)

        @gate("m.list")
        def test_list(a_list, require):
            require("longest", 1, above=0)

        @gate("m.objects")
        def test_objects(objects, require):
            require("longest", 1, above=0)

        @gate("m.two-types")
        def test_two_types(two_types, require):
            require("longest", 1, above=0)

        @gate("m.circle")
        def test_circle(circle_a, require):
            require("longest", 1, above=0)

        @gate("m.unknown")
        def test_unknown(unknown, require):
            require("longest", 1, above=0)

        @gate("m.wants-all-rows")
        def test_wants_all_rows(wants_all_rows, require):
            require("longest", 1, above=0)
    """)
    ended = bench.judge()
    assert ended.status("m.fine") == "passed"
    for gate_id, why in {
        "m.broken": "measure broken failed: ValueError: no luck with 'Lisbon'\\x1b[31m",
        "m.above": "measure above_broken failed: it needs broken, which failed: ValueError: no luck",
        "m.short": "it returned 3 values for 10 rows",
        "m.list": "it returned list, not a polars Series",
        "m.objects": "it returned Python objects",
        "m.two-types": "measure two_types is String here and UInt32 there, shard by shard",
        "m.circle": "measures need each other in a circle: circle_a -> circle_b -> circle_a",
        "m.unknown": "unknown needs 'no_such_column', which is neither a column of this batch nor a measure. Columns: ",
        "m.wants-all-rows": "wants_all_rows needs all_rows, which needs all rows",
    }.items():
        assert ended.status(gate_id) == "failed", gate_id
        assert "[E-MEASURE]" in ended.why(gate_id)
        assert why in ended.why(gate_id)
    assert "\x1b" not in ended.out
    assert {m.name: m.status for m in ended.record.measures if m.name in ("fine", "broken", "above_broken")} == {
        "fine": "ok",
        "broken": "failed",
        "above_broken": "failed",
    }
    standard = [g for g in ended.record.gates if g.origin == "standard"]
    assert {g.status for g in standard} <= {"passed", "not_applicable"}
    assert ended.record.verdict == "FAILED"


def test_a_measure_fails_with_the_error_of_its_first_shard(bench: Bench) -> None:
    bench.gates("""
        import threading
        later = threading.Event()

        @measure(version=1)
        def racing(id: pl.Series) -> pl.Series:
            if id[0] == "geography-01":
                later.wait(5)
                raise ValueError("first shard")
            later.set()
            raise ValueError("another shard")

        @gate("m.racing")
        def test_racing(racing, require):
            require("longest", racing.max(), above=0)
    """)
    assert "first shard" in bench.judge("--distill-workers=3").why("m.racing")


def test_one_name_for_a_measure_and_a_column_is_refused(bench: Bench) -> None:
    bench.file(
        "conftest.py",
        """
        import polars as pl
        from pytest_distill import measure

        @measure(version=1)
        def instruction(response: pl.Series) -> pl.Series:
            return response
    """,
    )
    bench.gates("""
        @gate("name.column")
        def test_column(instruction, require):
            require("longest", instruction.str.len_chars().max(), above=0)

        @measure(version=1)
        def over(instruction: pl.Series) -> pl.Series:
            return instruction

        @gate("name.input")
        def test_input(over, require):
            require("longest", over.str.len_chars().max(), above=0)
    """)
    ended = bench.judge()
    for gate_id in ("name.column", "name.input"):
        assert "[E-MEASURE-NAME]: instruction is a measure and a column of demo" in ended.why(gate_id)
    assert ended.status("text.blank") == "passed", "standard gates see the column"


def test_a_standard_measure_cannot_be_replaced_under_a_standard_gate(bench: Bench) -> None:
    bench.file(
        "conftest.py",
        """
        import polars as pl
        from pytest_distill import measure

        @measure(version=1)
        def answer_text(response: pl.Series) -> pl.Series:
            return pl.Series(["Fine."] * len(response))
    """,
    )
    bench.gates("""
        @gate("own.text")
        def test_text(answer_text, require):
            require("texts", answer_text.n_unique(), above=1)
    """)
    ended = bench.judge()
    assert ended.record.verdict == "FAILED"
    assert not ended.sealed
