"""Runs a standard gate as a plain function: its own limits, columns given, and what it rejects and requires handed back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import polars as pl


@dataclass
class Judgement:
    rejected: list[bool] = field(default_factory=list)
    found: list[str | None] = field(default_factory=list)
    why: list[str | None] = field(default_factory=list)
    figures: dict[str, tuple[float, dict[str, float]]] = field(default_factory=dict)


def judge(gate: Callable[..., None], *, limits: dict[str, Any] | None = None, **columns: pl.Series) -> Judgement:
    """Calls a gate with the limits of its own declaration, those in `limits` replaced."""
    (mark,) = (m for m in gate.pytestmark if m.name == "gate")
    judgement = Judgement()

    def quarantine(
        mask: pl.Series, *, found: pl.Series | None = None, text: pl.Series | None = None, why: pl.Series | None = None
    ) -> None:
        assert mask.dtype == pl.Boolean
        assert mask.null_count() == 0
        assert text is None or len(text) == len(mask)
        assert found is None or len(found) == len(mask)
        assert why is None or len(why) == len(mask)
        judgement.rejected = mask.to_list()
        judgement.found = [] if found is None else found.to_list()
        judgement.why = [] if why is None else why.to_list()

    def require(name: str, value: float, **bounds: float) -> None:
        judgement.figures[name] = (value, bounds)

    def places(rows: pl.Series) -> pl.Series:
        return pl.select(pl.concat_str(pl.lit("rows.jsonl:"), (rows + 1).cast(pl.String))).to_series()

    given = {
        "quarantine": quarantine,
        "require": require,
        "limits": SimpleNamespace(**mark.kwargs["limits"] | (limits or {})),
        "batch": SimpleNamespace(places=places),
    }
    wanted = gate.__code__.co_varnames[: gate.__code__.co_argcount]
    gate(**{name: (given | columns)[name] for name in wanted})
    return judgement
