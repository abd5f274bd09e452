"""An automated verifier, and how far it agrees with people: measured on rows that both judged, before it may stand alone.

The record lies in `.distill/verifiers/<verifier's id>.json` and in the ledger. It is about one verifier exactly: another model,
prompt or threshold is another verifier, of which nobody knows anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from pydantic import Field, model_validator

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.rows import NonBlank

RARER_LABEL: Final = 5  # rows: of fewer good or bad ones nobody can say whether they are told apart
Z: Final = 1.959963984540054  # of a normal distribution, 95% two-sided

Call = Literal["good", "bad"]


class AutomatedVerifier(Contract):
    """What decides a verifier's judgements. `model_sha256` is of the weights; a server's are unknown, its revision is its word.

    kind       critic: the log-probabilities of two labels behind a rubric; judge: a reply that follows a JSON schema
    prompt_sha256  of the prompt, and for a critic of the tokenizer that reads it too
    threshold  a critic's margin, or a judge's score, below which it is unsure, which counts as a defect
    """

    kind: Literal["critic", "judge"]
    backend: NonBlank
    model: NonBlank
    revision: str | None = None
    model_sha256: Sha256 | None = None
    prompt_sha256: Sha256
    threshold: float

    @model_validator(mode="after")
    def known(self) -> AutomatedVerifier:
        if self.model_sha256 is None and not (self.revision or "").strip():
            raise ValueError("a verifier whose weights nobody can see is told apart by a revision")
        return self

    @property
    def id(self) -> str:
        """Hex SHA-256 of all that decides its judgements."""
        return storage.sha256_bytes(self.to_bytes())

    @property
    def name(self) -> str:
        return f"{self.kind} {self.model} {self.id[:12]}"


class SharedRow(Contract):
    """One row that people and the verifier judged. Where either was unsure, the row counts as bad, as it does in a sample."""

    row_sha256: Sha256
    who: NonBlank
    people: Call
    verifier: Call
    score: float | None = None


class Kappa(NamedTuple):
    """Cohen's kappa, and the ends of its 95% interval."""

    value: float
    low: float
    high: float


class Agreement(Contract):
    """The rows, and what follows from them: kappa is recomputed when a record is read, so that none can say another one."""

    schema_version: Literal[1] = 1
    verifier: AutomatedVerifier
    source: NonBlank
    source_sha256: Sha256
    rows: tuple[SharedRow, ...] = Field(min_length=1)
    kappa: float
    low: float
    high: float
    at: NonBlank

    @model_validator(mode="after")
    def follows(self) -> Agreement:
        digests = [row.row_sha256 for row in self.rows]
        if len(set(digests)) != len(digests):
            raise ValueError("a row is counted once")
        found = cohen_kappa(self.calls)
        if any(abs(a - b) > 1e-9 for a, b in zip(found, (self.kappa, self.low, self.high), strict=True)):
            raise ValueError(f"kappa of these rows is {found.value:.6f}, not {self.kappa:.6f}")
        return self

    @property
    def calls(self) -> list[tuple[bool, bool]]:
        """Whether people, and whether the verifier, called each row good."""
        return [(row.people == "good", row.verifier == "good") for row in self.rows]


def cohen_kappa(calls: Sequence[tuple[bool, bool]]) -> Kappa:
    """Cohen's kappa of two raters and two labels, with the large-sample interval of Fleiss, Cohen and Everitt (1969).

    Raises ValueError where either rater uses one label only, or the first has fewer than `RARER_LABEL` rows of one: agreement by
    chance is then (nearly) certain, and kappa undefined or without weight. The interval is cut at -1 and 1.
    """
    n = len(calls)
    both, first, second = (sum(hits) for hits in ([a and b for a, b in calls], [a for a, _ in calls], [b for _, b in calls]))
    if min(first, n - first) < RARER_LABEL:
        raise ValueError(f"people call {first} of {n} rows good: at least {RARER_LABEL} have to be good, and {RARER_LABEL} bad")
    if second in (0, n):
        raise ValueError(f"the verifier calls {'every' if second else 'no'} row good: it tells nothing apart")
    cells = {(True, True): both, (True, False): first - both, (False, True): second - both}
    cells[(False, False)] = n - sum(cells.values())
    share = {cell: count / n for cell, count in cells.items()}
    rows, columns = {True: first / n, False: 1 - first / n}, {True: second / n, False: 1 - second / n}
    observed = share[True, True] + share[False, False]
    expected = sum(rows[label] * columns[label] for label in (True, False))
    kappa = (observed - expected) / (1 - expected)
    spread = sum(share[a, a] * (1 - (rows[a] + columns[a]) * (1 - kappa)) ** 2 for a in (True, False))
    spread += (1 - kappa) ** 2 * sum(share[a, not a] * (columns[a] + rows[not a]) ** 2 for a in (True, False))
    spread -= (kappa - expected * (1 - kappa)) ** 2
    error = math.sqrt(max(0.0, spread) / n) / (1 - expected)
    return Kappa(kappa, max(-1.0, kappa - Z * error), min(1.0, kappa + Z * error))
