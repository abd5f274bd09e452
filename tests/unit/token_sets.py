"""Small shard sets, made by the real pipeline, and a way to change their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_distill.contracts.tokens import TokensManifest
from pytest_distill.engine.local import Threads
from pytest_distill.pipelines.tokenize.run import Order, tokenize
from pytest_distill.pipelines.tokenize.sources import Files
from pytest_distill.pipelines.tokenize.tokenizer import Tokenizer, load
from pytest_distill.stages.stopping import Stop

WORDS = ["Water", "freezes", "at", "zero.", "Bread", "needs", "flour,", "salt", "and", "time;", "ﬁne", "日本語", "🦉", "too!\n"]
TEXTS = [" ".join(WORDS[: 1 + n % len(WORDS)]) + f" ({n})" for n in range(60)]
SHARD_TOKENS = 300


def write_rows(path: Path, texts: list[str] = TEXTS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def make_set(
    out: Path,
    texts: list[str] = TEXTS,
    *,
    tokenizer: Tokenizer | None = None,
    shard_tokens: int = SHARD_TOKENS,
    dataset: str = "set",
    version: str = "v1",
    source: Path | None = None,
    stop: Stop | None = None,
    workers: int = 1,
    resume: bool = False,
    **values: Any,
) -> TokensManifest:
    path = source or write_rows(out.parent / f"{out.name}.jsonl", texts)
    order = Order(dataset=dataset, version=version, shard_tokens=shard_tokens, **values)
    files = Files([path], order.text_field)
    return tokenize(files, tokenizer or load(), out, order, engine=Threads(workers), resume=resume, stop=stop)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
