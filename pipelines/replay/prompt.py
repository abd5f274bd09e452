"""The prompt of a replay: the bundle as a document that a base model goes on with, and no longer than the model can read.

The shape is that of stage 1: blocks of Instruction and Response. What was accepted only in part stands first and is said to be
so, then the accepted examples, the most similar last, then what to check, then the task. Where there is not enough room, the end
of a content is cut, and what would be cut too short is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pytest_distill.contracts.replay import Bundle, BundleItem
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.stage1.cleaning import DELIMITER
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts, holds_marker

STOP = (DELIMITER, "\nInstruction:")
_MARKER_LINE = re.compile(rf"(?m)^[ \t]*(?:Label|Instruction|Response)[ \t]*:[^\n]*$|{re.escape(DELIMITER)}")
_SHORTEST = 8  # words of a content that is cut


def prompt(task: str, bundle: Bundle, *, count: Callable[[str], int], room: int) -> str:
    """The prompt, of at most `room` tokens as `count` counts them. Raises E-PROMPT for a task that breaks out or does not fit."""
    task = " ".join(task.split())
    if not task or holds_marker(task):
        raise DistillError(Code.PROMPT, f"the task {task[:80]!r} is blank or holds a marker of our prompts", "Put it otherwise.")
    end = CompletionStylePrompts(shots=0).response(task)
    if count(end) > room:
        raise DistillError(Code.PROMPT, f"the task alone takes {count(end)} tokens of {room}", "Shorten it, or raise --room.")
    steps = "".join(f"- {plain(step)}\n" for step in bundle.validation_steps)
    blocks = [f"Before answering:\n{steps}\n"] if steps and count(steps) * 4 <= room else []
    shown = "".join(blocks)
    for item in bundle.exemplars:
        shown = _with(shown, item, end, count, room, note="")
    for item in bundle.warnings:
        shown = _with(shown, item, end, count, room, note="This answer was accepted only in part.\n")
    return shown + end


def _with(shown: str, item: BundleItem, end: str, count: Callable[[str], int], room: int, *, note: str) -> str:
    """`shown` with one more block before it, its content cut so that it fits; without it where too little would be left."""
    title, words = plain(item.title) or "Example", plain(item.content).split()

    def block(length: int) -> str:
        return f"{note}Instruction: {title}\nResponse: {' '.join(words[:length])} {DELIMITER}\n\n"

    if not words:
        return shown
    low, high = 0, len(words)
    while low < high:  # the longest content that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(block(middle) + shown + end) <= room else (low, middle - 1)
    return block(low) + shown if low == len(words) or low >= _SHORTEST else shown


def plain(text: str) -> str:
    """A document's text as one line without what our prompts would read as a turn of their own."""
    return " ".join(_MARKER_LINE.sub(" ", text).split())
