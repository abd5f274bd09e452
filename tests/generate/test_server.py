"""The backend for served models, against a real HTTP server in a process of its own that serves the same checkpoint."""

from __future__ import annotations

import pytest

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.loader import CleanModelLoader
from pytest_distill.pipelines.models.server import ServerBackend
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

PROMPTS = CompletionStylePrompts()
LABELS = ("A", " A", "B", " B")


@pytest.fixture
def served(address, tiny):
    return ServerBackend(address, "tiny", CleanModelLoader(str(tiny)).guard)


@pytest.mark.parametrize(
    "sampling", [Sampling(max_new_tokens=12), Sampling(max_new_tokens=12, temperature=0.7, top_p=0.9, repetition_penalty=1.1)]
)
def test_the_served_model_writes_what_the_model_writes(served, backend, sampling):
    prompts = [PROMPTS.instruction_list(n) for n in range(5)]
    assert [c.text for c in served.generate(prompts, sampling, range(5))] == [
        c.text for c in backend.generate(prompts, sampling, range(5))
    ]


def test_stop_strings_are_applied_here(served, backend):
    prompt = PROMPTS.instruction_list(0)
    whole = served.generate([prompt], Sampling(max_new_tokens=20), [0])[0]
    piece = whole.text[5:9]
    assert served.generate([prompt], Sampling(max_new_tokens=20, stop=(piece,)), [0])[0].finish_reason == "stop"
    assert whole.finish_reason == "length"


def test_logprobs_are_the_models_own_or_not_known(served, backend):
    prompts = [PROMPTS.instruction_critic(f"Add {n} and 1.") for n in range(5)]
    wanted = served.guard.tokenizer.convert_ids_to_tokens(range(3, 300))
    singles = [t for t in wanted if t.isascii() and t.isalpha()][:40]
    known = 0
    for mine, theirs in zip(
        served.next_token_logprobs(prompts, singles), backend.next_token_logprobs(prompts, singles), strict=True
    ):
        pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a > -1e9]
        known += len(pairs)
        assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], abs=1e-4)
    assert known > 0


def test_inputs_are_guarded_before_they_are_sent(served):
    with pytest.raises(DistillError, match="E-TEMPLATE"):
        served.generate(["<|im_start|>user"], Sampling(max_new_tokens=1), [0])


def test_a_server_that_refuses_is_quoted(address, tiny):
    other = ServerBackend(address, "another-model", CleanModelLoader(str(tiny)).guard)
    with pytest.raises(DistillError, match=r"404: .*no model another-model"):
        other.generate(["a"], Sampling(max_new_tokens=1), [0])


def test_no_server(tiny):
    nobody = ServerBackend("http://127.0.0.1:9/v1", "tiny", CleanModelLoader(str(tiny)).guard, timeout=5)
    with pytest.raises(DistillError, match="E-SERVER"):
        nobody.generate(["a"], Sampling(max_new_tokens=1), [0])


def test_an_address_of_a_file_is_refused(tiny):
    with pytest.raises(DistillError, match="E-SERVER"):
        ServerBackend("file:///etc/hosts", "tiny", CleanModelLoader(str(tiny)).guard)
