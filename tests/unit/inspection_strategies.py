"""Strategies for the record of a verifier's agreement with people."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import SHA

from pytest_distill.contracts import verifier
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.verifier import RARER_LABEL, Agreement, AutomatedVerifier, SharedRow, cohen_kappa

WORD = st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
CALL = st.sampled_from(["good", "bad"])
TIME = "2026-01-31T12:00:00Z"


def calls(rows: list[SharedRow]) -> list[tuple[bool, bool]]:
    return [(row.people == "good", row.verifier == "good") for row in rows]


def agreement(rows: list[SharedRow], one: AutomatedVerifier) -> Agreement:
    kappa, low, high = cohen_kappa(calls(rows))
    return Agreement(
        verifier=one, source="rows.jsonl", source_sha256="a" * 64, rows=tuple(rows), kappa=kappa, low=low, high=high, at=TIME
    )


@st.composite
def agreements(draw: st.DrawFn) -> Agreement:
    people = ["good"] * draw(st.integers(RARER_LABEL, 12)) + ["bad"] * draw(st.integers(RARER_LABEL, 12))
    said = draw(st.lists(CALL, min_size=len(people), max_size=len(people)).filter(lambda words: len(set(words)) == 2))
    rows = [
        SharedRow.model_validate(
            {"row_sha256": f"{n:064x}", "who": draw(WORD), "people": a, "verifier": b, "score": draw(st.none() | st.just(0.5))}
        )
        for n, (a, b) in enumerate(zip(people, said, strict=True))
    ]
    one = AutomatedVerifier(
        kind=draw(st.sampled_from(["critic", "judge"])), backend=draw(WORD), model=draw(WORD), revision=draw(st.none() | WORD),
        model_sha256=draw(SHA), prompt_sha256=draw(SHA), threshold=draw(st.floats(-5, 5)),
    )  # fmt: skip
    return agreement(rows, one)


ROWS = [
    SharedRow.model_validate({"row_sha256": f"{n:064x}", "who": "Ada", "people": word, "verifier": word})
    for n, word in enumerate(["good", "bad"] * RARER_LABEL)
]
ONE: dict[str, Contract] = {
    "agreement": agreement(
        ROWS, AutomatedVerifier(kind="critic", backend="b", model="m", revision="r", prompt_sha256="b" * 64, threshold=1.0)
    )
}
WRITTEN: dict[str, st.SearchStrategy[Contract]] = {"agreement": agreements()}
MODELS = {value for value in vars(verifier).values() if isinstance(value, type) and issubclass(value, Contract)}
