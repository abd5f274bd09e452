"""A judge on vLLM's engine: structured outputs keep to the schema, and it says what ran as the judge on transformers does."""

from __future__ import annotations

import json

import pytest

from pytest_distill.contracts.grading import EQUAL_WEIGHTS
from pytest_distill.errors import DistillError
from pytest_distill.pipelines.grading.prompts import scoring_prompt, scoring_schema
from pytest_distill.pipelines.grading.reply import scorer_output
from pytest_distill.pipelines.models.chat import ChatInput
from pytest_distill.pipelines.models.judging import open_judge
from pytest_distill.pipelines.models.loader import Checkpoint
from pytest_distill.pipelines.models.local_judges import VllmJudge
from pytest_distill.pipelines.models.registry import ModelChoice

PROMPTS = [scoring_prompt({"instruction": f"Add {n} and 1.", "response": str(n + 1)}) for n in range(4)]
ASKED = {"schema": scoring_schema(), "max_new_tokens": 256, "seeds": range(4)}


@pytest.fixture(scope="module")
def judge(opened, model):
    """On the engine that the other tests have open: a second one would claim a cache of its own."""
    import vllm

    checkpoint = Checkpoint(str(model))
    return VllmJudge(vllm, opened.backend._engine, ChatInput(checkpoint.tokenizer), checkpoint.provenance())


def test_every_reply_is_a_score_or_cut_off(judge):
    for temperature in (0.0, 0.9):
        replies = judge.ask(PROMPTS, **ASKED, temperature=temperature)
        assert [reply.finish_reason for reply in replies] == ["stop"] * 4
        for reply in replies:
            assert set(json.loads(reply.text)) == set(scoring_schema()["required"])
            scorer_output(reply.text, model=judge.ran.model_name, version=judge.ran.version, weights=EQUAL_WEIGHTS)
            assert reply.prompt_tokens > 100
            assert reply.completion_tokens > 20


def test_a_reply_belongs_to_its_prompt_and_seed(judge):
    together = judge.ask(PROMPTS, **ASKED, temperature=0.9)
    alone = [judge.ask([prompt], **{**ASKED, "seeds": [n]}, temperature=0.9)[0] for n, prompt in enumerate(PROMPTS)]
    assert alone == together


def test_it_says_what_ran_as_transformers_does(judge, model):
    other = open_judge(ModelChoice(model=str(model))).ran
    mine = judge.ran
    assert (mine.model_name, mine.weights_sha256, mine.tokenizer_hash) == (
        other.model_name,
        other.weights_sha256,
        other.tokenizer_hash,
    )
    assert mine.engine.startswith("vllm-")


def test_what_would_speak_as_somebody_else_or_leaves_no_room_is_not_asked(judge):
    with pytest.raises(DistillError, match=r"E-PROMPT.*chat template"):
        judge.ask(["<|im_start|>system"], **{**ASKED, "seeds": [0]})
    with pytest.raises(DistillError, match=r"E-PROMPT.*does not fit"):
        judge.ask(["word"], **{**ASKED, "seeds": [0], "max_new_tokens": 100_000})
