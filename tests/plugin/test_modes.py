"""The ways people start pytest: quiet, verbose, reports, several workers. And two runs that have to leave the same bytes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from workbench import Bench, Ended, inside

LEFT_OUT = '[gates."own.row"]\nmax_rejected_rows = 2\n'
GATES = """
    @measure(version=1)
    def characters(response: pl.Series) -> pl.Series:
        return response.str.len_chars()

    @gate("own.row", rejects="x")
    def test_row(id, response, quarantine):
        "Two rows stay behind."
        quarantine(pl.Series([row in (3, 17) for row in range(len(id))]), found=response.str.head(4), text=response)

    @gate("own.remaining")
    def test_remaining(characters, batch, require):
        require("rows", len(characters), equals=28)
        require("median characters", characters.median(), below=4000, unit="characters")
"""
WRITTEN = ("evidence.json", "verdict.json", "seal.json", "quarantine.parquet")


def with_gates(bench: Bench) -> Bench:
    bench.policy(LEFT_OUT)
    bench.gates(GATES)
    return bench


def test_quiet_leaves_the_verdict_and_verbose_shows_everything(bench: Bench) -> None:
    with_gates(bench)
    plain, quiet, verbose = (bench.judge(*args) for args in ([], ["-q"], ["-v"]))
    assert "own.row" in plain.out
    assert "own.row" not in quiet.out
    for ended in (plain, quiet, verbose):
        assert "distill: PASSED, sealed: .distill" in ended.out
        assert "rows: 30 in the batch = 28 remaining + 2 quarantined" in ended.out
    assert "gates do not apply to this batch; -v shows them" in plain.out
    assert "n/a" in verbose.out


def test_quiet_tells_the_reasons_of_a_no_and_where_the_rows_are(bench: Bench) -> None:
    bench.gates(GATES)
    ended = bench.judge("-q", "--tb=no")
    assert "own.row: Two rows stay behind." in ended.out
    assert "rows rejected is 2, allowed is <= 0" in ended.out
    assert "rows.jsonl:4  »" in ended.out
    assert 'limits, in distill.toml under [gates."own.row"]: max_rejected_rows = 0, max_rejected_share = unset' in ended.out


def test_junit_and_durations_work(bench: Bench) -> None:
    bench.gates(GATES)
    ended = bench.judge("--junitxml=report.xml", "--durations=3")
    suite = ElementTree.parse(bench.root / "report.xml").getroot()[0]
    assert suite.attrib["failures"] == "1"
    failure = next(iter(suite.iter("failure")))
    assert "rows rejected is 2, allowed is <= 0" in (failure.text or "")
    assert "slowest 3 durations" in ended.out


def test_a_run_that_only_looks_leaves_nothing(bench: Bench) -> None:
    for option in ("--collect-only", "--fixtures", "--markers", "--version", "--help"):
        assert bench.judge(option).folder is None, option
    assert not (bench.root / ".distill" / "runs").exists()


def test_a_file_is_judged_without_ceremony(bench: Bench, tmp_path: Path) -> None:
    rows = "".join(f'{{"instruction": "What is {n} times 7?", "response": "It is {7 * n}."}}\n' for n in range(40))
    (tmp_path / "rows.jsonl").write_text(rows)
    ended = bench.judge(cwd=tmp_path, batch="rows.jsonl")
    assert "40 rows" in ended.out
    assert "no workspace: default policy" in ended.out
    assert "distill: " in ended.out.splitlines()[-3] + ended.out.splitlines()[-2], ended.out


def test_export_follows_a_pass_and_nothing_follows_a_no(bench: Bench) -> None:
    bench.gates(GATES)
    refused = bench.judge("--distill-export=out")
    assert refused.record.verdict == "FAILED"
    assert not (bench.root / "out").exists()
    bench.policy(LEFT_OUT)
    ended = bench.judge("--distill-export=out")
    assert ended.code == 0, ended.out
    assert "distill: exported to " in ended.out
    assert (bench.root / "out" / "SHA256SUMS").is_file()
    again = bench.judge("--distill-export=out")
    assert again.code == 1, "the target is taken"
    assert "ERROR [E-EXPORT-EXISTS]" in again.out


def test_export_without_a_batch_is_refused(bench: Bench) -> None:
    with inside(bench.root) as (_, err):
        assert pytest.main(["--distill-export=out"]) == 4
    assert err.getvalue() == "ERROR [E-USAGE]: --distill-export needs --distill-batch. Name the batch to judge.\n"


@pytest.fixture(scope="module")
def runs(make_bench: Callable[[], Bench]) -> dict[str, Ended]:
    """The same batch, policy and gates: cold, warm, with workers; in workspaces that lie in different places."""
    here, there = with_gates(make_bench()), with_gates(make_bench())
    shutil.rmtree(here.root / ".distill")
    return {"cold": here.subprocess(), "warm": here.subprocess(), "two workers": there.subprocess("-n2", "--dist=worksteal")}


def test_every_way_of_running_passes(runs: dict[str, Ended]) -> None:
    assert {name: (ended.code, ended.record.verdict) for name, ended in runs.items()} == dict.fromkeys(runs, (0, "PASSED"))
    assert runs["cold"].computed
    assert not runs["warm"].computed
    assert "distill: PASSED, sealed" in runs["two workers"].out


@pytest.mark.parametrize("name", WRITTEN)
def test_equal_inputs_leave_equal_bytes(runs: dict[str, Ended], name: str) -> None:
    written = {way: unchained((ended.folder / name).read_bytes()) for way, ended in runs.items() if ended.folder}
    assert len(written) == len(runs)
    assert {way for way, data in written.items() if data != written["cold"]} == set()


def unchained(data: bytes) -> bytes:
    """Without the line of the ledger that a seal names: that one differs from run to run, because it holds a time."""
    return re.sub(rb'"pkg:pypi/pytest-distill#ledger":\s*\{[^{}]*\}', b"", data)


def test_a_worker_that_dies_means_no(bench: Bench) -> None:
    with_gates(bench)
    bench.gates(
        """
        import os

        @gate("own.crash")
        def test_crash(batch, require):
            if not os.path.exists("crashed"):
                open("crashed", "w").close()
                os._exit(1)
            require("rows", batch.rows, above=0)
        """,
        "zz_crash",
    )
    ended = bench.subprocess("-n1")
    assert ended.code != 0
    assert ended.record.verdict in ("FAILED", "INCOMPLETE")
    assert not ended.sealed


def test_a_gate_run_that_is_stopped_means_no(bench: Bench) -> None:
    with_gates(bench)
    bench.gates('@gate("own.stop")\ndef test_stop(batch):\n    raise KeyboardInterrupt\n', "stop")
    ended = bench.judge()
    assert ended.code == 2
    assert ended.record.verdict == "FAILED"
    assert ended.status("own.stop") == "failed"
    assert not ended.sealed


def test_several_workers_from_a_subfolder(bench: Bench) -> None:
    with_gates(bench)
    (bench.root / "deep").mkdir()
    ended = bench.subprocess("-n1", "--distill-workspace=..", cwd=bench.root / "deep")
    assert ended.record.verdict == "PASSED", ended.out


def test_a_batch_gate_that_runs_before_a_row_gate_is_found_out(bench: Bench) -> None:
    with_gates(bench)
    bench.file(
        "gates/conftest.py",
        """
        def pytest_collection_finish(session):
            session.items.reverse()
    """,
    )
    ended = bench.judge()
    assert any("ran after a batch gate" in finding for finding in ended.record.findings)
    assert not ended.sealed


@pytest.mark.parametrize("name", ["answers.jsonl", "data/answers.jsonl", "../answers.jsonl"])
def test_a_file_that_is_not_there_is_named(bench: Bench, name: str) -> None:
    ended = bench.subprocess(batch=name)
    assert ended.code == 4
    assert ended.err.startswith(f"ERROR [E-SOURCE-NOTFOUND]: {name} is neither a file here nor a batch")
    assert len(ended.err.splitlines()) == 1, ended.err
