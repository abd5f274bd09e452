"""Which instructions of a hold-out ask what the training data asks, in other words."""

from __future__ import annotations

import polars as pl
import re2

from pytest_distill.measuring import embedding
from pytest_distill.policy.model import Embedding

_NUMBER = re2.compile(r"\d+(?:[.,]\d+)*")


def same_meaning(instructions: pl.Series, training: pl.Series, table: Embedding, cosine: float) -> list[str]:
    """One entry for each instruction that means what one of the training data means, with both texts.

    Cosine of the embeddings from `cosine` on, and the same numbers in both: "add 3 and 6" is not "add 3 and 7", however close
    a model of meaning puts them. Raises E-EXTRA-MISSING without the extra, E-MODEL for weights that are none.
    """
    folder = embedding.folder_of(table)
    ours, theirs = instructions.unique(maintain_order=True).to_list(), training.unique(maintain_order=True).to_list()
    numbers = [_numbers(text) for text in theirs]
    found: dict[int, tuple[float, int]] = {}
    for row, column, score in embedding.alike(ours, theirs, folder, cosine=cosine):
        if _numbers(ours[row]) == numbers[column]:
            found[row] = max(found.get(row, (0.0, column)), (score, column))
    return [f"{ours[row]!r} is {theirs[column]!r} ({score:.2f})" for row, (score, column) in sorted(found.items())]


def _numbers(text: str) -> list[str]:
    return sorted(str(number) for number in _NUMBER.findall(text))
