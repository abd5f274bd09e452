"""Where a raw completion of a base model ends: the answer, and which rule cut it off from what the model went on to write.

A base model that has answered does not stop; it writes the next question of the list it believes it is in. If the completion
holds the delimiter of the few-shot prompt, the answer is what stands before it, paragraphs and all. If not, it is cut at the
first of: a line that opens another turn (`Q:`, `Instruction`), a line that announces or is another question, a blank line behind
which the answer does not go on.

What no rule can know: without the delimiter, a second paragraph of whole sentences may be the answer's own or the answer to a
question that the model did not write down. Behind a bare answer (under eight words) it is taken for the next answer and cut;
behind a whole sentence it is kept, and judged by the pair critic like the rest. The gates that look for leaks and runaways share
no code with this module: a filter must not be its own detector.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from pytest_distill.pipelines.stage1.continuation import (
    LIST_ITEM,
    NEW_QUESTION,
    TURN,
    Kept,
    continues,
    is_command,
    is_next_task,
    is_question,
)

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


_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]+[^\s#]")
_FRAGMENTS = tuple(DELIMITER[:length] for length in range(3, len(DELIMITER)))
# The model forgot the delimiter behind its first answer and wrote it behind a later one: both turns of our own prompt follow.
_FORGOTTEN = re.compile(r"\n(?=[ \t]*Instruction:[^\n]*\n\s*Response:)")


def clean_response(completion: str, *, instruction: str = "") -> Cleaned:
    """The answer in a raw completion. `instruction` is what it answers: a line that begins as it does is the next one.

    The delimiter goes before every heuristic: with it present, blank lines are part of the answer, and only whole turns of our
    own prompt (Instruction and Response) are cut away before it. A completion that opens with another turn has no answer, and
    its text is empty. Linear in the length of the completion.
    """
    raw = completion.strip()
    before, found, _ = raw.partition(DELIMITER)
    if found:
        forgotten = _FORGOTTEN.search(before)
        if forgotten:
            return Cleaned(before[: forgotten.start()].rstrip(), TrimRule.LINE_START)
        return Cleaned(before.rstrip(), TrimRule.DELIMITER)
    position, rule = _Reading(raw, instruction).first_cut()
    return Cleaned(raw[:position].rstrip(), rule)


def runs_away(response: str, *, instruction: str = "") -> bool:
    """Does a response that was cleaned still go on to another task? Blank lines in it are no sign of that."""
    _, rule = _Reading(response.strip(), instruction, blank_lines=False).first_cut()
    return rule in (TrimRule.LINE_START, TrimRule.NEW_QUESTION, TrimRule.DOUBLE_NEWLINE)


class _Reading:
    """Reads a completion line by line up to the first place where it has to end.

    Without `blank_lines`, a blank line ends the text only where another task follows it.
    """

    def __init__(self, raw: str, instruction: str, *, blank_lines: bool = True) -> None:
        self.end = len(raw)
        self.instruction, self.blank_lines = instruction, blank_lines
        self.lines = list(_lines(raw)) if raw else []
        self.closed, self.opened = _fences(self.lines)
        self.following = [*_next_texts(self.lines), ""]
        self.kept = Kept()
        self.gap: int | None = None  # where the blank lines before this line begin
        self.doubtful: int | None = None  # the same of a block that is kept only if another one follows it

    def first_cut(self) -> tuple[int, TrimRule | None]:
        """The place and the rule; the text's own end when no rule cuts."""
        for number, line in enumerate(self.lines):
            if not line.text.strip():
                self.gap = line.start if self.gap is None else self.gap
                continue
            fenced = self.closed[number] or self.opened[number]
            cut = self._fenced(number) if fenced else self._judge(number)
            if cut is not None:
                return cut
            self.kept.add(line.text, opens_block=self.gap is not None or not self.kept.first, code=fenced)
            self.gap = None
        return (self.end, None) if self.doubtful is None else (self.doubtful, TrimRule.DOUBLE_NEWLINE)

    def _fenced(self, number: int) -> tuple[int, TrimRule] | None:
        """Code that was fenced on both sides is one piece of the answer; a fence that stays open holds turns too."""
        self.doubtful = None
        return _line_cut(self.lines[number], first=False) if self.opened[number] else None

    def _judge(self, number: int) -> tuple[int, TrimRule] | None:
        line, gap = self.lines[number], self.gap
        announced = gap is not None and _announces_more(self.kept.last, line.text)
        cut = _line_cut(line, first=not self.kept.first) or self._task(number)
        if cut is None and gap is not None:
            more = True if announced or not self.blank_lines else continues(_block(self.lines, number), self.kept)
            if more is not None:
                self.doubtful = None if more else self.doubtful
            elif self.doubtful is None:
                self.doubtful = gap
            cut = (gap, TrimRule.DOUBLE_NEWLINE) if more is False else None
        if cut is None:
            return None
        place = self.doubtful if self.doubtful is not None else None if announced else gap
        return cut if place is None else (place, TrimRule.DOUBLE_NEWLINE)

    def _task(self, number: int) -> tuple[int, TrimRule] | None:
        line, kept = self.lines[number], self.kept
        ahead = self.following[number + 1]
        if is_next_task(line.text, kept, after_blank=self.gap is not None, instruction=self.instruction, following=ahead):
            kept.asks |= kept.last.endswith((":", "："))  # announced, so tasks are what was asked for
            return None if kept.asks else (line.start, TrimRule.NEW_QUESTION)
        return None


def _line_cut(line: _Line, *, first: bool) -> tuple[int, TrimRule] | None:
    """Where a line ends the text by itself: a turn, an announced question, or the rest of a delimiter.

    What begins the whole text in running prose ("Moving on is hard", "Instruction is a craft") is an answer and no turn.
    """
    text = line.text.strip()
    turn = TURN.match(line.text)
    if turn and not (first and turn.group().strip() == "Instruction" != text):
        return line.start, TrimRule.LINE_START
    announced = NEW_QUESTION.match(line.text)
    if announced and not (first and len(text.split()) > 4 and text[len(announced.group().strip()) :][:1] not in ":.!,?"):
        return line.start, TrimRule.NEW_QUESTION
    fragment = _fragment_start(line.text)
    return None if fragment is None else (line.start + fragment, TrimRule.FRAGMENT)


def _block(lines: Sequence[_Line], number: int) -> list[str]:
    """The lines from one on up to a blank line, or to one at which the text might end again."""
    block = [lines[number].text]
    for line in islice(lines, number + 1, None):
        text = line.text
        if not text.strip() or _line_cut(line, first=False) or is_question(text, any_language=False) or is_command(text):
            break
        block.append(text)
    return block


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
    item = LIST_ITEM.match(before)
    if item is None and not _indented(before):
        return False
    bare = item is not None and item.end() == len(before)
    return bare or bool(LIST_ITEM.match(after)) or _indented(after)


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
