"""One line of the ledger: something that happened to a batch, and the digest of the line before it."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256

Fact = str | int | float | bool | None | tuple[str, ...] | dict[str, int]


class LedgerEntry(Contract):
    """`prev` is the SHA-256 of the previous line's bytes without its newline; the first line's is the digest of nothing."""

    schema_version: Literal[1] = 1
    seq: int = Field(ge=1)
    at: str
    event: str = Field(min_length=1)
    batch: str | None = None
    facts: dict[str, Fact] = Field(default_factory=dict)
    prev: Sha256

    def to_line(self) -> bytes:
        """The bytes that are chained: one compact JSON object without newline, keys sorted."""
        value = self.model_dump(mode="json")
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("utf-8")

    def audit_line(self) -> str:
        """`[timestamp] [batch_id] [what] [why] [where] [how] [gates_passed]`, each text quoted as JSON; unknown ones are ""."""
        gates = self.facts.get("gates_passed")
        texts = [self.facts.get(name) for name in ("what", "why", "where", "how")]
        texts.append("+".join(gates) if isinstance(gates, tuple) else gates)
        return " ".join(
            [self.at, self.batch or "-", *(json.dumps("" if t is None else str(t), ensure_ascii=True) for t in texts)]
        )
