"""Scaffolding left in answers: few-shot delimiters, tokens and turns of prompt templates, placeholders nobody filled in."""

from __future__ import annotations

import polars as pl
import re2

from pytest_distill import measure
from pytest_distill.measuring.candidates import examined, first_match, first_of
from pytest_distill.policy.model import Leakage

# The delimiter ###END### and what remains of it when a stop string or a trim cuts it: its beginning with at least one
# letter, its end, and the bare rows of # that end a text. "### End of story" is a heading: # run, a space, then text.
_DELIMITER = r"#{2,3}END\b|\bEND#{1,3}|#{2,3} ?END ?#{2,3}|#{3}EN?\s*$|^\s*N?D#{3}"
_BARE_END = r"(?:^|[^#])(#{3})\s*$|(?:^|\n)[ \t]*(#{2,6})\s*$"
_CLOSED_HEADING = re2.compile(r"(?:^|\n) {0,3}#{1,6}[ \t]+[^\n]*[^\s#][^\n]*[ \t]#+\s*$")

# Control tokens are never fair in an answer, not even in one about templates: a tokenizer reads them as control tokens.
TOKENS = (
    r"<\|[a-z][a-z0-9_]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<\|/?(?:user|assistant|system)>"
    r"|</s>\s*<s>|^\s*<s>\s*\[?|</s>\s*$|^\s*<bos>|<eos>\s*$|<(?:unused\d+|reserved_special_token_\d+)>"
)
_STRUCK = re2.compile(r"<s>[^<]*</s>")  # HTML's strike-through
FRAGMENTS = (
    r"(?mi)^\s*#{2,3} ?(?:Instruction|Response|Human|Assistant)s?:|^Below is an instruction that describes a task"
    r"|^\s*(?:predicted |final )?label: ?[AB]\s*\z"
)
TURNS = r"(?m)^(?:Human|Assistant|USER|ASSISTANT|User|Bot):(?:\s|$)"
_DIALOGUE_WANTED = re2.compile(
    r"(?i)\b(?:dialog(?:ue)?s?|conversations?|transcripts?|scripts?|scenes?|skits?|role-?play\w*|chat(?:bot|s|ting)?|"
    r"interviews?|messages?)\b"
)

# Placeholders. An angle is one when it is no tag of HTML, SVG or a feed, has no attributes, is never closed, stands alone in
# prose, and the text is no code.
_ANGLE = r"<[a-z][a-z]*(?:[ _-][a-z]+){0,4}>"
_FILL_IN = (
    r"(?i:\[(?:your|insert|enter|recipient|company|customer|client|employer|sender|hiring manager)\b[^\]\n(){}=;]{0,50}\])"
    r"|\[(?:Name|Date|Address|City|State|Company|Position|Title|First Name|Last Name|Full Name|Phone Number|Email|Location|"
    r"Product)\]"
)
_BRACES = r"\{\{ ?[A-Za-z_][\w .-]{0,40} ?\}\}|\$\{[A-Za-z_]\w{0,40}\}"
PLACEHOLDER = rf"{_ANGLE}|{_FILL_IN}|{_BRACES}"
_PLACEHOLDER = re2.compile(PLACEHOLDER)
_FENCED = re2.compile(r"(?s)```.*?(?:```|\z)|`[^`\n]+`|~~~.*?(?:~~~|\z)")
_CODE = re2.compile(
    r"(?m)[;{}]\s*$|^\s*(?:def |class |import |from \w+ import|#include|function |const |let |var |public |private |using |"
    r"package |SELECT |"
    r"return |if ?\(|for ?\(|while ?\(|echo |\$ |<\?php|<!DOCTYPE|@\w+\b|print\()|=>|->|</[a-zA-Z]|/>|:=|"
    r"\)\s*\{|<\w+\s+\w+=|^#!|^\w+=\S"
)
_HTML = (
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo big blink blockquote body br button "
    "canvas caption center circle cite code col colgroup content data datalist dd defs del description details dfn dialog "
    "dir div dl dt em embed entry fieldset figcaption figure font footer form frame frameset g guid h head header hgroup hr "
    "html i iframe image img input ins isindex item kbd keygen label legend li line link main map mark marquee math menu "
    "menuitem meta meter nav nobr noframes noscript object ol optgroup option output p param path picture plaintext polygon "
    "portal pre progress q rect rp rss rt ruby s samp script section select slot small source span strike strong style sub "
    "summary sup svg table tbody td template text textarea tfoot th thead think time title tr track tt u ul use var video "
    "wbr xml xmp "
)
_TAGS = frozenset(_HTML.split())
_TEMPLATE_WANTED = re2.compile(
    r"(?i)\b(?:templates?|placeholders?|boilerplate|fill[- ]in|blanks?|mad ?libs?|form letter|brackets?|variables?)\b"
)


@measure(version=1, config="leakage")
def delimiter_leak(answer_text: pl.Series, config: Leakage) -> pl.Series:
    """The few-shot delimiter, a fragment of it, or one of the policy's own markers, in an answer; null where there is none."""
    bare = examined(_bare_end, answer_text.str.contains(r"##\s*$"), answer_text)
    findings = [first_match(answer_text, _DELIMITER), bare]
    for marker in config.markers:
        frame = pl.DataFrame({"answer": answer_text})
        held = pl.col("answer").str.contains(marker, literal=True)
        findings.append(frame.select(pl.when(held).then(pl.lit(marker))).to_series())
    return first_of(*findings)


@measure(version=1)
def template_leak(prompt_text: pl.Series, answer_text: pl.Series) -> pl.Series:
    """A control token, an evaluator's label, or a turn of a prompt template in an answer; null where there is none.

    Turns ("Human:", "Assistant:") are fair where the prompt asks for a dialogue, and asks it in prose: a prompt that is a
    transcript itself does not.
    """
    tokens = examined(_token, answer_text.str.contains(TOKENS), answer_text)
    turns = examined(_turn, answer_text.str.contains(TURNS), prompt_text, answer_text)
    return first_of(tokens, first_match(answer_text, FRAGMENTS), turns)


@measure(version=1)
def placeholder(prompt_text: pl.Series, answer_text: pl.Series) -> pl.Series:
    """A placeholder nobody filled in (`<contractor>`, `{{name}}`, `[Your Name]`, `${var}`) in an answer; null if none.

    Spared: code (fenced, in backticks, or evident from its lines), tags of HTML and XML, generics such as `List<string>`, what
    the prompt itself contains, and every placeholder where the prompt asks for a template.
    """
    return examined(_unfilled, answer_text.str.contains(PLACEHOLDER), prompt_text, answer_text)


def _bare_end(answer: str) -> str | None:
    found = _search(_BARE, answer)
    if found is None or _CLOSED_HEADING.search(answer):
        return None
    return "#" * min(3, len(found.strip()))


def _token(answer: str) -> str | None:
    found = _search(_TOKEN, answer)
    if found in ("<s>", "</s>") and _STRUCK.search(answer):
        return _search(_TOKEN, _STRUCK.sub("", answer))
    return found


def _turn(prompt: str, answer: str) -> str | None:
    asked = _DIALOGUE_WANTED.search(prompt) and not _TRANSCRIPT.search(prompt)
    return None if asked else _search(_TURN, answer)


def _unfilled(prompt: str, answer: str) -> str | None:
    prose = _FENCED.sub(" ", answer)
    if _CODE.search(prose) or _TEMPLATE_WANTED.search(prompt):
        return None
    for found in _PLACEHOLDER.finditer(prose):
        piece, after, before = str(found.group()), prose[found.end() : found.end() + 1], prose[found.start() - 1 : found.start()]
        if piece in prompt or after == "(":
            continue
        if piece[0] != "<" or _stands_alone(piece[1:-1], before):
            return piece
    return None


def _stands_alone(name: str, before: str) -> bool:
    """Whether `<name>` is no tag and no generic argument. (Closing tags make the whole text code.)"""
    return name.split()[0] not in _TAGS and not (before.isalnum() or before in ("_", "]"))


def _search(pattern: re2._Regexp[str], text: str) -> str | None:
    found = pattern.search(text)
    return str(found.group()).strip() if found else None


_BARE, _TOKEN, _TURN = re2.compile(_BARE_END), re2.compile(TOKENS), re2.compile(TURNS)
_TRANSCRIPT = re2.compile(r"(?m)^(?:Human|Assistant|User|Bot):")
