"""Texts in blocks to token ids, in threads: the work is in Rust and in kernels, which let go of the interpreter lock.

Blocks come back in the order in which they were read, so the number of threads changes nothing about what is written.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.kernels.ragged import terminated
from pytest_distill.pipelines.tokenize.sources import Document
from pytest_distill.pipelines.tokenize.tokenizer import Tokenizer

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


def encoded(documents: Iterable[Document], tokenizer: Tokenizer, workers: int) -> Iterator[Encoded]:
    """The documents in blocks, in order; at most `workers` + 2 blocks are in memory. Raises E-SHARD-TOKENS."""
    local = threading.local()

    def work(block: list[Document]) -> Encoded:
        if not hasattr(local, "tokenizer"):
            local.tokenizer = tokenizer.fork()
        return encode(block, local.tokenizer)

    ahead: deque[Future[Encoded]] = deque()
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="tokenize")
    try:
        for block in blocks(documents):
            ahead.append(pool.submit(work, block))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
