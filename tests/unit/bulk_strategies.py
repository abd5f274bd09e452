"""Strategies for the records of the bulk contract."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import SHA

from pytest_distill.contracts import bulk
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.bulk import GoldFile, GoldSet, PolicyChange, Rejudged

SAID = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip())).map(str.strip)
ID = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
TIME = st.just("2026-01-31T12:00:00Z")
STATUS = st.sampled_from(["PASSED", "FAILED", "INCOMPLETE"])
FACTS = ("what", "why", "affects", "impact_on_cost", "impact_on_quality", "impact_on_safety", "rollback_plan", "approver")


@st.composite
def changes(draw: st.DrawFn) -> PolicyChange:
    version = draw(st.integers(1, 9))
    rejudged = st.builds(Rejudged, batch=ID, before=STATUS, after=STATUS, flips=st.dictionaries(ID, SAID, max_size=2))
    return PolicyChange(
        version=version,
        at=draw(TIME),
        **{name: draw(SAID) for name in FACTS},
        policy_sha256=draw(SHA),
        file_sha256=draw(SHA),
        previous_sha256=draw(SHA) if version > 1 else None,
        rollback_to=draw(st.none() | st.integers(1, version - 1)) if version > 1 else None,
        rejudged=tuple(draw(st.lists(rejudged, max_size=2))),
    )


WRITTEN: dict[str, st.SearchStrategy[Contract]] = {
    "policy_change": changes(),
    "gold": st.builds(
        GoldSet,
        version=st.integers(1, 9),
        frozen_at=st.none() | TIME,
        files=st.builds(GoldFile, path=ID, sha256=SHA, rows=st.integers(1, 99), who=SAID, model=st.none() | SAID).map(
            lambda file: (file,)
        ),
    ),
}
ONE: dict[str, Contract] = {
    "policy_change": PolicyChange(
        version=1, at="2026-01-31T12:00:00Z", **dict.fromkeys(FACTS, "said"), policy_sha256="a" * 64, file_sha256="b" * 64
    ),
    "gold": GoldSet(version=1, files=(GoldFile(path="gold.jsonl", sha256="a" * 64, rows=1, who="Ada"),)),
}
MODELS = {value for value in vars(bulk).values() if isinstance(value, type) and issubclass(value, Contract)}
