"""Lengths of prompts, answers and documents, in tokens of the batch's tokenizer and in words."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pytest_distill import Code, DistillError, measure
from pytest_distill.measuring.separable import is_separable
from pytest_distill.policy.model import Tokenizer as TokenizerTable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHIPPED = "tokenizer.json"  # in fixtures/, see make_tokenizer.py there

_BLOCK = 4096  # texts a call of the slow path, so that memory stays bounded


@measure(version=1, config="tokenizer")
def answer_tokens(answer_text: pl.Series, config: TokenizerTable) -> pl.Series:
    """Tokens of the answer, without special tokens, in the policy's tokenizer or else in the counting tokenizer we ship."""
    return count_tokens(answer_text, config)


@measure(version=1, config="tokenizer")
def prompt_tokens(prompt_text: pl.Series, config: TokenizerTable) -> pl.Series:
    """Tokens of what was asked, counted as `answer_tokens` counts."""
    return count_tokens(prompt_text, config)


@measure(version=1)
def answer_words(answer_text: pl.Series) -> pl.Series:
    """Words of the answer: runs of characters between white space."""
    return answer_text.str.count_matches(r"\S+").cast(pl.Int64)


def count_tokens(texts: pl.Series, table: TokenizerTable) -> pl.Series:
    """Token counts of texts without nulls (Int64). Raises E-POLICY when the policy's tokenizer file is none."""
    if table.path is None:
        tokenizer, separable = _load((resources.files("pytest_distill.fixtures") / SHIPPED).read_bytes(), "the shipped tokenizer")
    else:
        tokenizer, separable = _load(table.path.resolved.read_bytes(), table.path.path)
    if not separable:
        return pl.Series(_encoded_lengths(tokenizer, texts), dtype=pl.Int64)
    from pytest_distill.measuring.kernels.pieces import split

    pieces = split(texts)
    return pl.Series(pieces.sums(_encoded_lengths(tokenizer, pl.Series(pieces.distinct, dtype=pl.String))))


def _encoded_lengths(tokenizer: Tokenizer, texts: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    lengths = np.empty(len(texts), np.int64)
    for start in range(0, len(texts), _BLOCK):
        block = texts.slice(start, _BLOCK).to_list()
        lengths[start : start + len(block)] = [len(e) for e in tokenizer.encode_batch_fast(block, add_special_tokens=False)]
    return lengths


@functools.lru_cache(maxsize=4)
def _load(data: bytes, name: str) -> tuple[Tokenizer, bool]:
    """The tokenizer with truncation and padding off, and whether it counts a text as the sum of its pieces."""
    from tokenizers import Tokenizer

    try:
        declared: dict[str, Any] = json.loads(data)
        tokenizer = Tokenizer.from_str(data.decode("utf-8"))
    except Exception as error:  # the library raises bare Exception
        raise DistillError(
            Code.POLICY, f"{name} is no tokenizer.json: {error}", "Name the tokenizer.json of the model."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, is_separable(declared)
