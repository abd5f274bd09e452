"""Row gates reject rows, batch gates judge the rows that remain: who sees what, in which order, and which masks are no masks."""

from __future__ import annotations

import polars as pl
import pyarrow.parquet as pq
from workbench import Bench

from pytest_distill import storage
from pytest_distill.contracts.quarantine import QUARANTINE_SCHEMA


def test_batch_gates_judge_what_the_row_gates_left(bench: Bench) -> None:
    bench.policy('[gates."row.first"]\nmax_rejected_rows = 3\n[gates."row.second"]\nmax_rejected_share = 0.1\n')
    bench.gates("""
        @gate("batch.early")
        def test_early(batch, response, answer_text, require):
            require("rows", batch.rows, equals=26)
            require("all rows", batch.all_rows, equals=30)
            require("raw rows", len(response), equals=26)
            require("column", len(batch.column("id")), equals=26)
            require("measured rows", len(answer_text), equals=26)

        @gate("batch.all", rows="all")
        def test_all(batch, response, answer_text, require):
            require("rows", batch.rows, equals=30)
            require("raw rows", len(response), equals=30)
            require("measured rows", len(answer_text), equals=30)

        @gate("row.first", rejects="first")
        def test_first(id, quarantine):
            quarantine(pl.Series(range(len(id))) < 3, found=id, text=id)

        @gate("row.second", rejects="second")
        def test_second(id, quarantine):
            "Two rows, one of them again."
            quarantine(pl.Series([row in (2, 7) for row in range(len(id))]))

        @gate("row.warning", rejects="third", severity="warn")
        def test_third(id, quarantine):
            quarantine(pl.Series([True] * len(id)))
    """)
    ended = bench.judge()
    record = ended.record
    assert record.verdict == "PASSED", ended.out
    assert (record.rows.batch, record.rows.quarantined, record.rows.remaining) == (30, 4, 26)
    assert ended.status("row.warning") == "warned"
    assert {g.id: (g.rows_seen, g.rejected) for g in record.gates if g.origin == "workspace"} == {
        "row.first": (30, 3), "row.second": (30, 2), "row.warning": (30, 30), "batch.early": (26, 0), "batch.all": (30, 0),
    }  # fmt: skip
    assert [(f.name, f.value) for f in ended.gate("row.second").figures] == [
        ("share of rows rejected", 2 / 30),
        ("rows rejected", 2),
    ]
    first = ended.gate("row.first").examples[0]
    assert (first.row, first.id, first.source, first.line, first.text) == (0, "geography-01", "rows.jsonl", 1, "geography-01")
    assert ended.folder is not None
    quarantine = ended.folder / "quarantine.parquet"
    assert record.quarantine_sha256 == storage.sha256_file(quarantine)
    table = pq.read_table(quarantine)
    assert table.schema == QUARANTINE_SCHEMA
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    assert frame.select("row", "by", "reason", "line", "offset").rows() == [
        (0, "row.first", "first", 1, 0),
        (1, "row.first", "first", 2, 100),
        (2, "row.first", "first", 3, 200),
        (2, "row.second", "second", 3, 200),
        (7, "row.second", "second", 8, 700),
    ]
    assert frame["message"][4] == "Two rows, one of them again."


def test_row_gates_run_first_whatever_the_order_in_the_files(bench: Bench) -> None:
    bench.gates('@gate("a.batch")\ndef test_a(batch, require):\n    require("rows", batch.rows, above=0)\n', "a")
    bench.gates('@gate("z.row", rejects="z")\ndef test_z(id, quarantine):\n    quarantine(id == "")\n', "z")
    out = bench.judge("-v", "gates").out
    assert out.index("test_z.py::test_z") < out.index("test_a.py::test_a")


def test_what_is_no_mask_is_an_error(bench: Bench) -> None:
    bench.gates("""
        @gate("mask.null", rejects="x")
        def test_null(id, quarantine):
            quarantine(pl.Series([None] + [False] * (len(id) - 1)))

        @gate("mask.short", rejects="x")
        def test_short(id, quarantine):
            quarantine((id == "").head(29))

        @gate("mask.numbers", rejects="x")
        def test_numbers(id, quarantine):
            quarantine(id.str.len_chars())

        @gate("mask.list", rejects="x")
        def test_list(id, quarantine):
            quarantine([False] * len(id))

        @gate("mask.twice", rejects="x")
        def test_twice(id, quarantine):
            quarantine(id == "")
            quarantine(id == "")

        @gate("mask.never", rejects="x")
        def test_never(id, require):
            require("ids", id.n_unique(), above=0)

        @gate("mask.batch-gate")
        def test_batch_gate(id, quarantine):
            quarantine(id == "")

        @gate("mask.found", rejects="x")
        def test_found(id, quarantine):
            quarantine(id == "", found=id.str.len_chars())

        @gate("mask.text", rejects="x")
        def test_text(id, quarantine):
            quarantine(id == "", text=id.head(3))

        @gate("mask.failed", rejects="x")
        def test_failed(id, quarantine):
            quarantine(id == "geography-01")

        @gate("mask.whole")
        def test_whole(batch, require):
            require("rows", batch.rows, equals=29)
    """)
    ended = bench.judge()
    for gate_id, why in {
        "mask.null": "[E-MASK]: mask.null: the mask is null for 1 rows: cannot tell",
        "mask.short": "[E-MASK]: mask.short: the mask has 29 values for 30 rows",
        "mask.numbers": "[E-MASK]: mask.numbers: the mask is UInt32, not a Series of bool",
        "mask.list": "[E-MASK]: mask.list: the mask is list, not a Series of bool",
        "mask.twice": "[E-MASK]: mask.twice calls quarantine twice",
        "mask.never": "it declares rejects= and never called quarantine",
        "mask.batch-gate": "[E-GATE]: mask.batch-gate calls quarantine and declares no rejects=",
        "mask.found": "[E-MASK]: mask.found: found is no Series of 30 strings",
        "mask.text": "[E-MASK]: mask.text: text is no Series of 30 strings",
        "mask.failed": "rows rejected is 1, allowed is <= 0",
    }.items():
        assert ended.status(gate_id) == "failed", gate_id
        assert why in ended.why(gate_id)
        assert why in ended.out, "whoever reads the terminal learns why"
    assert ended.status("mask.whole") == "passed", "rows of a failed row gate are out of the population too"
    assert not ended.sealed


def test_a_batch_without_rows_is_a_no(bench: Bench) -> None:
    bench.batch([], "empty")
    bench.gates("""
        @gate("zero.row", rejects="x")
        def test_row(answer_text, quarantine):
            quarantine(answer_text == "")

        @gate("zero.batch")
        def test_batch(batch, require):
            require("rows", batch.rows, at_least=0)

        @gate("zero.raw")
        def test_raw(batch, require):
            require("rows", len(batch.column("id")), at_least=0)
    """)
    ended = bench.judge(batch="empty")
    assert ended.code == 1
    assert ended.record.verdict == "FAILED"
    assert "it saw no row" in ended.why("zero.batch")
    assert "empty has no rows: there is nothing to judge" in ended.why("zero.row")


def test_why_stands_before_what_is_quoted_and_in_the_quarantine(bench: Bench) -> None:
    bench.gates("""
        @gate("row.why", rejects="why")
        def test_why(response, quarantine):
            first = pl.select(pl.int_range(len(response)) == 0).to_series()
            found = response.str.slice(2, 3)
            quarantine(first, found=found, text=response, why=pl.Series(["over the bound"] * len(response)))
    """)
    ended = bench.judge()
    (example,) = ended.gate("row.why").examples
    assert example.text.startswith("over the bound | ")
    assert example.start is not None
    assert example.start >= len("over the bound | ")
    piece = example.text[example.start : example.end]
    assert ended.folder is not None
    (row,) = pq.read_table(ended.folder / "quarantine.parquet").to_pylist()
    assert row["message"].endswith(f"over the bound | {piece}".strip())
    assert f"over the bound | {example.text[17 : example.start]}»{piece}«" in ended.out
