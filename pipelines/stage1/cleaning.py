"""Where a raw completion of a base model ends: the answer, and which rule cut it off from what the model went on to write.

A base model that has answered does not stop; it writes the next question of the list it believes it is in. If the completion
holds the delimiter of the few-shot prompt, the answer is what stands before it. If not, it is cut at the first of: a blank
line, a line that opens another turn (`Q:`, `Instruction`), a line that announces another question. The gates that look for
leaks and runaways share no code with this module: a filter must not be its own detector.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

DELIMITER = "###END###"


class TrimRule(str, Enum):
    """Which rule cut a completion; the value is what a record's `trim_rule` holds (null when none did)."""

    DELIMITER = "delimiter"
    FRAGMENT = "delimiter_fragment"  # generation ended inside the delimiter, or it was mangled to a bare ###
    DOUBLE_NEWLINE = "double_newline"
    LINE_START = "line_start"
    NEW_QUESTION = "new_question"


@dataclass(frozen=True)
class Cleaned:
    """The answer without surrounding whitespace, always the beginning of the stripped completion, and the rule that cut it."""

    text: str
    trim_rule: TrimRule | None


@dataclass(frozen=True)
class _Line:
    start: int
    text: str


_TURN = re.compile(r"[ \t]*(?:#{1,6}[ \t]+|\*\*)?(?:Instructions?\b|Q:|A:|Response:|Question:)")
_NEW_QUESTION = re.compile(r"[ \t]*(?:next question|another question|new question|now for|moving on)\b", re.IGNORECASE)
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])(?:[ \t]|$)")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]+[^\s#]")
_FRAGMENTS = tuple(DELIMITER[:length] for length in range(3, len(DELIMITER)))


def clean_response(completion: str) -> Cleaned:
    """The answer in a raw completion.

    The delimiter goes before every heuristic: with it present, blank lines are part of the answer. A completion that opens
    with another turn has no answer, and its text is empty. Linear in the length of the completion.
    """
    raw = completion.strip()
    before, found, _ = raw.partition(DELIMITER)
    if found:
        return Cleaned(before.rstrip(), TrimRule.DELIMITER)
    position, rule = _first_cut(raw)
    return Cleaned(raw[:position].rstrip(), rule)


def _first_cut(raw: str) -> tuple[int, TrimRule | None]:
    """The first place where the text has to end, and the rule that says so; the text's own end when there is none."""
    lines = list(_lines(raw)) if raw else []
    closed, opened = _fences(lines)
    following = _next_texts(lines)
    before = ""
    for number, line in enumerate(lines):
        if not line.text.strip():
            if not closed[number] and not opened[number] and not _announces_more(before, following[number]):
                return line.start, TrimRule.DOUBLE_NEWLINE
            continue
        before = line.text.rstrip()
        if closed[number]:
            continue  # code that was fenced on both sides is one piece of the answer
        if _TURN.match(line.text):
            return line.start, TrimRule.LINE_START
        if _NEW_QUESTION.match(line.text):
            return line.start, TrimRule.NEW_QUESTION
        fragment = _fragment_start(line.text)
        if fragment is not None:
            return line.start + fragment, TrimRule.FRAGMENT
    return len(raw), None


def _lines(text: str) -> Iterator[_Line]:
    start = 0
    for piece in text.split("\n"):
        yield _Line(start, piece.removesuffix("\r"))
        start += len(piece) + 1


def _fences(lines: list[_Line]) -> tuple[list[bool], list[bool]]:
    """For each line: is it inside a code block that is closed later, and is it inside one that never is."""
    closed, opened = [False] * len(lines), [False] * len(lines)
    first, marker = 0, ""
    for number, line in enumerate(lines):
        match = _FENCE.fullmatch(line.text)
        if match is None or (match.group(1)[0] == "`" and "`" in match.group(2)):
            continue
        if not marker:
            first, marker = number, match.group(1)
        elif match.group(1).startswith(marker) and not match.group(2).strip():
            closed[first : number + 1] = [True] * (number + 1 - first)
            marker = ""
    if marker:
        opened[first:] = [True] * (len(lines) - first)
    return closed, opened


def _next_texts(lines: list[_Line]) -> list[str]:
    """For each line, the next line from it on that is not blank; "" at the end."""
    texts, following = [""] * len(lines), ""
    for number in range(len(lines) - 1, -1, -1):
        following = lines[number].text if lines[number].text.strip() else following
        texts[number] = following
    return texts


def _announces_more(before: str, after: str) -> bool:
    """Does the line before a blank line promise what follows it: a colon, or a list that goes on."""
    if before.endswith((":", "：")):
        return True
    item = _LIST_ITEM.match(before)
    if item is None and not _indented(before):
        return False
    bare = item is not None and item.end() == len(before)
    return bare or bool(_LIST_ITEM.match(after)) or _indented(after)


def _indented(text: str) -> bool:
    """A line that continues the list item above it."""
    return text.startswith(("  ", "\t"))


def _fragment_start(text: str) -> int | None:
    """Where a line's trailing fragments of the delimiter begin. A heading may be closed with ###, so headings have none."""
    start, end = None, len(text.rstrip())
    if _HEADING.match(text):
        return None
    while fragment := next((f for f in _FRAGMENTS if text.endswith(f, 0, end)), None):
        position = end - len(fragment)
        if text.endswith("#", 0, position):
            break
        start = end = position
        while text.endswith((" ", "\t"), 0, end):
            end -= 1
    return start
