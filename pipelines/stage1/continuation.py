"""What a block of text after a blank line, or a line after another, is: more of the answer, or the next task.

Patterns and judgements only; `cleaning` decides where a completion ends. Every pattern is linear, every judgement looks at one
block of lines and at what was kept before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

WHOLE = 8  # words from which a text is more than a bare answer: below, a sentence that follows is more likely the next answer
ESSAY = 60  # words in three blocks or more from which whatever is no task is another section

# Labels of a turn of the prompt. "A:" is one too, and a text that is a dialogue of A and B or an FAQ is cut there: the
# specification names these line starts, and only a delimiter can vouch for such an answer.
TURN = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]+|\*\*|\[)?(?:Instruction\b(?!s)|Q\d{0,3}[:.](?=[ \t]|$|\*)|[QA]\d{0,3}:|Response:|Question:"
    r"|(?i:instruction|response|question)(?:[ \t]+\d{1,3})?[ \t]*(?:\*\*)?(?::|\]))"
)
# Other labels that prompts and data sets use. They are fair in an answer, so they count only with a task behind them.
_OTHER_TURN = re.compile(
    r"(?i)[ \t]*(?:#{1,6}[ \t]+|\*\*|\[)?(?:(?:user|human|input|task|prompt|query|frage|aufgabe|pregunta|tarea|pergunta|tarefa"
    r"|domanda|вопрос|задание|問題|質問|问题)(?:[ \t]*\d{1,3})?[ \t]*[:：\]]"
    r"|(?:exercise|problem|question|task)[ \t]*#?\d{1,3}[ \t]*[:.)]?)[ \t]*(?:\*\*)?"
)
_USER = re.compile(r"(?i)[ \t]*(?:user|human)[ \t]*:")
_ASSISTANT = re.compile(r"(?i)[ \t]*(?:assistant|ai|bot|gpt)[ \t]*:")
_LEAD = r"(?:(?:ok(?:ay)?|and|so|now|here(?:'s| is)|let's (?:try|do)|the|a)[,:]?[ \t]+){0,3}"
NEW_QUESTION = re.compile(
    r"[ \t]*(?:next question|another question|new question|now for|moving on"
    rf"|(?:ok(?:ay)?|and|here(?:'s| is))[, \t]+{_LEAD}(?:next|another|a new) question"
    r"|(?:the |your )?(?:next|another|new) (?:task|instruction|prompt|exercise)(?=[ \t]*(?::|$)| is\b)"
    r"|now (?:try|do|answer) (?:this|another|the next)\b[^.]*[:?]"
    r")\b",
    re.IGNORECASE,
)
_ANOTHER_EXAMPLE = re.compile(r"[ \t]*(?:another|next) (?:example|one)[ \t]*:?[ \t]*$", re.IGNORECASE)
NUMBERED = re.compile(r"[ \t]*\(?(?:Q[ \t]?)?(\d{1,3})[.)][ \t]+")
LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•–][ \t]|[-*+•–]$|\(?(?:\d{1,3}|[a-z])[.)](?:[ \t]|$)|[IVX]{1,5}\.[ \t])")

_QUESTION_WORD = re.compile(
    r"(?:(?:In|On|At|From|To|For|With|By|Of) )?(?:What|Who|Whom|Whose|Which|Where|When|Why|How)\b(?:'s)?"
    r"|(?:In|On|At|From|To|For|With|By|Of) (?:what|whom|whose|which)\b"
    r"|(?:Is|Are|Was|Were|Do|Does|Did|Can|Could|Will|Would|Should|Has|Have|If)\b"
)
_QUESTION_END = re.compile(r"[?？][\"'”»)*]*$|[か][。]$")
_SENTENCE_INSIDE = re.compile(r"[.!?。！？][\"'”»)]*\s+[\"'“«(]*[^\W\d_a-z]")
_THING = (
    r"(?:\S+ ){0,3}(?:sentences?|words?|poems?|haikus?|story|stories|slogans?|lists?|tables?|titles?|essays?|paragraphs?|jokes?|"
    r"riddles?|letters?|emails?|functions?|programs?|scripts?|query|queries|antonyms?|synonyms?|opposites?|names?|examples?|"
    r"summary|recipes?|questions?|reasons?|facts?|sum|area|value|plural|capital|rhymes?|dialogues?|reviews?|headlines?)\b"
)
_COMMAND = re.compile(
    r"(?:Please,? )?(?:(?i:(?:Name|Translate|Describe|Explain|Summari[sz]e|Classify|Calculate|Compute|Convert|Define|Identify|"
    r"Rewrite|Rephrase|Paraphrase|Compare|Categori[sz]e|Generate|Compose|Proofread|Reverse|Spell|List) )"
    r"|(?i:Write|Give(?: me)?|Suggest|Correct|Complete|Sort|State|Provide|Solve|Determine|Compose|Unscramble) "
    r"(?:an?|the|this|these|one|two|three|four|five|six|\d+|me|some|any|your|my|in|for|another)\b"
    rf"|(?i:Tell me) |(?i:Create|Make|Find|Design|Add|Choose|Pick|Form|Turn) (?:an?|the|this|\d+|two|three) {_THING}"
    r"|(?i:Add|Subtract|Multiply|Divide) \d+ (?:and|from|by) \d+)"
)

_FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})")
_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]+\S|\*\*[^*]+\*\*|__[^_]+__|\[[^\]\n]{1,40}\]$)")
_FULL_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]+\S.*|\*\*[^*]+\*\*[:.]?|__[^_]+__|\[[^\]\n]{1,40}\])[ \t]*$")
_TABLE = re.compile(r"[ \t]*\||\S+ \| \S")
_COLUMNS = re.compile(r"\S(?: {2,}|\t+)\S")
_LABEL = re.compile(r"\*{0,2}[^\W_][^\n:.?!]{0,30}(?::|：)(?:[ \t]|$)|[A-ZÀ-Þ]{2,}[ .A-ZÀ-Þ]*[.:] ")
_SPEECH = re.compile(r"[ \t]*[\"“„«‘'—–(]")
_CODE = re.compile(
    r"[ \t]*(?:[{}\])@$<;/]|//|/\*|--|#!|#[ \t]*(?:include|define|pragma|ifdef|ifndef)\b|\.\w|\"{3}|'{3}"
    r"|from \S+ import |import [\w{*\"'(]"
    r"|(?:def|class|import|from|for|while|if|else|elif|try|except|return|with|print|let|var|const|function|func|fun|fn|public"
    r"|private|protected|static|package|use|using|namespace|struct|impl|module|export|int|void|data|SELECT|INSERT|UPDATE|DELETE"
    r"|CREATE|DROP|FROM|RUN|CMD|COPY|echo|sudo|cd|git|npm|pip|section|global|end)\b(?=.*[=({:;<>\-\"'*]|$|[ \t]+[\w.]+$)"
    r"|[\w./]+(?: [\w./]+)? --?[a-zA-Z][\w-]*(?: |$)"
    r"|[\w.\[\]$]+(?:, [\w.]+)*[ \t]*(?:[-+*/|&]?=|<-|:=|::)(?:[ \t]|\w)|[\w.]+\(.*\)?;?$|[\w-]+:$|[\w.-]+:\t)|.*[;{}]$"
)
_MATHS = re.compile(r"[ \t]*(?:\$|\\\[|[=≈⇒→∴])|.*\S[ \t]*[=≈][ \t]*\S")
_STOPPED = re.compile(r"[.!?…。！？][\"'”»)]*\s*$")
_ENDED = re.compile(r"[.!?…。！？:;)\]\"'”»’`*]\s*$")
_PROSE = re.compile(r"[ \t]*[^\W\d_a-z]\S*(?:[ \t]+[^\s=(){};]+){3}")
_OPENER = re.compile(
    r"(?:However|But|So|Then|Also|Note|Optional(?:ly)?|Otherwise|This|These|That|Those|It|Its|They|He|She|Both|Neither|Either|Because|"
    r"Therefore|Hence|Thus|Finally|For example|Example|In other words|Or|And|Now|Here|First|Second|Third|Last|Next|Total|Serve|"
    r"Remember|Tip|Warning|If you|To do|By doing|As a|In short|In sum|In conclusion|Overall|On the other hand|Since|Answer)\b"
)
_GREETING = re.compile(r"(?i)(?:dear|hi|hello|hey|to whom it may concern|subject:|good (?:morning|evening|afternoon))\b")
_CLOSING = re.compile(
    r"(?i)(?:best|love|kind(?:est)? regards|(?:warm |best )?regards|yours|sincerely|kisses|cheers|thanks|thank you|respectfully)"
    r"[\w ]{0,20},?$"
)


@dataclass
class Kept:
    """What was kept so far: enough to say whether something that follows belongs to it."""

    first: str = ""
    words: int = 0
    blocks: list[int] = field(default_factory=list)  # lines of each block so far
    last: str = ""
    item: int | None = None  # number of the last numbered item
    code: bool = False
    maths: bool = False
    columns: bool = False
    label: bool = False
    letter: bool = False
    closed: bool = False  # the letter has had its closing line
    asks: bool = False  # begins with a question or a task, or announces them: then those were asked for, and prove nothing

    def add(self, text: str, *, opens_block: bool, code: bool = False) -> None:
        """Takes in one line that is not blank."""
        stripped = text.strip()
        if not self.first:
            bare = unnumbered(stripped)
            self.first, self.letter = stripped, bool(_GREETING.match(stripped))
            self.asks = bool(_QUESTION_END.search(bare)) or is_command(bare)
        if opens_block:
            self.blocks.append(0)
        self.blocks[-1] += 1
        self.words += _words(stripped)
        self.last = text.rstrip()
        number = NUMBERED.match(text)
        self.item = int(number.group(1)) if number else self.item
        self.code |= code or bool(_CODE.match(text))
        self.maths |= bool(_MATHS.match(text))
        self.columns |= bool(_COLUMNS.search(stripped)) or bool(_TABLE.match(text))
        self.label |= bool(_LABEL.match(stripped))
        self.letter |= len(self.blocks) == 2 and self.blocks[-1] == 1 and bool(_GREETING.match(stripped))
        self.closed |= self.letter and len(self.blocks) > 1 and bool(_CLOSING.match(stripped))


def _words(text: str) -> int:
    """Words; of scripts that do not part them, two characters each."""
    return sum(1 + (sum(c > "⺀" for c in word) // 2) for word in text.split())


def unnumbered(text: str) -> str:
    """A line without its list mark and quotes."""
    return re.sub(r"^[ \t]*(?:[-*+•–][ \t]+|\(?(?:Q[ \t]?)?(?:\d{1,3}|[a-z])[.)][ \t]+)?[\"“]?", "", text).rstrip()


def is_question(text: str, *, any_language: bool) -> bool:
    """One question and nothing else. In English it begins with a question word or a verb; elsewhere its mark has to do."""
    text = text.strip()
    if not _QUESTION_END.search(text) or _SENTENCE_INSIDE.search(text):
        return False
    if _QUESTION_WORD.match(text):
        return True
    return any_language and not _SPEECH.match(text) and not text[:1].islower()


def is_command(text: str) -> bool:
    """One instruction of the kind that prompts hold, and nothing else. What follows a colon is its material."""
    text = text.strip()
    return _COMMAND.match(text) is not None and not _SENTENCE_INSIDE.search(text.partition(":")[0])


def alike(text: str, instruction: str) -> bool:
    """Does a line begin as the instruction did: its first two words, whatever the language."""
    asked, said = (unnumbered(t).casefold().split()[:2] for t in (instruction, text))
    return len(asked) == 2 and asked == said


def is_next_task(line: str, kept: Kept, *, after_blank: bool, instruction: str, following: str) -> bool:
    """Is this line, behind what was kept, another task? `following` is the next line that is not blank.

    Where lines stand close together, verse, speech and jokes ask questions too: there the line before has to have ended, and the
    question has to be more than a few words.
    """
    if not kept.first or (kept.code and _CODE.match(line)):
        return False
    if not kept.label and _labelled_task(line, following):
        return True
    if kept.asks or (kept.letter and not kept.closed) or (kept.label and _LABEL.match(line.strip())):
        return False
    if _ANOTHER_EXAMPLE.match(line):
        return _is_task(following)
    text, number = unnumbered(line), NUMBERED.match(line)
    if number and int(number.group(1)) == (kept.item or 0) + 1:
        # The answer's own list goes on, or begins; a list that begins with a question was not announced and is the prompt's.
        return int(number.group(1)) == 1 and kept.item is None and after_blank and is_question(text, any_language=True)
    if not number and LIST_ITEM.match(line):
        return False
    same_kind = alike(text, instruction) and not alike(text, kept.first)
    task = same_kind or is_question(text, any_language=after_blank) or is_command(text)
    if after_blank or number:
        return task
    ended = _ENDED.search(kept.last) is not None or kept.blocks == [1]
    return task and ended and _words(text) >= (2 if same_kind else 4) and not _SPEECH.match(line)


def _labelled_task(line: str, following: str) -> bool:
    """A label that data sets use, with a task behind it, or a user whom an assistant answers."""
    label = _OTHER_TURN.match(line)
    if label is None:
        return False
    if _USER.match(line) and _ASSISTANT.match(following):
        return True
    return _is_task(line[label.end() :].strip() or following.strip())


def _is_task(text: str) -> bool:
    return is_question(text, any_language=True) or is_command(text)


def continues(block: Sequence[str], kept: Kept) -> bool | None:
    """Does a block that is no next task go on with what was kept? None: only if something follows it in its turn."""
    first, single = block[0], len(block) == 1
    number = NUMBERED.match(first)
    if number and int(number.group(1)) not in ((1,) if kept.item is None else (kept.item + 1, 1)):
        return False  # the numbers of the prompt's own list go on
    if _goes_on_in_form(block, kept) or _goes_on_as_a_letter(block, kept):
        return True
    if not single and kept.blocks[-1] > 1:
        return True  # stanzas, and sections of several lines
    if _FULL_HEADING.match(kept.last) or kept.last.endswith(","):
        return True  # they announce what follows
    if kept.blocks == [1] and not single and not _STOPPED.search(kept.last):
        return True if len(block) > 2 else None  # a title and its text
    return _goes_on_in_prose(block, kept)


def _goes_on_in_form(block: Sequence[str], kept: Kept) -> bool:
    """Lists, code, tables, headings, formulas, speech and labels show by themselves that they belong to an answer."""
    first = block[0]
    stripped = first.strip()
    formed = (LIST_ITEM, _FENCE, _HEADING, _SPEECH)
    if any(pattern.match(first) for pattern in formed) or first.startswith(("  ", "\t", "|")) or stripped.endswith((":", "：")):
        return True
    if len(block) > 1 and (LIST_ITEM.match(block[1]) or (_CODE.match(first) and _CODE.match(block[-1]))):
        return True
    return bool(
        (kept.columns and (_COLUMNS.search(stripped) or _TABLE.match(first)))
        or (kept.label and _LABEL.match(stripped))
        or (kept.code and not (_PROSE.match(first) and _STOPPED.search(block[-1])))
        or ((kept.maths or kept.words >= WHOLE // 2) and _MATHS.match(first))
    )


def _goes_on_as_a_letter(block: Sequence[str], kept: Kept) -> bool:
    """Up to its closing line everything is the letter; behind it, a name."""
    return kept.letter and (not kept.closed or (len(block) == 1 and _words(block[0]) <= 4))


def _goes_on_in_prose(block: Sequence[str], kept: Kept) -> bool | None:
    first = block[0].strip()
    if _OPENER.match(first) or (kept.blocks == [1] and kept.words <= 3 and _says(first, kept.last)):
        return True
    if kept.words < WHOLE:
        # The next answer of a list is about as long as this one; a paragraph under a short sentence or a title is longer.
        longer = sum(map(_words, block)) >= max(10, 1.5 * kept.words)
        return longer and kept.words >= WHOLE // 2 and _STOPPED.search(block[-1]) is not None
    if _ENDED.search(block[-1]) or (len(kept.blocks) >= 3 and kept.words >= ESSAY):
        return True
    title = not _STOPPED.search(first) and _words(first) <= 6 and first[:1].isupper()
    return (None if len(block) == 1 else True) if title else False


def _says(text: str, answer: str) -> bool:
    """Does a sentence hold a short answer, word for word?"""
    words, wanted = ([w.strip(".,;:!?()\"'").casefold() for w in t.split()] for t in (text, answer))
    return any(words[n : n + len(wanted)] == wanted for n in range(len(words)))
