"""Texts in blocks to token ids. Threads do, for the work is in Rust and in kernels, which let go of the interpreter lock.

Blocks come back in the order in which they were read, so neither engine nor workers change anything about what is written.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_distill.contracts.tokens import TokenizerStamp
from pytest_distill.engine.engine import Engine, Job
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.kernels.ragged import terminated
from pytest_distill.pipelines.tokenize.sources import Document
from pytest_distill.pipelines.tokenize.tokenizer import Tokenizer, same

BLOCK_BYTES = 4 << 20
BLOCK_DOCUMENTS = 4096


class Place(NamedTuple):
    """Where a record of a block comes from, and the SHA-256 of its text."""

    source: int
    done: int
    digest: bytes


@dataclass(frozen=True)
class Encoded:
    """The records of one block. Record r owns `ids[ends[r-1]:ends[r]]`, EOS at its end; one without a token owns nothing."""

    places: list[Place]
    ids: npt.NDArray[np.uint32]
    ends: npt.NDArray[np.int64]
    text_bytes: int


class Encoder:
    """What a worker needs to encode blocks: a tokenizer of its own. Raises E-TOKENIZER-DRIFT when `stamp` is another's."""

    def __init__(self, tokenizer: Tokenizer, stamp: TokenizerStamp) -> None:
        same(tokenizer.stamp, stamp, "this run")
        self._tokenizer = tokenizer.fork()

    def __call__(self, block: list[Document]) -> Encoded:
        return encode(block, self._tokenizer)


def encoded(documents: Iterable[Document], tokenizer: Tokenizer, engine: Engine) -> Generator[Encoded]:
    """The documents in blocks, in order; at most `engine.workers` + 2 blocks are in memory. Raises E-SHARD-TOKENS."""
    for _, block in engine.map(Job(Encoder, (tokenizer, tokenizer.stamp)), ((None, block) for block in blocks(documents))):
        yield block


def blocks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    block: list[Document] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text)
        if size >= BLOCK_BYTES or len(block) == BLOCK_DOCUMENTS:
            yield block
            block, size = [], 0
    if block:
        yield block


def encode(block: list[Document], tokenizer: Tokenizer) -> Encoded:
    """Raises E-SHARD-TOKENS when a text gives the id of EOS itself: nobody could tell where its document ends."""
    ids, counts = tokenizer.encode([document.text for document in block])
    eos = tokenizer.stamp.eos_token_id
    inside = ids == eos
    if inside.any():
        document = block[int(np.searchsorted(np.cumsum(counts), int(inside.argmax()), side="right"))]
        raise DistillError(
            Code.SHARD_TOKENS,
            f"the text of {document.row_id} (record {document.done}) holds the end-of-document token {tokenizer.eos!r}",
            "This tokenizer cannot write it as text; leave that document out.",
        )
    texts = [document.text.encode() for document in block]
    places = [Place(document.source, document.done, sha256(text).digest()) for document, text in zip(block, texts, strict=True)]
    joined, ends = terminated(ids, counts, np.uint32(eos))
    return Encoded(places, joined, ends, sum(map(len, texts)))
