"""What is known of a row besides its text: its measures, through the cache, and the gold row that is nearest to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_distill.batch.batch import Batch
from pytest_distill.errors import DistillError, one_line
from pytest_distill.policy import gold
from pytest_distill.policy.workspace import Workspace

# Standard measure, field of it, and what people call it. Those a batch has no columns for are left out.
MEASURES: Final = (
    ("answer_tokens", None, "tokens of the answer"),
    ("prompt_tokens", None, "tokens of the prompt"),
    ("answer_words", None, "words of the answer"),
    ("language_confidence", None, "sure of the language"),
    ("refusal_class", None, "refusal"),
    ("quality", "symbol_share", "share of symbols"),
)
WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True)
class Neighbour:
    """A gold row, and how near it is: from 0 to 1, by shared words or by meaning."""

    row: dict[str, Any]
    near: float
    by: str


def measures(workspace: Workspace, batch: Batch, rows: Sequence[int]) -> list[list[tuple[str, str]]]:
    """Name and value of each measure, for each of the rows (ascending positions in the batch)."""
    from pytest_distill.measuring.columns import Columns

    columns = Columns.of(workspace, batch)
    found: list[list[tuple[str, str]]] = [[] for _ in rows]
    for name, part, words in MEASURES:
        try:
            values = _picked(columns, name, part, rows)
        except DistillError:  # a batch of another kind: it has no such column
            continue
        for facts, value in zip(found, values, strict=True):
            if value is not None:
                facts.append((words, f"{value:.3g}" if isinstance(value, float) else one_line(str(value))))
    return found


def _picked(columns: Any, name: str, part: str | None, rows: Sequence[int]) -> list[Any]:
    """The values at some positions, from pieces that are let go one by one."""
    picked, start = [], 0
    for piece in columns.parts(name):
        series = piece.struct.field(part) if part else piece
        here = [row - start for row in rows if start <= row < start + len(series)]
        picked += series.gather(here).to_list()
        start += len(series)
    return picked


def neighbours(workspace: Workspace, rows: Sequence[dict[str, Any]]) -> list[Neighbour | None]:
    """The nearest gold row of each: by meaning where the policy works with an embedding model, else by shared words.

    None for all where the workspace has no gold set. Raises E-GOLD where its files were changed.
    """
    listed = gold.load(workspace)
    if listed is None:
        return [None] * len(rows)
    standard = gold.rows(workspace, listed)
    ours, theirs = [_text(row) for row in rows], [_text(row) for row in standard]
    policy = workspace.policy
    if policy.holdout.semantic or policy.embedding.weights is not None:
        from pytest_distill.measuring.embedding import embed, packaged

        weights = policy.embedding.weights
        folder = weights.resolved.parent if weights else packaged()
        near, by = (embed(ours, folder) @ embed(theirs, folder).T).tolist(), "meaning"
    else:
        near, by = [[_overlap(a, b) for b in map(_words, theirs)] for a in map(_words, ours)], "shared words"
    best = [max(range(len(theirs)), key=lambda n, values=values: values[n]) for values in near]  # type: ignore[misc]
    return [Neighbour(standard[n], float(values[n]), by) for n, values in zip(best, near, strict=True)]


def _text(row: dict[str, Any]) -> str:
    found = [row.get(name) for name in ("instruction", "response")]
    texts = [text for text in found if isinstance(text, str)] or list((row.get("values") or {}).values())
    return "\n".join(texts)


def _words(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(text.casefold()))


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity."""
    return len(one & other) / len(one | other) if one | other else 0.0
