"""What the policy can set for a gate: limits, allowances, severity, waivers, what is required; and what it cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from workbench import Bench, Ended

GATES = """
    @gate("own.row", rejects="x", limits={"longest": 4000, "words": ["a"], "name": "n", "on": True})
    def test_row(response, quarantine, limits):
        assert isinstance(limits.words, tuple)
        quarantine(response.str.len_chars() > limits.longest)

    @gate("own.fixed", rejects="x", limits={"longest": 4000}, fixed=True)
    def test_fixed(response, quarantine, limits):
        quarantine(response.str.len_chars() > limits.longest)

    @gate("own.batch", limits={"bound": 10})
    def test_batch(batch, require, limits):
        require("rows", batch.rows, above=limits.bound)

    @gate("own.warning", severity="warn")
    def test_warning(batch, require):
        require("rows", batch.rows, below=10)
"""


def test_limits_come_from_the_policy(bench: Bench) -> None:
    bench.gates(GATES)
    bench.policy("""
        [gates."own.row"]
        longest = 0
        words = ["b", "c"]
        max_rejected_rows = 30
        [gates."own.batch"]
        bound = 0
        severity = "warn"
        [gates."own.warning"]
        severity = "block"
    """)
    ended = bench.judge()
    assert ended.gate("own.row").limits == {
        "longest": 0, "words": ("b", "c"), "name": "n", "on": True, "max_rejected_rows": 30, "max_rejected_share": None,
    }  # fmt: skip
    assert ended.gate("own.row").rejected == 30
    assert ended.status("own.batch") == "warned", "all rows are gone, and the policy only warns"
    assert ended.status("own.warning") == "failed"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ('[gates."own.row"]\nshortest = 1', '[gates."own.row"] shortest does not exist'),
        ('[gates."own.row"]\nlongest = "many"', "longest has to be like its default 4000, not 'many'"),
        ('[gates."own.row"]\nlongest = true', "longest has to be like its default 4000, not True"),
        ('[gates."own.row"]\nwords = 3', "words has to be like its default ('a',), not 3"),
        ('[gates."own.row"]\non = 1', "on has to be like its default True, not 1"),
        ('[gates."own.row"]\nmax_rejected_rows = -1', "max_rejected_rows is a whole number from 0 on, not -1"),
        ('[gates."own.row"]\nmax_rejected_rows = 0.5', "max_rejected_rows is a whole number from 0 on, not 0.5"),
        ('[gates."own.row"]\nmax_rejected_share = 1.01', "max_rejected_share is a share from 0 to 1, not 1.01"),
        ('[gates."own.row"]\nmax_rejected_share = nan', "own.row"),
        ('[gates."own.row"]\nseverity = "off"', 'severity is "block" or "warn", not \'off\''),
        ('[gates."own.batch"]\nmax_rejected_rows = 1', "max_rejected_rows does not exist"),
        ('[gates."own.fixed"]\nmax_rejected_rows = 1', "cannot be set: this gate is fixed"),
        ('[gates."own.fixed"]\nmax_rejected_share = 0.5', "cannot be set: this gate is fixed"),
        ('[gates."own.fixed"]\nseverity = "warn"', "cannot be set: this gate is fixed"),
        ('[gates."own.rwo"]\nlongest = 1', "names the gate 'own.rwo', which nobody declares"),
        ("[gtaes]", "distill.toml: [gtaes] does not exist. Did you mean gates?"),
        ('[language]\nalowed = ["en"]', "[language] alowed does not exist. Did you mean allowed?"),
        ("[language]\nx = 1", "[language] x does not exist. There is allowed, min_confidence."),
        ('[[waivers]]\ngate = "own.row"\nreason = "r"\nwho = "w"\nexpires = 2999-01-01\nx = 1', "x does not exist"),
        ("[gates", "distill.toml is no TOML"),
        (
            '[[waivers]]\ngate = "own.rwo"\nreason = "r"\nwho = "w"\nexpires = 2999-01-01',
            "names the gate 'own.rwo', which nobody declares",
        ),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_before_anything_runs(bench: Bench, policy: str, said: str) -> None:
    bench.gates(GATES)
    bench.policy(policy)
    ended = bench.judge()
    assert ended.code == 4
    assert ended.folder is None
    assert ended.err.startswith("ERROR [E-POLICY]: ")
    assert len(ended.err.splitlines()) == 1, ended.err
    assert said in ended.err


def test_warnings_are_reported_and_neither_block_nor_reject_nor_unblock(bench: Bench) -> None:
    bench.gates("""
        @gate("warn.row", rejects="x", severity="warn")
        def test_row(id, quarantine):
            quarantine(id == "geography-01")

        @gate("warn.batch", severity="warn")
        def test_batch(id, require):
            require("ids", len(id), below=3)

        @gate("warn.error", severity="warn")
        def test_error(id, require):
            raise ValueError("an accident")

        @gate("own.size")
        def test_size(batch, require):
            require("rows", batch.rows, equals=30)
    """)
    ended = bench.judge()
    assert {ended.status(g) for g in ("warn.row", "warn.batch", "warn.error")} == {"warned"}
    assert "ids is 30, allowed is < 3" in ended.out
    assert "an accident" in ended.out
    assert (ended.record.verdict, ended.code, ended.sealed) == ("PASSED", 0, True)
    assert ended.record.rows.quarantined == 0


WAIVER = '[[waivers]]\ngate = "own.size"\nreason = "a person has counted"\nwho = "A. Name"\nexpires = {day}\n'
SIZE = """
    @gate("own.size")
    def test_size(batch, require):
        require("rows", batch.rows, above=3000)
"""


def test_a_waiver_lets_a_batch_pass_and_is_told(bench: Bench) -> None:
    bench.gates(SIZE)
    bench.policy(WAIVER.format(day="2999-12-31"))
    ended = bench.judge()
    gate = ended.gate("own.size")
    assert gate.status == "waived"
    assert gate.waiver is not None
    assert (gate.waiver.who, gate.waiver.expires) == ("A. Name", "2999-12-31")
    assert gate.why == ("waived by A. Name until 2999-12-31: a person has counted", "rows is 30, allowed is > 3000")
    assert "waived by A. Name until 2999-12-31: a person has counted" in ended.out
    assert (ended.record.verdict, ended.code) == ("PASSED", 0)
    assert ended.folder is not None
    assert "a person has counted" in (ended.folder / "seal.json").read_text()


def test_a_waiver_that_has_expired_waives_nothing_and_is_told(bench: Bench) -> None:
    bench.gates(SIZE)
    bench.policy(WAIVER.format(day="2020-01-31"))
    ended = bench.judge()
    assert ended.status("own.size") == "failed"
    assert ended.record.findings == ("the waiver for own.size by A. Name expired on 2020-01-31",)
    assert ended.record.verdict == "FAILED"


def test_a_gate_that_only_the_policy_requires_has_to_exist(bench: Bench) -> None:
    bench.policy('[required]\ngates = ["own.promised", "text.blank"]\n')
    ended = bench.judge()
    assert ended.status("own.promised") == "did_not_run"
    assert "the policy requires it and nobody declares it" in ended.why("own.promised")
    assert ended.gate("own.promised").origin == "policy"
    assert ended.record.verdict == "FAILED"


CONDITIONS = {
    "yes.kind": '{"kind": ["sft", "rag"]}',
    "yes.kind-text": '{"kind": "sft"}',
    "yes.origin": '{"origin": "ingested"}',
    "yes.columns": '{"columns": ["instruction", "response"]}',
    "yes.policy": '{"policy": "leakage.markers"}',
    "yes.all": '{"kind": "sft", "columns": "id"}',
    "no.kind": '{"kind": ["rag"]}',
    "no.origin": '{"origin": "generated"}',
    "no.columns": '{"columns": ["instruction", "score"]}',
    "no.policy": '{"policy": "contamination.benchmarks"}',
    "no.one-of-two": '{"kind": "sft", "columns": "score"}',
}


@pytest.fixture(scope="module")
def conditional(make_bench: Callable[[], Bench]) -> Ended:
    bench = make_bench()
    bench.policy('[leakage]\nmarkers = ["<|never|>"]\n')
    for number, (gate_id, applies) in enumerate(CONDITIONS.items()):
        bench.gates(
            f'@gate("{gate_id}", applies={applies})\ndef test_it(batch, require):\n    require("rows", batch.rows, above=0)\n',
            f"own{number}",
        )
    return bench.judge("-v")


@pytest.mark.parametrize("gate_id", CONDITIONS)
def test_manifest_and_policy_decide_whether_a_gate_applies(conditional: Ended, gate_id: str) -> None:
    assert conditional.status(gate_id) == ("passed" if gate_id.startswith("yes.") else "not_applicable")


def test_what_does_not_apply_says_why(conditional: Ended) -> None:
    assert conditional.record.verdict == "PASSED"
    for why in (
        "for rag batches; this one is sft",
        "for generated batches; this one is ingested",
        "the batch has no column 'score'",
        "the policy sets no contamination.benchmarks",
    ):
        assert why in conditional.out


def test_a_condition_on_a_policy_table_that_does_not_exist_is_refused(bench: Bench) -> None:
    bench.gates('@gate("own.gate", applies={"policy": "contamination.bench"})\ndef test_it(batch, require): pass\n')
    ended = bench.judge()
    assert ended.code == 4
    assert "own.gate applies where the policy sets contamination.bench, which no policy knows" in ended.err
