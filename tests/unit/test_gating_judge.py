"""From what was seen to what is said: every status, and what it takes for a PASSED."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pytest_distill.contracts.run import Bound, Figure, GateRecord, Waiver
from pytest_distill.gating import judge
from pytest_distill.gating.evidence import Evidence
from pytest_distill.gating.judge import Observation
from pytest_distill.gating.population import Population
from pytest_distill.policy.model import Policy
from pytest_distill.suite.declared import Declared

WAIVER = Waiver(gate="own.gate", reason="read by a person", who="A. Name", expires="2999-01-31")


class Rows:
    """As much of a batch as a population of `rows` rows asks for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows


def declared(gate_id: str = "own.gate", **facts: Any) -> Declared:
    return Declared(id=gate_id, title="t", origin="workspace", file=Path("f"), line=1, function="test", **facts)


def seen(
    *, rows: int = 10, rejects: str | None = None, figures: bool = True, ok: bool = True, used: bool = True, **facts: Any
) -> Observation:
    """A batch gate that ran and passed, but for what is changed."""
    gate = declared(rejects=rejects)
    evidence = Evidence(gate, {}, Population(Rows(rows)))  # type: ignore[arg-type]
    if figures:
        evidence.figures.append(Figure(name="x", value=1, bound=Bound(op="below", value=2 if ok else 1), ok=ok, rows=rows))
    if used:
        evidence.used.add("text")
    base: dict[str, Any] = {"evidence": evidence, "calls": 1, "phases": ["setup", "call", "teardown"]}
    return Observation(gate, gate.id, **{**base, **facts})


def said(
    observed: Observation, why_not: str | None = None, waiver: Waiver | None = None, level: Any = "block"
) -> tuple[str, list[str]]:
    return judge.status_of(observed, why_not=why_not, waiver=waiver, level=level)


def test_a_gate_that_ran_and_left_evidence_within_bounds_has_passed() -> None:
    assert said(seen()) == ("passed", [])


NO: dict[str, tuple[Observation, str]] = {
    "nothing happened": (seen(calls=0, phases=[]), "it did not run"),
    "only setup": (seen(calls=0, raised={"setup": "boom"}, phases=["setup", "teardown"]), "setup: boom"),
    "raised": (seen(raised={"call": "boom"}), "boom"),
    "raised in teardown": (seen(raised={"teardown": "boom"}), "teardown: boom"),
    "out of bounds": (seen(ok=False), "x is 1, allowed is < 1"),
    "twice": (seen(calls=2), "it was run 2 times"),
    "no teardown": (seen(phases=["setup", "call"]), "its setup or teardown was cut short"),
    "two setups": (seen(phases=["setup", "setup", "call", "teardown"]), "its setup or teardown was cut short"),
    "no evidence": (seen(evidence=None), "it left no evidence"),
    "no figure": (seen(figures=False), "it left no figure"),
    "no mask": (seen(rejects="x"), "it declares rejects= and never called quarantine"),
    "nothing used": (seen(used=False), "it used no column of the batch"),
    "no rows": (seen(rows=0), "it saw no row"),
    "a finding": (seen(findings=["its code was replaced"]), "its code was replaced"),
}


@pytest.mark.parametrize("name", NO)
def test_whatever_is_missing_is_a_no(name: str) -> None:
    observed, why = NO[name]
    status, reasons = said(observed)
    assert status == ("did_not_run" if name == "nothing happened" else "failed")
    assert why in "\n".join(reasons)


DECIDED = ("raised", "out of bounds")


@pytest.mark.parametrize("name", DECIDED)
def test_a_waiver_waives_a_no_and_keeps_its_reasons(name: str) -> None:
    observed, why = NO[name]
    status, reasons = said(observed, waiver=WAIVER)
    assert status == "waived"
    assert reasons[0] == "waived by A. Name until 2999-01-31: read by a person"
    assert why in "\n".join(reasons[1:])


@pytest.mark.parametrize("name", sorted(NO.keys() - set(DECIDED)))
def test_a_waiver_is_no_substitute_for_a_gate_that_did_not_decide(name: str) -> None:
    assert said(NO[name][0], waiver=WAIVER) == said(NO[name][0])


@pytest.mark.parametrize("name", NO)
def test_a_warning_warns(name: str) -> None:
    assert said(NO[name][0], level="warn")[0] == "warned"


def test_what_passes_needs_no_waiver_and_what_does_not_apply_needs_nothing() -> None:
    assert said(seen(), waiver=WAIVER) == ("passed", [])
    assert said(seen(calls=0), why_not="for rag batches", waiver=WAIVER) == ("not_applicable", ["for rag batches"])


def record(status: Any, severity: Any = "block", gate_id: str = "a") -> GateRecord:
    return GateRecord(id=gate_id, title="t", kind="batch", severity=severity, status=status, origin="standard")


def test_passed_needs_all_good_one_blocking_yes_and_no_finding() -> None:
    good = [record("passed"), record("warned", "warn"), record("waived"), record("not_applicable")]
    assert judge.verdict(good, []) == "PASSED"
    assert judge.verdict(good, ["something"]) == "FAILED"
    assert judge.verdict(good[1:], []) == "FAILED", "nothing blocking said yes"
    assert judge.verdict([record("passed", "warn")], []) == "FAILED", "a warning never unblocks"
    assert judge.verdict([], []) == "FAILED"
    for bad in ("failed", "did_not_run"):
        assert judge.verdict([*good, record(bad)], []) == "FAILED"


def test_the_verdict_does_not_hang_on_the_order_of_the_gates() -> None:
    gates = [record("passed"), record("failed"), record("waived")]
    assert {judge.verdict(order, []) for order in itertools.permutations(gates)} == {"FAILED"}


def test_what_is_declared_collected_or_named_in_the_policy_is_required() -> None:
    gates = {name: declared(name) for name in ("a", "b", "c")}
    policy = Policy.model_validate({"required": {"gates": ["p", "b", "c"]}})
    assert judge.required_ids(gates, ["b[1]", "b[2]", "x"], policy) == ("a", "b[1]", "b[2]", "c", "p", "x")
    assert judge.required_ids(gates, [], Policy()) == ("a", "b", "c")


@pytest.mark.parametrize(("today", "live"), [("2027-01-30", True), ("2027-01-31", True), ("2027-02-01", False)])
def test_a_waiver_lasts_through_its_last_day(today: str, live: bool) -> None:
    policy = Policy.model_validate({"waivers": [{"gate": "a", "reason": "r", "who": "w", "expires": "2027-01-31"}]})
    found, over = judge.waivers(policy, dt.date.fromisoformat(today))
    assert (set(found), over) == (({"a"}, []) if live else (set(), ["the waiver for a by w expired on 2027-01-31"]))


def test_a_record_shows_what_was_seen_on_lines_that_are_safe_to_print() -> None:
    observed = seen(raised={"call": "bad \x1b[31m\n"}, rejects="x", source="gates/test_a.py")
    assert observed.evidence is not None
    observed.evidence.mask = pl.Series([True, True] + [False] * 8)
    shown = judge.record(observed, why_not=None, waiver=None, policy=Policy())
    assert shown.why == ("bad \\x1b[31m\\n",)
    assert (shown.rejected, shown.rows_seen, shown.reason_code, shown.status) == (2, 10, "x", "failed")
    assert shown.limits == {"max_rejected_rows": 0, "max_rejected_share": None}


def test_rows_that_remain_are_those_that_no_mask_marks() -> None:
    population = Population(Rows(4))  # type: ignore[arg-type]
    series = pl.Series([1, 2, 3, 4])
    assert population.remaining_count == 4
    population.reject("a", pl.Series([True, False, False, False]))
    assert population.select(series, everything=False).to_list() == [2, 3, 4]
    population.reject("b", pl.Series([False, False, True, False]))
    assert population.remaining_count == 2
    assert population.select(series, everything=False).to_list() == [2, 4]
    assert population.select(series, everything=True).to_list() == [1, 2, 3, 4]
