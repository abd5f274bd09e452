"""Answers that stop too early. Answers that do not stop are in `runaway`."""

from __future__ import annotations

import polars as pl
import re2

from pytest_distill import measure
from pytest_distill.measuring.candidates import examined

LONG = 120  # characters from which a text without an ending counts as cut short rather than terse
_ENDED = r"[.!?…。！？؟।۔\"'”’»)\]}>*_`~:;|=/\\%0-9\p{So}\p{Sk}\p{Sm}\p{Sc}]\s*$"

# Each names an ending that announces more. Prefilter and explanation in one: Python looks only at the rows that match.
_COLON = r":\s*$"
_BULLET = r"\n[ \t]*(?:[-*•+–]|\d{1,3}[.)]|\(?[a-z]\)|\d{1,3}\.\d{1,3}\.?)\s*$"
_HYPHEN = r"\s\p{L}+-\s*$|\s-\s*$"
_COMMA = r",\s*$"
_WORD = (
    r"\s(?:and|or|the|a|an|of|to|with|because|but|which|that|for|from|by|in|is|are|was|were|if|as|than|into|such|their|its|"
    r"your)\s*$"
)
_OPEN_END = re2.compile(rf"{_COMMA}|{_WORD}")
_HYPHEN_END = re2.compile(_HYPHEN)
_BULLET_END = re2.compile(_BULLET)
_COLON_END = re2.compile(r"(?:^|\n)([^\n]*\p{L}[^\n]*):\s*$")
_SHORTCODE = re2.compile(r":[a-z0-9_+-]+:\s*$|[(\s][:;]\s*$")
_CODE_LINE = re2.compile(
    r"(?m)[;{}]\s*$|^\s*(?:def|class|import|from|if|for|while|else|elif|try|return|print|#include|function|const|let|"
    r"var)\b[^\n]*[:({\[=;]|^\s*\w+ = "
)
_CLOSING = re2.compile(
    r"(?i)(?:^|\n)[^\n]{0,40}\b(?:sincerely|regards|yours|best|love|cheers|thanks|thank you|respectfully|truly|wishes|hugs|"
    r"kisses|faithfully|cordially|"
    r"warmly|kindly|xoxo)[^\n]{0,20},\s*$"
)
_FENCE_LINE = re2.compile(r"(?m)^[ \t>]*(?:```|~~~)")
_EMOTICON = re2.compile(r"[:;=8xX]'?-?\(+|\(:|:\(|\b[a-z0-9]\)|\d\)")


@measure(version=1)
def truncated_end(
    answer_text: pl.Series,
    finish_reason: pl.Series | None = None,
    hit_token_limit: pl.Series | None = None,
    trim_rule: pl.Series | None = None,
) -> pl.Series:
    """How an answer that stops too early ends (the last piece of its text, or what says so), null for answers that do not.

    Judged: a colon or a bare list mark at the end, an open code fence, and in answers of 120 characters or more a hyphen, a
    comma, an article or conjunction, or a bracket opened in the last line at the end. A generator's own word counts too, unless
    a trim rule cut the text afterwards: `finish_reason` "length", and `hit_token_limit` where the text has no ending.
    """
    tail = answer_text.str.tail(400)
    shaped = tail.str.contains(rf"{_COLON}|{_BULLET}|{_HYPHEN}|{_COMMA}|{_WORD}|[(\[“][^)\]”\n]*\s*$")
    ends = examined(_unfinished, shaped | answer_text.str.contains(r"(?m)^[ \t>]*(?:```|~~~)"), answer_text)
    frame = pl.DataFrame({"ends": ends, "tail": answer_text.str.tail(40)})
    untrimmed = _untrimmed(trim_rule, len(answer_text))
    stopped = _says(finish_reason, "length") & untrimmed
    limit = _true(hit_token_limit, len(answer_text)) & untrimmed & ~tail.str.contains(_ENDED)
    frame = frame.with_columns(stopped=stopped | limit)
    return frame.select(pl.coalesce("ends", pl.when("stopped").then("tail"))).to_series()


def _unfinished(answer: str) -> str | None:
    text = answer.rstrip()
    last = text[text.rfind("\n") + 1 :]
    if len(_FENCE_LINE.findall(text)) % 2:
        return "```"
    if "```" in last or "~~~" in last:
        return None
    if _BULLET_END.search(text) and _is_list_mark(text, last.strip()):
        return last.strip()
    code = _CODE_LINE.search(text) is not None
    if _COLON_END.search(text) and not _SHORTCODE.search(text) and not code:
        return _end(last)
    if len(text) < LONG or code:
        return None
    if _HYPHEN_END.search(text) or (_OPEN_END.search(text) and not _CLOSING.search(text)):
        return _end(last)
    return _open_bracket(last)


def _end(line: str) -> str:
    """Its last words."""
    return line if len(line) <= 40 else line[-40:].partition(" ")[2] or line[-40:]


def _is_list_mark(text: str, mark: str) -> bool:
    """A bare number counts only as the next item of a list ("4." can be the answer); a bare bullet always."""
    if not mark[0].isalnum() and mark[0] != "(":
        return True
    style = mark.lstrip("0123456789(abcdefghijklmnopqrstuvwxyz")
    return (
        sum(1 for line in text.splitlines()[:-1] if line.strip()[:1].isalnum() and style in line.strip()[:5]) > 0
        if style
        else False
    )


def _open_bracket(last: str) -> str | None:
    line = _EMOTICON.sub("", last)
    for opened, closed in (("(", ")"), ("[", "]"), ("“", "”")):
        if line.count(opened) > line.count(closed) and line.rstrip()[-1:] not in ".!?…\"'”’":
            return last[last.rfind(opened) :][:40]
    return None


def _says(column: pl.Series | None, word: str) -> pl.Expr:
    if column is None or column.dtype != pl.String:
        return pl.lit(value=False)
    return pl.lit(column.str.to_lowercase().eq_missing(pl.Series([word])))


def _true(column: pl.Series | None, rows: int) -> pl.Series:
    if column is None or column.dtype != pl.Boolean:
        return pl.Series([False]).new_from_index(0, rows)
    return column.fill_null(value=False)


def _untrimmed(trim_rule: pl.Series | None, rows: int) -> pl.Series:
    """Rows whose text no trim rule cut: only there does the end of the generation show in the text."""
    if trim_rule is None or trim_rule.dtype != pl.String:
        return pl.Series([True]).new_from_index(0, rows)
    return trim_rule.fill_null("none").str.to_lowercase().is_in(["none", ""])
