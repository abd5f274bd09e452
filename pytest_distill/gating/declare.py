"""`@gate`: how a test says that it is a gate.

    @gate("length.answer", rejects="length_out_of_bounds", limits={"max_answer_tokens": 2048})
    def test_answer_length(answer_tokens, quarantine, limits):
        "Answers fit the training context."
        quarantine(answer_tokens > limits.max_answer_tokens)

Everything is written as literals: the plugin reads the declarations from the syntax tree too, so that a gate that is not
collected is known to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pytest

LimitValue = float | int | str | bool | tuple[str, ...]


def gate(
    id: str,  # noqa: A002 - the word authors expect
    *,
    rejects: str | None = None,
    severity: Literal["block", "warn"] = "block",
    applies: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    rows: Literal["remaining", "all"] = "remaining",
    fixed: bool = False,
) -> pytest.MarkDecorator:
    """Marks a test as a gate.

    id        literal and unique, such as "text.delimiter-leak"; parametrized gates become `id[param]`
    rejects   the reason code a *row gate* gives its rejected rows; without it the test is a *batch gate*
    severity  "warn" reports and never blocks, rejects no row, and never unblocks another gate
    applies   when the gate is required, judged from manifest and policy: {"kind": ["sft"], "pipeline": "stage1",
              "columns": ["prompt"], "policy": "contamination.benchmarks", "asks": "inspection"}; every condition must
              hold; "policy" means: set and not empty; "asks": for "bulk" generated bulk, for "inspection" what `[inspection]`
              asks to be looked at too
    limits    names and defaults of the bounds; `[gates."<id>"]` in distill.toml overrides them. A row gate also has
              max_rejected_rows (0) and max_rejected_share (unset); setting the share lifts the count
    rows      which rows a batch gate sees: those that remain after quarantine, or all
    fixed     no policy can make it a warning, waive it, or let it reject rows
    """
    import pytest

    return pytest.mark.gate(
        id, rejects=rejects, severity=severity, applies=dict(applies or {}), limits=dict(limits or {}), rows=rows, fixed=fixed
    )
