"""Fields that hold nothing: blank ones, and those that only say that they are empty."""

from __future__ import annotations

import polars as pl
import re2

from pytest_distill import measure
from pytest_distill.gates.measures.text import after_prompt
from pytest_distill.measuring.candidates import examined, first_of, nothing_found

# White space, control and format characters (zero-width ones are formats), and the letters that are drawn as nothing:
# Braille blank, Hangul fillers.
BLANK = r"^[\s\p{Z}\p{Cc}\p{Cf}\x{2800}\x{115F}\x{1160}\x{3164}\x{FFA0}]*$"

# A whole field, stripped of white space, quotes, brackets and closing punctuation, that says "nothing here".
_EDGE = r"[\s\"'`“”‘’<>\[\](){}*_.!]*"
_NO_THING = (
    r"no[ _-]?(?:input|output|context|response|answer|content|data|text|instruction)(?: (?:is )?(?:required|needed|provided|"
    r"given|available))?"
)
_NEVER = rf"{_NO_THING}|not (?:applicable|provided|specified)|to ?do|tbd|tba|fixme|placeholder"
_INSERT = r"\[\s*(?:insert|enter|add|your|fill in|type)\b[^\]\n]*\]|<\s*(?:insert|enter|add|your|fill in|type)\b[^>\n]*>"
_NIL = r"n\s?/\s?a|n\.a|null|nan|#n/a|undefined"
_DOTS = r"[-–—_.…?\s]*[-–—_.…][-–—_.…?\s]*"

# In what was given (instruction, input, context, prompt) all of these mean "nothing was given".
PSEUDO_EMPTY_INPUT = rf"(?i)^{_EDGE}(?:{_NEVER}|{_NIL}|none|nil|empty|blank){_EDGE}$|^\s*(?:{_INSERT}|{_DOTS})\s*$"
# In an answer "None" and "nil" can be right ("Which of these is a prime?"), "No", "0" and "None of the above" always are.
PSEUDO_EMPTY_ANSWER = rf"(?i)^{_EDGE}(?:{_NEVER}){_EDGE}$|^\s*(?:{_INSERT})\s*$"
# And these are right only where the prompt speaks of code, of symbols, or of the word itself ("write N/A if it is unknown").
DOUBTFUL_ANSWER = rf"(?i)^{_EDGE}(?:{_NIL}){_EDGE}$|^\s*(?:{_DOTS})\s*$"
DOUBT_IS_FAIR = (
    r"(?i)n/a|\bn\.a\.|\b(?:null|nan|undefined|code|program|function|method|returns?|prints?|evaluates?|console|json|sql|python|"
    r"javascript|variable|expression|operator|symbols?|signs?|characters?|morse|punctuation|dash|hyphen|ellipsis|blank)\b|[`_]"
)
_DOUBTFUL, _FAIR = re2.compile(DOUBTFUL_ANSWER), re2.compile(DOUBT_IS_FAIR)


@measure(version=1)
def blank_field(
    kind: str,
    prompt_text: pl.Series,
    answer_text: pl.Series,
    instruction: pl.Series | None = None,
    prompt: pl.Series | None = None,
    chosen: pl.Series | None = None,
    rejected: pl.Series | None = None,
) -> pl.Series:
    """The name of the first required field that holds only white space or characters drawn as nothing, null where none does."""
    if kind == "sft" and instruction is not None:
        return first_of(_named("instruction", instruction), _named("response", answer_text))
    if kind == "preference" and chosen is not None and rejected is not None:
        other = after_prompt(rejected, chosen, rejected, prompt)
        return first_of(_named("prompt", prompt_text), _named("chosen", answer_text), _named("rejected", other))
    return _named("content" if kind == "rag" else "text", answer_text)


@measure(version=1)
def pseudo_empty(
    prompt_text: pl.Series,
    answer_text: pl.Series,
    instruction: pl.Series | None = None,
    input: pl.Series | None = None,  # noqa: A002 - the column's name in the field's datasets
    context: pl.Series | None = None,
    prompt: pl.Series | None = None,
) -> pl.Series:
    """The text of a field that says that it is empty ("N/A", "<noinput>", "[insert text]"), null where there is none.

    Only whole fields count. An optional input that is really empty ("" or null) is fine: that is how to say "no input".
    """
    given = [
        _whole(column, PSEUDO_EMPTY_INPUT)
        for column in (instruction, input, context, prompt)
        if column is not None and column.dtype == pl.String
    ]
    suspects = first_of(_whole(answer_text, PSEUDO_EMPTY_ANSWER), _whole(answer_text, DOUBTFUL_ANSWER))
    return first_of(*given, examined(_unfair_answer, suspects.is_not_null(), answer_text, prompt_text))


def _unfair_answer(answer: str, prompt: str) -> str | None:
    """The answer, unless the prompt asks for just that word, or the word is in doubt and the prompt speaks of code or symbols."""
    said = answer.strip(" \t\r\n\"'`.!<>[](){}").casefold()
    if said and said in prompt.casefold():
        return None
    return None if _DOUBTFUL.search(answer) and _FAIR.search(prompt) else answer


def _named(name: str, texts: pl.Series) -> pl.Series:
    blank = texts.fill_null("").str.contains(BLANK)
    return pl.select(pl.when(pl.lit(blank)).then(pl.lit(name))).to_series() if blank.any() else nothing_found(len(texts))


def _whole(texts: pl.Series, pattern: str) -> pl.Series:
    """The texts that match; only short ones can, and looking at those alone keeps the pattern away from long documents."""
    frame = pl.DataFrame({"text": texts})
    short = pl.col("text").str.len_bytes() < 200
    return frame.select(pl.when(short & pl.col("text").str.contains(pattern)).then("text")).to_series()
