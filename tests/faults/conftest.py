"""Rows to run over: slices of a real dataset where it is there, else texts made here. And strace, where it may trace."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).absolute()
REAL = SHARED / "instruct" / "self_instruct_t0.jsonl.gz"
WORDS = ["the", "river", "carries", "a", "stone", "under", "bridge", "while", "every", "village", "remembers", "winter"]


def _lines(count: int) -> Iterator[bytes]:
    if REAL.is_file():
        with gzip.open(REAL, "rb") as file:
            yield from itertools.islice(file, count)
        return
    rng = random.Random(1)
    texts = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(30, 120))) for _ in range(count * 3 // 4)]
    for text in [*texts, *texts[: count - len(texts)]]:
        yield json.dumps({"text": text, "response": text}).encode() + b"\n"


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """400 records in a file."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(b"".join(_lines(400)))
    return [path]


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """96 records in two files: little work, and every kind of write."""
    folder, lines = tmp_path_factory.mktemp("few"), list(_lines(96))
    paths = [folder / "first.jsonl", folder / "second.jsonl"]
    paths[0].write_bytes(b"".join(lines[:64]))
    paths[1].write_bytes(b"".join(lines[64:]))
    return paths


@pytest.fixture(scope="session")
def strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: no run was killed at the boundaries of its writes")
    tried = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=write", "true"], capture_output=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"strace may not trace here, so no run was killed at the boundaries of its writes: {tried.stderr.decode()}")
