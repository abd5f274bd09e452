"""Answers that do not stop: they go on to another task, with a mark of the prompt or without one.

The gate's own opinion. It shares no code with the cleaning of the generation run, and it knows what cleaning does not have to
know: the prompt. What the prompt asks for (questions, dialogues, letters) is no runaway.
"""

from __future__ import annotations

import polars as pl
import re2

from pytest_distill import measure
from pytest_distill.measuring.candidates import examined

SHORT = 60  # words before an unmarked task; a question in the middle of an essay is rhetoric

NEXT_TASK = (
    r"(?m)^[ \t]*(?:(?:#{1,6}[ \t]+|\*\*|\[)?(?:Instruction|Q|A|Response|Question|instruction|response|question)(?: ?\d{1,3})?"
    r"[ \t]*(?:\*\*)?[:\]]|Q\.[ \t]|Q\d{1,3}\.[ \t]|#{1,6}[ \t]+(?:Question|Task|Exercise|Problem) \d{1,3}"
    r"|(?i:(?:(?:and |here is |here's |ok(?:ay)?,? )?(?:the |my |a )?(?:next question|another question|new question)|now for|"
    r"moving on)\b)|(?i:(?:the |your )?(?:next|another|new) (?:task|instruction|prompt|exercise))(?::| is\b|[ \t]*$)"
    r"|(?i:now (?:try|do|answer) (?:this|another|the next) (?:one|question|task))\b)"
)
_NEXT_TASK = re2.compile(NEXT_TASK)
_OTHER_SPEAKER = re2.compile(r"(?m)^[ \t]*B[ \t]*:")
_QUESTIONS_WANTED = re2.compile(
    r"(?i)\b(?:write|generate|create|make|compose|give|list|suggest|come up with|produce|provide|ask|design|draft|prepare|"
    r"formulate|pose|build|"
    r"develop|construct|invent|add|propose|think of|what are)\b[^.\n]{0,80}\b(?:questions?|quiz(?:zes)?|faqs?|q ?(?:&|and) ?a|"
    r"interviews?|dialog(?:ue)?s?|"
    r"exams?|surveys?|questionnaires?|tests?|flash ?cards?|conversations?|riddles?|trivia|jokes?|scripts?|instructions?|"
    r"transcripts?|prompts?)\b"
)
# Prompts whose answers have questions and commands in them.
_SPEECH_WANTED = re2.compile(
    r"(?i)\b(?:how to|how do (?:i|you)|how should|how can|recipe|tips|advice|ideas|steps|instructions|tell me a)\b|"
    r"\b(?:write|give|create|compose|tell|continue|make|draft|generate|produce|describe|design|plan|rewrite|edit|translate|outline|"
    r"provide|suggest|need|want|expand|complete)\b[^.\n]{0,80}\b(?:poems?|verses?|songs?|lyrics|nursery rhymes?|haikus?|"
    r"limericks?|stor(?:y|ies)|scenes?|plays?|letters?|e-?mails?|messages?|speech|"
    r"dialog(?:ue)?s?|conversations?|chats?|jokes?|riddles?|interviews?|advertis\w+|lessons?|worksheets?|articles?|blogs?|posts?|"
    r"news|reviews?|essays?|questions?|quiz\w*|tasks|exercises|prompts|instructions)\b"
)

# One line that is a question or a command of the kind that prompts hold, whole, and speaks to nobody.
_NUMBER = r"(?:\(?(?:Q ?)?\d{1,3}[.)][ \t]+)?"
_ASKS = re2.compile(
    rf"^[ \t]*{_NUMBER}(?:(?:In|On|At|To|From|For|By|Of) (?:what|which|whom|whose)|What|Which|Who|Whose|Whom|Where|When|Why|How|"
    r"Is|Are|Was|Were|Do|Does|Did|Can|Could|Will|Would|Should|Has|Have|If)\b[^.!?\n]*(?:\d\.\d[^.!?\n]*)?\?[ \t]*$"
)
_ASKS_SOMEHOW = re2.compile(r"^[ \t]*(?:[\p{L}]+[ \t]?[:：][ \t]*)?[¿\p{Lu}\p{Lo}][^.!?。？\n]*(?:[?？]|か。)[ \t]*$")
_COMMANDS = re2.compile(
    rf"^[ \t]*{_NUMBER}(?:Please )?(?:(?:Translate|Describe|Explain|Summari[sz]e|Classify|Calculate|Compute|Convert|Define|"
    r"Identify|Rewrite|Rephrase|Paraphrase|Compare|Generate|Name|List|Tell me|tell me|Say|Categori[sz]e|Reverse|Spell) "
    r"|(?:Write|Give|Suggest|Correct|Complete|Sort|Find|State|Provide|Solve|Determine|Create|Make|Compose) "
    r"(?:an?|the|one|two|three|four|five|\d+|in|me|some|another|this|these)\b)[^!?\n]*[^\s,;]$"
)
_SENTENCES = re2.compile(r"[.!?][\"')]* +[\"'(]*\p{Lu}")
_SPEAKS = re2.compile(r"(?i)\b(?:you|your|yours|yourself|i|me|my|we|us|our|let's)\b")
_STATES = re2.compile(r"=|\d$|\.[\"')]*$")
_LABELLED = re2.compile(
    r"(?i)^[ \t]*(?:user|human|input|task|prompt|query|exercise|problem|frage|pregunta|pergunta|domanda|вопрос)[ \t]*#?"
    r"(?:\d{1,3})?[ \t]*[:：.]"
)
_LABEL = re2.compile(r"^[ \t]*(?:\*\*)?\p{L}[\p{L} .]{0,24}[:：]")
_EXAMPLE = re2.compile(r"(?i)^[ \t]*(?:another|next) (?:example|one)[ \t]*:?[ \t]*$")
_ITEM = re2.compile(r"^[ \t]*\(?(?:Q ?)?(\d{1,3})[.)][ \t]+")
_CODE = re2.compile(r"[{};=<>]|^[ \t]*(?:#|//|def |class |import |print|echo |SELECT )|^(?: {4}|\t)")
_ENDED = re2.compile(r"[.!?…。:;)\]\"'”`|]\s*$")


@measure(version=3)
def runaway_line(prompt_text: pl.Series, answer_text: pl.Series) -> pl.Series:
    """The line with which an answer goes on to another task, null where it does not.

    A marked one ("Q:", "Instruction:", "Next question") counts anywhere after the first line. One without a mark counts as a
    line of its own that is a whole question or command, speaks to nobody, is not of the prompt, begins a block or follows a
    sentence that ended, and has at most 60 words before it. So does one that begins as the prompt does, unless that is a question
    and the line states something: solutions take up the words of their problem. Running prose never counts. Spared are answers to
    prompts that ask for questions, tests, dialogues, verse, letters or steps, answers that begin with a question themselves, and
    code.
    """
    return examined(_next_task, answer_text.str.strip_chars().str.contains("\n", literal=True), prompt_text, answer_text)


def _next_task(prompt: str, answer: str) -> str | None:
    return _marked(prompt, answer) or _unmarked(prompt, answer.strip())


def _marked(prompt: str, answer: str) -> str | None:
    start = len(answer) - len(answer.lstrip())
    for found in _NEXT_TASK.finditer(answer):
        if found.start() <= start or not answer[: found.start()].strip():
            continue
        mark = str(found.group()).strip()
        if mark.startswith("A") and mark[1:].strip(" 0123456789") == ":" and _OTHER_SPEAKER.search(answer):
            continue
        return None if _QUESTIONS_WANTED.search(prompt) else mark
    return None


def _unmarked(prompt: str, answer: str) -> str | None:
    lines = answer.split("\n", 200)[:200]
    first = lines[0].strip()
    if _asks(first) or _QUESTIONS_WANTED.search(prompt):
        return None
    spoken = _SPEECH_WANTED.search(prompt) is not None
    wondered = prompt.rstrip().endswith(("?", "？"))  # what follows a question and states something is no question
    begun, asked = _start(prompt), {line.strip() for line in prompt.split("\n")}
    labelled = _LABEL.search(first) is not None and not first.endswith(":")
    words, last, blank, fenced, item = len(first.split()), first, False, first.startswith("```"), _number(first)
    for place, line in enumerate(lines[1:], start=1):
        text = line.strip()
        if text.startswith(("```", "~~~")):
            fenced = not fenced
        if not text:
            blank = True
            continue
        number = _number(text)
        follows = number is not None and (number == (item or 0) + 1) and (item is not None or not _ASKS.search(text))
        fair = (
            fenced
            or follows
            or (labelled and _LABEL.search(text))
            or text in asked
            or last.endswith((":", "："))
            or words > SHORT
        )
        if not fair:
            ahead = next((other.strip() for other in lines[place + 1 : place + 4] if other.strip()), "")
            long = len(text.split()) >= 4 or _EXAMPLE.search(text) is not None
            opens = blank or number is not None or (long and (place == 1 or _ENDED.search(last) is not None))
            alike = (
                begun is not None and begun == _start(text) and begun != _start(first) and not (wondered and _STATES.search(text))
            )
            if (alike and (blank or place == 1)) or (opens and not spoken and _is_task(text, ahead, blank=blank, prompt=prompt)):
                return text[:120]
        words, last, blank, item = words + len(text.split()), text, False, number if number is not None else item
    return None


def _is_task(text: str, ahead: str, *, blank: bool, prompt: str) -> bool:
    if _SPEAKS.search(text.replace("Tell me", "").replace("tell me", "").replace("Give me", "")) and not _COMMANDS.search(text):
        return False
    if _asks(text) and not (_CODE.search(text) and not _ASKS.search(text)):
        return True
    if label := _LABELLED.search(text):
        rest = text[label.end() :].strip() or ahead
        return _asks(rest) or rest.endswith(("?", "？")) or bool(_LABEL.search(ahead))
    if _EXAMPLE.search(text):
        return _asks(ahead)
    foreign = not prompt.isascii() or not _ASKS.search(prompt)
    return (
        blank and foreign and bool(_ASKS_SOMEHOW.search(text)) and prompt.rstrip().endswith(("?", "？", "か。")) and bool(ahead)
    )


def _asks(text: str) -> bool:
    """A whole question or command, and nothing besides."""
    said = _ITEM.sub("", text).partition(":")[0]
    return bool(_ASKS.search(text) or (_COMMANDS.search(text) and not _SENTENCES.search(said)))


def _start(text: str) -> tuple[str, str] | None:
    """The first two words, folded: how a task of the same kind begins in any language."""
    words = text.casefold().split(maxsplit=2)[:2]
    return (words[0], words[1]) if len(words) == 2 else None


def _number(text: str) -> int | None:
    found = _ITEM.match(text)
    return int(str(found.group(1))) if found else None
