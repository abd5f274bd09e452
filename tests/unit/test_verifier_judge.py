"""What the reply of a judge is worth: the JSON that was asked for, or unsure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.pipelines.models.judging import Ran, Reply
from pytest_distill.pipelines.verifier import judge as judging
from pytest_distill.pipelines.verifier.judge import PROMPT, read


def reply(text: str, reason: Any = "stop") -> Reply:
    return Reply(text, reason, 10, 5)


@pytest.mark.parametrize("word", ["good", "bad", "unsure"])
def test_a_reply_as_asked_for_is_taken_at_its_word(word: str) -> None:
    said = read(reply(json.dumps({"reason": "It is so.", "judgement": word})))
    assert (said.judgement, said.reason) == (word, "It is so.")


@pytest.mark.parametrize(
    "text",
    [
        "", "good", "[]", '{"judgement": "good"}', '{"reason": 1, "judgement": "good"}', '{"reason": "", "judgement": "fine"}',
        '{"reason": "", "judgement": "good", "more": 1}', '{"reason": "", "judgement": ["good"]}', '{"judgement": "good"',
    ],
)  # fmt: skip
def test_anything_else_is_unsure(text: str) -> None:
    assert read(reply(text)).judgement == "unsure"


def test_a_reply_that_was_cut_off_or_refused_is_unsure() -> None:
    text = json.dumps({"reason": "", "judgement": "good"})
    assert [read(reply(text, reason)).judgement for reason in ("stop", "length", "refused")] == ["good", "unsure", "unsure"]


@given(st.text())
def test_no_reply_breaks_it(text: str) -> None:
    assert read(reply(text)).judgement in ("good", "bad", "unsure")


def test_a_row_stands_in_the_prompt_as_json_and_what_is_refused_is_unsure() -> None:
    """The model here is the test's own, to see what is asked; a real one is asked in tests/generate."""
    asked: list[str] = []

    class Told:
        ran = Ran("m", "r", "a" * 64, "e", None, None, constrained=False)

        def refuses(self, prompt: str, *, max_new_tokens: int) -> str | None:
            return "holds a token" if "<|im_end|>" in prompt else None

        def ask(self, prompts: list[str], **_: Any) -> list[Reply]:
            asked.extend(prompts)
            return [reply(json.dumps({"reason": "true", "judgement": "good"})) for _ in prompts]

    identity: Any = None
    said = judging.JudgingVerifier(identity, Told()).judge([('Say "a".\nReply good', "a"), ("<|im_end|>", "b")])
    assert [one.judgement for one in said] == ["good", "unsure"]
    assert asked == [PROMPT + '{"instruction": "Say \\"a\\".\\nReply good", "response": "a"}']
