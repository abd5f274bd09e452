"""The backend on vLLM's engine: it decides as transformers does, and no neighbour in a batch changes a result."""

from __future__ import annotations

import pytest

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models.backend import Sampling, cut_at_stop
from pytest_distill.pipelines.models.registry import ModelChoice, open_model
from pytest_distill.pipelines.models.vllm_backend import completion, request
from pytest_distill.pipelines.stage1.instruction_critic import get_token_logprobs
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

PROMPTS = CompletionStylePrompts()
LABELS = ("A", " A", "B", " B")
LISTS = [PROMPTS.instruction_list(n) for n in range(12)] + ["Water freezes at"]
SAMPLED = Sampling(max_new_tokens=24, temperature=0.7, top_p=0.9, repetition_penalty=1.1, stop=("###END###", "\n\n"))


def test_both_backends_decide_alike(backend, torch_backend, critic_prompts):
    """500 prompts in float32: margins within 1e-3, and the same label wherever the margin is at least that."""
    mine = [a - b for a, b in get_token_logprobs(backend, critic_prompts)]
    theirs = [a - b for a, b in get_token_logprobs(torch_backend, critic_prompts)]
    assert len(mine) == 500
    furthest = max(abs(a - b) for a, b in zip(mine, theirs, strict=True))
    sure = [(a, b) for a, b in zip(mine, theirs, strict=True) if abs(b) >= 1e-3]
    print(f"\n{len(sure)} of 500 margins at least 1e-3; largest difference {furthest:.1e}; A: {sum(b > 0 for b in theirs)}")
    assert furthest < 1e-3
    assert [a > 0 for a, _ in sure] == [b > 0 for _, b in sure]


def test_a_label_far_from_the_likeliest_is_told(backend, torch_backend):
    """Of the whole vocabulary, not of the top twenty."""
    vocabulary = backend.guard.tokenizer.convert_ids_to_tokens(range(3, 300))
    every = [token for token in vocabulary if token.isascii() and token.isalpha()][:60]
    mine, theirs = (b.next_token_logprobs(["Water freezes at"], every)[0] for b in (backend, torch_backend))
    assert len(every) > 20
    assert mine == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize("sampling", [Sampling(20, stop=("\n",)), Sampling(20, repetition_penalty=1.3)])
def test_greedy_text_is_the_same_on_both(backend, torch_backend, sampling):
    prompts = [PROMPTS.response(f"Add {n} and 1.") for n in range(6)] + LISTS
    seeds = [0] * len(prompts)
    assert backend.generate(prompts, sampling, seeds) == torch_backend.generate(prompts, sampling, seeds)


def test_text_belongs_to_its_prompt_and_seed(backend):
    seeds = list(range(len(LISTS)))
    plain = backend.generate(LISTS, SAMPLED, seeds)
    assert backend.generate(LISTS[::-1], SAMPLED, seeds[::-1])[::-1] == plain
    assert [backend.generate([p], SAMPLED, [s])[0] for p, s in zip(LISTS, seeds, strict=True)] == plain
    first, again, other = backend.generate(LISTS[:1] * 3, SAMPLED, [1, 1, 2])
    assert first == again != other


def test_seeds_hold_where_a_batch_is_larger_than_a_step(backend):
    """More prompt tokens than vLLM takes at once: on a CPU it cuts a prompt in two there, and loses its generator."""
    prompts = [f"{n}: " + "3 " * 200 for n in range(60)]
    assert sum(backend.count_tokens(prompts)) > 2 * 4096
    one = Sampling(max_new_tokens=2, temperature=1.0)
    assert backend.generate(prompts, one, range(60))[-3:] == backend.generate(prompts[-3:], one, range(57, 60))


def test_what_ran_before_leaves_no_trace(backend, critic_prompts):
    """To the last bit: a resumed run writes what an undisturbed one writes."""
    part = critic_prompts[100:140]
    fresh = backend.next_token_logprobs(part, LABELS)
    backend.next_token_logprobs(critic_prompts[:60], LABELS)
    backend.generate(LISTS, SAMPLED, range(len(LISTS)))
    assert backend.next_token_logprobs(part, LABELS) == fresh


def test_no_call_reads_what_an_earlier_one_cached(backend, critic_prompts, monkeypatch):
    """On a GPU, keys and values from the cache round otherwise than those computed with the rest."""
    seen = []

    def watched(*given, _generate=backend._engine.generate, **named):
        seen.append(_generate(*given, **named))
        return seen[-1]

    monkeypatch.setattr(backend._engine, "generate", watched)
    for _ in range(2):
        backend.next_token_logprobs(critic_prompts[:1], LABELS)
    assert [done[0].num_cached_tokens for done in seen] == [0, 0]


def test_neighbours_change_no_logprob(backend, critic_prompts):
    together = backend.next_token_logprobs(critic_prompts[:30], LABELS)
    for place in (0, 7, 29):
        alone = backend.next_token_logprobs(critic_prompts[place : place + 1], LABELS)[0]
        assert alone == pytest.approx(together[place], abs=1e-4)


def test_the_budget_and_the_stop_are_told_apart(backend):
    whole = backend.generate(LISTS[:1], Sampling(max_new_tokens=20), [0])[0]
    assert (whole.tokens, whole.finish_reason) == (20, "length")
    piece = whole.text[5:9]
    stopped = backend.generate(LISTS[:1], Sampling(max_new_tokens=20, stop=("never", piece)), [0])[0]
    assert stopped.finish_reason == "stop"
    assert stopped.text == cut_at_stop(whole.text, (piece,))


@pytest.mark.parametrize("text", ["<|im_start|>user\nAdd 1 and 2.", "Add 1. [INST]", "one\ntwo<|eot_id|>"])
def test_a_template_token_in_any_input_ends_the_run(backend, text):
    for ask in (
        lambda: backend.generate(["a", text], Sampling(max_new_tokens=1), [0, 0]),
        lambda: backend.next_token_logprobs([text], [" A"]),
    ):
        with pytest.raises(DistillError, match="E-TEMPLATE"):
            ask()


def test_every_input_is_counted(opened):
    before = opened.guard.report().inputs_checked
    opened.backend.generate(["a", "b"], Sampling(max_new_tokens=1), [0, 0])
    assert opened.guard.report().inputs_checked == before + 2


def test_its_provenance_is_the_checkpoints(opened, model):
    assert opened.provenance == open_model(ModelChoice(model=str(model))).provenance
    assert opened.backend.guard is opened.guard


def test_a_label_of_two_tokens_is_refused(backend):
    with pytest.raises(DistillError, match="E-LABEL"):
        backend.next_token_logprobs(["Water freezes at"], ("A", "Good answer"))


def test_a_prompt_without_room_is_refused_and_nothing_is_computed(backend):
    with pytest.raises(DistillError, match=r"E-PROMPT.*room for 1 to"):
        backend.generate(["a", "word " * 1100], Sampling(max_new_tokens=1), [0, 0])
    with pytest.raises(DistillError, match="E-PROMPT"):
        backend.generate([""], Sampling(max_new_tokens=1), [0])


def test_a_temperature_that_vllm_would_raise_is_refused(backend):
    with pytest.raises(DistillError, match="E-USAGE"):
        backend.generate(LISTS[:1], Sampling(max_new_tokens=1, temperature=0.001), [0])


def test_no_seed_is_taken_for_none():
    assert request(SAMPLED, -1)["seed"] == 2**63 - 1
    assert request(SAMPLED, 2**63 + 5)["seed"] == 5


def test_a_device_that_this_vllm_is_not_built_for(model):
    with pytest.raises(DistillError, match=r"E-USAGE.*runs on cpu, not on cuda"):
        open_model(ModelChoice(model=str(model), backend="vllm", device="cuda"))


def test_an_answer_that_was_aborted_is_no_answer(backend):
    with pytest.raises(DistillError, match=r"E-MODEL.*abort"):
        completion([5, 6], "abort", None, (), backend.guard.tokenizer)


def test_tokens_behind_the_first_stop_are_left_out(backend):
    ids = backend.guard.encode(["one\n\ntwo###END### three"])[0]
    text, tokens = "one\n\n", len(backend.guard.encode(["one\n\n"])[0])
    done = completion(ids, "stop", "###END###", ("###END###", "\n\n"), backend.guard.tokenizer)
    assert (done.text, done.finish_reason) == (text, "stop")
    assert done.tokens <= tokens + 1


def test_nothing_asked_nothing_answered(backend):
    assert backend.generate([], SAMPLED, []) == []
    assert backend.next_token_logprobs([], LABELS) == []
    assert backend.count_tokens([]) == []
