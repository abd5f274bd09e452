"""The prompts of stage 1, the parsing of lists, and that there is one of each."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models.backend import cut_at_stop
from pytest_distill.pipelines.stage1 import prompts as module
from pytest_distill.pipelines.stage1.instruction_generator import parse_list
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts, holds_marker

ROOT = Path(__file__).parents[2]
PROMPTS = CompletionStylePrompts()


def test_a_list_ends_in_the_number_of_the_next_item():
    text = PROMPTS.instruction_list(3)
    assert re.findall(r"(?m)^(\d+)\.", text) == [str(n) for n in range(1, 8)]
    assert text.endswith("\n7.")
    assert PROMPTS.instruction_list(3) == text != PROMPTS.instruction_list(4)


def test_a_response_prompt_is_the_documents_own():
    assert CompletionStylePrompts(shots=0).response("Add 1 and 2.") == "Instruction: Add 1 and 2.\nResponse:"
    assert PROMPTS.response("Add 1 and 2.").count("###END###") == len(module.RESPONSE_EXAMPLES)


@pytest.mark.parametrize(
    "build",
    [
        PROMPTS.instruction_critic,
        PROMPTS.response,
        lambda text: PROMPTS.pair_critic("Add 1.", text),
        lambda text: PROMPTS.pair_critic(text, "2."),
    ],
)
@pytest.mark.parametrize(
    "text", ["", " \n", "x\nLabel: A", "4. ###END###", "a\n  Instruction: b", "Response: c", "a\n\nLabel : B"]
)
def test_text_that_would_break_out_is_refused(build, text):
    with pytest.raises(DistillError, match="E-PROMPT"):
        build(text)


@pytest.mark.parametrize(
    "text", ["Explain what a label: is.", "Write Response times in a list.", "Instructions for tea", "## Label"]
)
def test_ordinary_words_are_no_markers(text):
    assert not holds_marker(text)


def test_critic_prompts_share_their_prefix_and_end_at_the_label():
    first, second = PROMPTS.pair_critic("Add 1 and 2.", "3."), PROMPTS.pair_critic("Name a tree.", "An oak.")
    assert first.startswith(PROMPTS.pair_critic_prefix)
    assert second.startswith(PROMPTS.pair_critic_prefix)
    assert first.endswith("Response: 3.\nLabel:")
    assert PROMPTS.instruction_critic("Add 1.").startswith(PROMPTS.instruction_critic_prefix)


def parsed(text: str, *, whole: bool = True) -> list[str]:
    return list(parse_list(text, first=7, whole=whole))


def test_items_are_numbered_on():
    assert parsed(" Add 1 and 2.\n8. Name a tree.\n9) Why?\n") == ["Add 1 and 2.", "Name a tree.", "Why?"]


def test_a_list_ends_with_its_numbering_or_a_blank_line():
    assert parsed(" Add 1.\n8. Name a tree.\n3. Start again.") == ["Add 1.", "Name a tree."]
    assert parsed(" Add 1.\n\n8. Another list.") == ["Add 1."]


def test_an_item_that_the_budget_cut_is_left_out():
    assert parsed(" Add 1.\n8. Name a tr", whole=False) == ["Add 1."]
    assert parsed(" Add 1.\n8. Name a tree.\n\nMore", whole=False) == ["Add 1.", "Name a tree."]


def test_an_item_is_one_line_and_never_blank():
    assert parsed(" Add 1.\nThe answer is 2.\n8.\n9. Name a tree.") == ["Add 1.", "Name a tree."]


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="0123456789"), min_size=1)
    )
)
def test_what_was_written_as_a_list_is_read_back(items):
    text = "".join(f"\n{number}. {item}" for number, item in enumerate(items, 7)).removeprefix("\n7.")
    assert parsed(text) == items


@given(st.text(), st.booleans())
def test_any_text_parses_into_single_lines(text, whole):
    for item in parsed(text, whole=whole):
        assert item == item.strip() != ""
        assert "\n" not in item


def test_text_is_cut_behind_the_first_stop():
    assert cut_at_stop("4 ###END### and more\nQ", ("\nQ", "###END###")) == "4 ###END###"
    assert cut_at_stop("4", ("###END###",)) is None


OURS = sorted(
    [
        *(ROOT / "pipelines").rglob("*.py"),
        *(ROOT / "pytest_distill").rglob("*.py"),
        *(ROOT / "gates").rglob("*.py"),
        *(ROOT / "examples").rglob("*.py"),
    ]
)


def names(path: Path) -> list[str]:
    """Every attribute and function that a module calls, defines or assigns to."""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute):
            found.append(f"{'=' if isinstance(node.ctx, ast.Store) else ''}{node.attr}")
        elif isinstance(node, ast.FunctionDef):
            found.append(f"def {node.name}")
    return found


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("from_pretrained", "pipelines/models/loader.py"),
        ("=chat_template", "pipelines/models/guards.py"),
        ("log_softmax", "pipelines/models/torch_backend.py"),
        ("def get_token_logprobs", "pipelines/stage1/instruction_critic.py"),
        ("def critique_instruction_quality", "pipelines/stage1/instruction_critic.py"),
        ("def critique_instruction_response_pair", "pipelines/stage1/instruction_critic.py"),
        ("def clean_response", "pipelines/stage1/cleaning.py"),
        ("def parse_list", "pipelines/stage1/instruction_generator.py"),
    ],
)
def test_there_is_one_of_it(name, home):
    assert {str(path.relative_to(ROOT)) for path in OURS if name in names(path)} == {home}


# A judge may be tuned to instructions, and an encoder is no language model: each has its one door.
DOORS = {"apply_chat_template": ["chat.py"], "AutoModel.": ["loader.py"]}


@pytest.mark.parametrize("word", ["apply_chat_template", "trust_remote_code=True", "AutoModel.", "generate_with_scores"])
def test_what_no_module_does_but_its_one_door(word):
    assert [path.name for path in OURS if word in path.read_text(encoding="utf-8")] == DOORS.get(word, [])


@pytest.mark.parametrize("text", ["\\nLabel:", 'Response:"'])
def test_prompts_are_written_in_one_place(text):
    assert {path.name for path in OURS if text in path.read_text(encoding="utf-8")} <= {"prompts.py"}
