"""Small shard sets, made by the real pipeline, and a reader of the contract's text that has nothing of ours."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from pytest_distill.contracts.tokens import TokensManifest
from pytest_distill.engine.local import Threads
from pytest_distill.pipelines.tokenize.run import Order, tokenize
from pytest_distill.pipelines.tokenize.sources import Files
from pytest_distill.pipelines.tokenize.tokenizer import Tokenizer, load
from pytest_distill.stages.stopping import Stop

WORDS = ["Water", "freezes", "at", "zero.", "Bread", "needs", "flour,", "salt", "and", "time;", "ﬁne", "日本語", "🦉", "too!\n"]
TEXTS = [" ".join(WORDS[: 1 + n % len(WORDS)]) + f" ({n})" for n in range(60)]
SHARD_TOKENS = 300
FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "tokenizer.json"


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


def shipped() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(FIXTURE))


def read_by_the_contract(folder: Path) -> list[list[int]]:
    """Every document of a set, EOS included, and every promise of the format on the way."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["tokenizer"] == manifest["tokenizer_name"]
    assert len(manifest["shards"]) == manifest["num_shards"]
    documents = []
    for number, shard in enumerate(manifest["shards"]):
        name = f"{manifest['dataset']}-{manifest['version']}-shard-{number:06d}"
        assert (shard["path"], shard["index_path"]) == (f"{name}.npy", f"{name}.idx")
        assert hashlib.sha256((folder / shard["path"]).read_bytes()).hexdigest() == shard["checksum"]
        ids = np.load(folder / shard["path"], allow_pickle=False)
        assert (ids.ndim, ids.dtype) == (1, np.dtype(manifest["dtype"]))
        assert len(ids) == shard["num_tokens"]
        assert ids.max() < manifest["vocab_size"]
        index = (folder / shard["index_path"]).read_bytes()
        magic, version, count, zero = struct.unpack("<8sQQQ", index[:32])
        assert (magic, version, count, zero) == (b"NMOEIDX\0", 1, shard["num_documents"], 0)
        pairs = [struct.unpack_from("<QQ", index, 32 + 16 * n) for n in range(count)]
        assert len(index) == 32 + 16 * count
        expected_start = 0
        for start, end in pairs:
            assert start == expected_start
            assert end > start
            assert ids[end - 1] == manifest["eos_token_id"]
            assert (ids[start : end - 1] != manifest["eos_token_id"]).all()
            documents.append(ids[start:end].tolist())
            expected_start = end
        assert expected_start == len(ids)
    assert manifest["total_documents"] == len(documents)
    assert manifest["total_tokens"] == sum(map(len, documents))
    return documents


def a_family(tmp_path: Path, pattern: str) -> Path:
    """Our vocabulary and merges behind the pre-tokenizer of another family."""
    declared = json.loads(FIXTURE.read_text())
    declared["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(declared))
    return path
