"""Models are counted call by call, and no call breaks through a ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_workspace import make_workspace

from pytest_distill import ledger
from pytest_distill.contracts.manifest import ModelUse, Usage
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models.backend import Completion, Sampling
from pytest_distill.pipelines.models.metering import Limits, Meter, MeteredBackend, budget, session
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.allowance import Task
from pytest_distill.policy.workspace import Workspace

USE = ModelUse(name="words", revision="1", weights_sha256="0" * 64)


class Words:
    """A model whose tokens are words, and that says the last word of its prompt as often as it may."""

    def generate(self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        said = [prompt.split()[-1:] * min(sampling.max_new_tokens, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        return [Completion(" ".join(words), len(words), "length") for words in said]

    def next_token_logprobs(self, prompts: Sequence[str], tokens: Sequence[str]) -> list[tuple[float, ...]]:
        return [tuple(-1.0 for _ in tokens) for _ in prompts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def test_calls_tokens_and_money_are_counted(workspace: Workspace) -> None:
    with session(workspace, Task(), batch="demo") as running:
        model = MeteredBackend(Words(), running.meter(USE, price=2_000_000))
        model.generate(["one two", "three"], Sampling(5), [2, 9])
        model.next_token_logprobs(["one two"], ["A", "B"])
        assert running.used == Usage(calls=3, tokens_read=5, tokens_written=7, cost=24.0)
        assert running.uses() == (USE.model_copy(update={"usage": running.used}),)
    (entry,) = [entry for entry in ledger.entries(workspace.ledger) if entry.event == "metered"]
    facts = entry.facts
    assert (entry.batch, facts["model"], facts["tier"], facts["calls"], facts["cost"]) == ("demo", "words", "local", 3, 24.0)
    assert float(str(facts["seconds"])) >= 0


def test_what_was_used_is_in_the_ledger_however_the_run_ends(workspace: Workspace) -> None:
    with pytest.raises(DistillError), session(workspace, Task(), Limits(calls=1)) as running:  # noqa: PT012 - what ends it is inside
        model = MeteredBackend(Words(), running.meter(USE))
        model.generate(["one"], Sampling(1), [1])
        model.generate(["one"], Sampling(1), [1])
    assert [entry.event for entry in ledger.entries(workspace.ledger)][-1] == "metered"


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), max_size=12))
def test_no_call_breaks_through_a_ceiling(ceiling: int, calls: list[tuple[int, int]]) -> None:
    meter = Meter(USE)
    meter.limit(Limits(tokens=ceiling))
    model = MeteredBackend(Words(), meter)
    for length, most in calls:
        before = meter.used
        dearest = before.tokens_read + before.tokens_written + length + most
        if dearest <= ceiling:
            model.generate([" ".join(["w"] * length)], Sampling(most), [most])
        else:
            with pytest.raises(DistillError, match="E-BUDGET"):
                model.generate([" ".join(["w"] * length)], Sampling(most), [most])
            assert meter.used == before
    assert meter.used.tokens_read + meter.used.tokens_written <= ceiling


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(calls=1), "calls are made"),
        (Limits(tokens=3), "tokens are used"),
        (Limits(cost=0.001), "is spent"),
        (Limits(minutes=1e-9), "minutes of this session"),
    ],
)
def test_each_ceiling_says_which_it_is(workspace: Workspace, limits: Limits, word: str) -> None:
    with session(workspace, Task(), limits) as running:
        model = MeteredBackend(Words(), running.meter(USE, price=1000))
        with pytest.raises(DistillError, match=word):
            model.generate(["one", "two"], Sampling(2), [1, 1])
        assert running.used == Usage()


def test_the_policys_budget_holds_and_a_command_can_only_ask_for_less(workspace: Workspace) -> None:
    (workspace.root / "distill.toml").write_text(
        '[budget]\nmax_tokens = 100\n[[models]]\nname = "words"\ntier = "local"\nprice = 3.0\nmax_tokens = 4\n'
    )
    policed = workspaces.load(workspace.root)
    assert (budget(policed, tokens=10).tokens, budget(policed, tokens=500).tokens, budget(policed).tokens) == (10, 100, 100)
    with session(policed, Task()) as running:
        meter = running.meter(USE)
        assert meter.price == 3.0
        model = MeteredBackend(Words(), meter)
        model.generate(["one"], Sampling(2), [2])
        with pytest.raises(DistillError, match="E-BUDGET"):
            model.generate(["one"], Sampling(2), [2])


def test_what_sessions_before_used_counts(workspace: Workspace) -> None:
    with session(workspace, Task(), Limits(tokens=10)) as running:
        running.earlier = Usage(calls=1, tokens_read=9)
        with pytest.raises(DistillError, match="9 of 10 tokens are used"):
            MeteredBackend(Words(), running.meter(USE)).generate(["one"], Sampling(1), [1])
