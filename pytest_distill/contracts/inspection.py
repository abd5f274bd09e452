"""A sampling inspection: which rows of a batch were looked at, by people or by a verifier, and what was said of each.

The record lies beside the batch, in `.distill/inspections/<batch>.json`, never in it. Nobody chooses the rows: they follow from
the batch's digest, so that whoever inspects, and the gate, draw the same ones.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.rows import NonBlank

Judgement = Literal["good", "bad", "unsure"]
Row = Annotated[int, Field(ge=0)]


class Decision(Contract):
    """What was said of one row, the position in the batch. `who` and `at` are as the machine knew them.

    `verifier` is the id of the automated verifier that said it, None for a person; `seconds` is how long it took.
    """

    row: Row
    judgement: Judgement
    reason: str = ""
    who: NonBlank
    at: NonBlank
    verifier: Sha256 | None = None
    seconds: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def says_why(self) -> Decision:
        if self.judgement != "good" and not self.reason.strip():
            raise ValueError(f"row {self.row} is {self.judgement}, and nobody says why")
        return self


class Inspection(Contract):
    """The rows drawn from a batch, in its order, and the decisions so far, one a row at most."""

    schema_version: Literal[1] = 1
    batch: NonBlank
    batch_sha256: Sha256
    rows: tuple[Row, ...]
    decisions: tuple[Decision, ...] = ()

    @model_validator(mode="after")
    def consistent(self) -> Inspection:
        decided = [decision.row for decision in self.decisions]
        if sorted(set(self.rows)) != list(self.rows):
            raise ValueError("rows are drawn once each, and stand in the batch's order")
        if len(set(decided)) != len(decided) or not set(decided) <= set(self.rows):
            raise ValueError("a decision is about one of the rows that were drawn, one a row")
        return self

    @property
    def open(self) -> tuple[int, ...]:
        """Rows that nobody has judged yet."""
        decided = {decision.row for decision in self.decisions}
        return tuple(row for row in self.rows if row not in decided)

    def count(self, judgement: Judgement) -> int:
        return sum(decision.judgement == judgement for decision in self.decisions)

    @property
    def defects(self) -> int:
        """Rows that are not good. Unsure is not good: what cannot be told is "no"."""
        return len(self.decisions) - self.count("good")

    @property
    def verifiers(self) -> tuple[str, ...]:
        """The ids of the automated verifiers whose word stands for a row."""
        return tuple(sorted({decision.verifier for decision in self.decisions if decision.verifier is not None}))

    def inspectors(self) -> dict[str, tuple[Decision, ...]]:
        """What each of those who judged said, in the order in which they said it."""
        names = sorted({decision.who for decision in self.decisions})
        return {
            name: tuple(sorted((d for d in self.decisions if d.who == name), key=lambda decision: (decision.at, decision.row)))
            for name in names
        }


def draw(batch_sha256: str, rows: int, count: int) -> tuple[int, ...]:
    """`count` of `rows` positions (all where there are fewer), ascending; the batch's digest decides which.

    SHA-256 in counter mode, modulo the number of rows: the same on every machine and for every release of every library.
    """
    chosen: set[int] = set()
    number = 0
    while len(chosen) < min(count, rows):
        digest = hashlib.sha256(f"{batch_sha256}:{number}".encode()).digest()
        chosen.add(int.from_bytes(digest[:8], "big") % rows)
        number += 1
    return tuple(sorted(chosen))
