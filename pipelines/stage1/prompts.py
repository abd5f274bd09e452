"""Every prompt of stage 1, and the only place where one is written: plain completions for a base model, no chat template.

A base model continues a document. Each prompt is therefore the beginning of one whose next words are what we want: the next
item of a numbered list, the response under an instruction, the label under a response.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.stage1.cleaning import DELIMITER

LIST_HEADER = "A list of short tasks. Each one is clear and can be answered in a sentence."
INSTRUCTION_RUBRIC = (
    "Every instruction is given a label.\nA: clear, specific, achievable and safe.\nB: vague, impossible, unsafe or nonsense.\n"
)
PAIR_RUBRIC = (
    "Every response is given a label.\n"
    "A: it does what the instruction asks and is correct, or briefly refuses what is unsafe.\n"
    "B: it does not.\n"
)

# What the model sees of a list before it goes on with it: one pattern each, so that what it writes is diverse.
LIST_EXAMPLES = (
    "What is the capital of Norway?",
    "Write the plural of the word goose.",
    "Add 3 and 6.",
    "Name three fruits.",
    "What is the opposite of heavy?",
    "Which day comes after Friday?",
    "What color is a lemon?",
    "How many minutes are in an hour?",
    "Give the past tense of the verb go.",
    "What is a young cat called?",
    "Which is larger, 4 or 11?",
    "Write a sentence about a horse.",
    "What is a window made of?",
    "What language do people speak in Brazil?",
    "What kind of thing is a violin?",
    "What is 9 minus 5?",
)
RESPONSE_EXAMPLES = (
    ("What is the capital of Norway?", "The capital of Norway is Oslo."),
    ("Add 3 and 6.", "3 plus 6 is 9."),
    ("Name three fruits.", "Three fruits are plum, apple and pear."),
)
INSTRUCTION_CRITIC_EXAMPLES = (
    ("What is the capital of Norway?", "A"),
    ("Do the thing with it.", "B"),
    ("Name three fruits.", "A"),
    ("lemon which the What of", "B"),
)
PAIR_CRITIC_EXAMPLES = (
    ("What is the capital of Norway?", "The capital of Norway is Oslo.", "A"),
    ("What color is a lemon?", "A lemon is blue.", "B"),
    ("Add 3 and 6.", "3 plus 6 is 9.", "A"),
    ("Name three fruits.", "Three fruits are plum, ap", "B"),
)

# A candidate that holds one of these could write its own verdict, or a turn of its own, into a critic's prompt.
_MARKER = re.compile(r"(?:^|\n)[ \t]*(?:Label|Instruction|Response)[ \t]*:|" + re.escape(DELIMITER))


def holds_marker(text: str) -> bool:
    """Does the text hold the delimiter, or a line that our prompts would read as a turn or as a label?"""
    return _MARKER.search(text) is not None


SPEC_VERSION: Final = "stage1-prompts-1"  # raise it when a prompt changes


@dataclass(frozen=True)
class CompletionStylePrompts:
    """Builds the prompts. `shots` bounds the examples a response prompt shows (0 sends the bare pair of lines)."""

    list_length: int = 6
    shots: int = len(RESPONSE_EXAMPLES)

    def instruction_list(self, seed: int, examples: Sequence[str] = LIST_EXAMPLES) -> str:
        """The head of a numbered list that ends in the number of the item the model is to write next."""
        chosen = random.Random(seed).sample(list(examples), self.list_length)  # noqa: S311
        items = "".join(f"{number}. {text}\n" for number, text in enumerate(chosen, 1))
        return f"{LIST_HEADER}\n\n{items}{self.list_length + 1}."

    @property
    def response_prefix(self) -> str:
        """What every response prompt begins with."""
        return "".join(f"Instruction: {i}\nResponse: {r} {DELIMITER}\n\n" for i, r in RESPONSE_EXAMPLES[: self.shots])

    def response(self, instruction: str) -> str:
        return f"{self.response_prefix}Instruction: {_clean(instruction)}\nResponse:"

    @property
    def instruction_critic_prefix(self) -> str:
        """Rubric and examples: the same for every instruction, so a backend may compute it once."""
        return INSTRUCTION_RUBRIC + "".join(f"\nInstruction: {i}\nLabel: {label}\n" for i, label in INSTRUCTION_CRITIC_EXAMPLES)

    def instruction_critic(self, instruction: str) -> str:
        return f"{self.instruction_critic_prefix}\nInstruction: {_clean(instruction)}\nLabel:"

    @property
    def pair_critic_prefix(self) -> str:
        return PAIR_RUBRIC + "".join(
            f"\nInstruction: {i}\nResponse: {r}\nLabel: {label}\n" for i, r, label in PAIR_CRITIC_EXAMPLES
        )

    def pair_critic(self, instruction: str, response: str) -> str:
        return f"{self.pair_critic_prefix}\nInstruction: {_clean(instruction)}\nResponse: {_clean(response)}\nLabel:"


def _clean(text: str) -> str:
    """Raises E-PROMPT for text that would break out of its place in a prompt."""
    if not text.strip():
        raise DistillError(Code.PROMPT, "a blank text was to be put into a prompt", "Reject the candidate before it is judged.")
    if holds_marker(text):
        raise DistillError(
            Code.PROMPT, f"a text holds a marker of our prompts: {text[:80]!r}", "Reject the candidate before it is judged."
        )
    return text.strip()
