"""Rows to run over: a slice of a real dataset where it is there, else texts made here."""

from __future__ import annotations

import gzip
import itertools
import os
import random
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).absolute()
REAL = SHARED / "instruct" / "self_instruct_t0.jsonl.gz"


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 records in a file."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    if REAL.is_file():
        with gzip.open(REAL, "rb") as file:
            path.write_bytes(b"".join(itertools.islice(file, 400)))
        return path
    rng = random.Random(1)
    words = [
        "the",
        "river",
        "carries",
        "a",
        "stone",
        "under",
        "the",
        "bridge",
        "while",
        "every",
        "village",
        "remembers",
        "winter",
    ]
    texts = [" ".join(rng.choice(words) for _ in range(rng.randint(30, 120))) for _ in range(300)]
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts + texts[:100]))
    return path
