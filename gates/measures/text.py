"""What was asked, what was answered, and both: the texts on which most standard measures and gates work.

One definition per kind, so that every other measure is written once for all kinds.
"""

from __future__ import annotations

import polars as pl

from pytest_distill import measure
from pytest_distill.errors import Code, DistillError


@measure(version=1)
def prompt_text(
    kind: str,
    instruction: pl.Series | None = None,
    input: pl.Series | None = None,  # noqa: A002 - the column's name in the field's datasets
    prompt: pl.Series | None = None,
    chosen: pl.Series | None = None,
    rejected: pl.Series | None = None,
    title: pl.Series | None = None,
    content: pl.Series | None = None,
    text: pl.Series | None = None,
) -> pl.Series:
    """What was asked. sft: instruction, then input; preference: prompt, or the dialogue both answers share; rag: title."""
    if kind == "sft" and instruction is not None:
        return _joined(instruction, input) if input is not None and input.dtype == pl.String else instruction.fill_null("")
    if kind == "preference" and chosen is not None and rejected is not None:
        if prompt is not None and prompt.dtype == pl.String:
            return prompt.fill_null("")
        return pl.Series([a[: shared_prefix(a, b)] for a, b in zip(chosen, rejected, strict=True)], dtype=pl.String)
    if kind == "rag" and title is not None and title.dtype == pl.String:
        return title.fill_null("")
    column = _first(kind, content, text, instruction, chosen)
    return pl.Series([""], dtype=pl.String).new_from_index(0, len(column))


@measure(version=2)
def answer_text(
    kind: str,
    response: pl.Series | None = None,
    prompt: pl.Series | None = None,
    chosen: pl.Series | None = None,
    rejected: pl.Series | None = None,
    content: pl.Series | None = None,
    text: pl.Series | None = None,
) -> pl.Series:
    """What a model would learn to say. sft: response; preference: the chosen answer; rag: content; text: text."""
    if kind == "preference" and chosen is not None and rejected is not None:
        return after_prompt(chosen, chosen, rejected, prompt)
    own = {"rag": content, "text": text}.get(kind)  # a row of text may carry a response of its own along
    column = own if own is not None else _first(kind, response, content, text)
    return column.fill_null("")


def _first(kind: str, *columns: pl.Series | None) -> pl.Series:
    """The first column that there is. Raises E-MEASURE for a batch that holds no texts, such as one of tokens."""
    found = next((column for column in columns if column is not None), None)
    if found is None:
        gates = 'a gate for others declares applies={"kind": ["sft", ...]}'
        raise DistillError(Code.MEASURE, f"a batch of kind {kind} has no texts: {gates}")
    return found


@measure(version=1)
def rejected_text(chosen: pl.Series, rejected: pl.Series, prompt: pl.Series | None = None) -> pl.Series:
    """The rejected answer of a preference pair, without the dialogue both answers share."""
    return after_prompt(rejected, chosen, rejected, prompt)


@measure(version=1)
def full_text(prompt_text: pl.Series, answer_text: pl.Series) -> pl.Series:
    """Prompt and answer, separated by a newline; the answer alone where nothing was asked."""
    return _joined(prompt_text, answer_text)


@measure(version=1)
def whole_text(
    kind: str,
    full_text: pl.Series,
    prompt: pl.Series | None = None,
    chosen: pl.Series | None = None,
    rejected: pl.Series | None = None,
) -> pl.Series:
    """Everything of a row that would be published as text: prompt and answer, and of a pair both answers."""
    if kind == "preference" and chosen is not None and rejected is not None:
        return _joined(full_text, after_prompt(rejected, chosen, rejected, prompt))
    return full_text


def _joined(first: pl.Series, second: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"first": first.fill_null(""), "second": second.fill_null("")})
    both = pl.concat_str("first", pl.lit("\n"), "second")
    empty_first, empty_second = pl.col("first") == "", pl.col("second") == ""
    return frame.select(pl.when(empty_first).then("second").when(empty_second).then("first").otherwise(both)).to_series()


def after_prompt(side: pl.Series, chosen: pl.Series, rejected: pl.Series, prompt: pl.Series | None) -> pl.Series:
    """The answers of one side of preference pairs, without the dialogue that both share (which `prompt` holds where given)."""
    if prompt is not None and prompt.dtype == pl.String:
        return side.fill_null("")
    cuts = (shared_prefix(a, b) for a, b in zip(chosen, rejected, strict=True))
    return pl.Series([text[cut:] for text, cut in zip(side, cuts, strict=True)], dtype=pl.String)


def shared_prefix(a: str, b: str) -> int:
    """Length of the dialogue that two answers share: their common prefix, cut back to just after its last "Assistant:".

    0 when they share no such turn, because then what they share is the beginning of the answers themselves.
    """
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    marker = "\n\nAssistant:"
    turn = a.rfind(marker, 0, low)
    return turn + len(marker) if turn >= 0 else 0
