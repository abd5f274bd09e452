"""What a verifier says of one row."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_distill.contracts.inspection import Judgement


@dataclass(frozen=True)
class Said:
    """`score` is None where there is none: it could not be asked, or does not give one."""

    judgement: Judgement
    reason: str
    score: float | None
