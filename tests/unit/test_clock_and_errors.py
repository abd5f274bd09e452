"""The one clock, and what a refusal looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill import clock
from pytest_distill.errors import Code, DistillError, one_line


@pytest.fixture(autouse=True)
def unpinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_pinned", None)


def test_a_pinned_clock_stands_still_in_utc() -> None:
    clock.pin("2026-01-31T14:00:00.75+02:00")
    assert clock.timestamp() == "2026-01-31T12:00:00Z"
    assert clock.now() == clock.now()
    assert clock.now().microsecond == 0


def test_a_clock_that_is_not_pinned_runs() -> None:
    assert clock.timestamp() > "2020-01-01T00:00:00Z"
    assert clock.timestamp().endswith("Z")


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31T12:00:00", "2026-01-31", ""])
def test_a_time_without_a_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(DistillError) as caught:
        clock.pin(text)
    assert caught.value.code is Code.USAGE


def test_a_refusal_is_one_line_with_its_code_and_what_to_do() -> None:
    error = DistillError(Code.POLICY, "the limit is 3.", "Take 4.")
    assert error.line() == "ERROR [E-POLICY]: the limit is 3. Take 4."
    assert DistillError(Code.POLICY, "the limit is 3").line() == "ERROR [E-POLICY]: the limit is 3"


@given(st.text(st.characters(categories=["L", "N", "Cc", "Cf", "Zl", "Zp", "Cs", "Co"])))
def test_no_text_moves_the_cursor_or_forges_a_line(text: str) -> None:
    for shown in (one_line(text), DistillError(Code.SOURCE, text, text).line()):
        assert shown.isprintable()
        assert len(shown.splitlines()) <= 1
        shown.encode()


def test_codes_are_distinct() -> None:
    assert len({code.value for code in Code}) == len(Code)
    assert all(code.value.startswith("E-") for code in Code)
