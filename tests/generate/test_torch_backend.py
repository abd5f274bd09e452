"""The backend in this process: what it computes is transformers' own, and no neighbour in a batch changes it."""

from __future__ import annotations

import pytest
import torch

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models.backend import Sampling, cut_at_stop
from pytest_distill.pipelines.models.loader import CleanModelLoader
from pytest_distill.pipelines.models.torch_backend import TorchBackend
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

PROMPTS = CompletionStylePrompts()
TEXTS = [PROMPTS.pair_critic(f"Add {n} and 1.", "word " * (n % 7) + f"{n + 1}.") for n in range(20)]
LABELS = ("A", " A", "B", " B")
SAMPLED = Sampling(max_new_tokens=24, temperature=0.7, top_p=0.9, repetition_penalty=1.1, stop=("###END###",))


def sized(tiny, size: int) -> TorchBackend:
    return CleanModelLoader(str(tiny)).load(batch_size=size)


def test_logprobs_are_the_models_own(backend, loader):
    found = backend.next_token_logprobs(TEXTS, LABELS)
    wanted = [loader.guard.tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in LABELS]
    for text, values in zip(TEXTS, found, strict=True):
        ids = torch.tensor([loader.guard.tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            plain = torch.log_softmax(backend._model(ids).logits[0, -1].double(), -1)[wanted].tolist()
        assert values == pytest.approx(plain, abs=1e-5)


def test_greedy_text_is_what_transformers_generates(backend, loader):
    prompts = [PROMPTS.response(f"Add {n} and 1.") for n in range(3)]
    found = backend.generate(prompts, Sampling(max_new_tokens=12, repetition_penalty=1.3), [0] * 3)
    for prompt, completion in zip(prompts, found, strict=True):
        ids = loader.guard.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        new = backend._model.generate(**ids, max_new_tokens=12, do_sample=False, repetition_penalty=1.3)[
            0, ids["input_ids"].shape[1] :
        ]
        assert completion.text == loader.guard.tokenizer.decode(new).removesuffix("<|endoftext|>")


@pytest.mark.parametrize("size", [1, 3, 32])
def test_batch_size_and_order_change_nothing(backend, tiny, size):
    other = sized(tiny, size)
    prompts = [PROMPTS.instruction_list(n) for n in range(8)] + ["Water freezes at"]
    seeds = list(range(100, 109))
    plain = backend.generate(prompts, SAMPLED, seeds)
    assert other.generate(prompts, SAMPLED, seeds) == plain
    assert other.generate(prompts[::-1], SAMPLED, seeds[::-1]) == plain[::-1]
    assert [other.generate([p], SAMPLED, [s])[0] for p, s in zip(prompts, seeds, strict=True)] == plain
    for mine, theirs in zip(other.next_token_logprobs(TEXTS, LABELS), backend.next_token_logprobs(TEXTS, LABELS), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_the_seed_is_what_draws(backend):
    prompt = PROMPTS.instruction_list(0)
    first, again, other = backend.generate([prompt] * 3, SAMPLED, [1, 1, 2])
    assert first == again != other


def test_sampling_follows_the_distribution(backend):
    """2,000 draws of one token against its probabilities: chi-squared over the nucleus, far below what another law would give."""
    prompt = "Water freezes at"
    drawn = backend.generate([prompt] * 2000, Sampling(max_new_tokens=1, temperature=1.0, top_p=0.5), list(range(2000)))
    ids = torch.tensor(backend.guard.encode([prompt]))
    with torch.inference_mode():
        probabilities = torch.softmax(backend._model(ids).logits[0, -1].double(), -1)
    ordered, order = probabilities.sort(descending=True)
    kept = order[ordered.cumsum(0) - ordered < 0.5]
    expected: dict[str, float] = {}
    for token in kept.tolist():  # several tokens of half a character are one text
        text = "" if token == 0 else backend.guard.tokenizer.decode([token])
        expected[text] = expected.get(text, 0.0) + float(probabilities[token] / probabilities[kept].sum())
    texts = [completion.text for completion in drawn]
    assert set(texts) <= set(expected)
    chi = sum((texts.count(t) - 2000 * p) ** 2 / (2000 * p) for t, p in expected.items() if 2000 * p > 5)
    large = sum(2000 * p > 5 for p in expected.values())
    assert chi < large + 5 * (2 * large) ** 0.5 + 5


def test_the_budget_and_the_stop_are_told_apart(backend):
    prompt = PROMPTS.instruction_list(0)
    whole = backend.generate([prompt], Sampling(max_new_tokens=20), [0])[0]
    assert (whole.tokens, whole.finish_reason) == (20, "length")
    piece = whole.text[5:9]
    stopped = backend.generate([prompt], Sampling(max_new_tokens=20, stop=(piece,)), [0])[0]
    assert stopped.finish_reason == "stop"
    assert stopped.text == cut_at_stop(whole.text, (piece,))


def test_a_label_of_two_tokens_is_refused(backend):
    with pytest.raises(DistillError, match="E-LABEL"):
        backend.next_token_logprobs(TEXTS[:1], ("A", "Good answer"))


def test_nothing_asked_nothing_answered(backend):
    assert backend.generate([], SAMPLED, []) == []
    assert backend.next_token_logprobs([], LABELS) == []
    assert backend.count_tokens([]) == []
