"""The second and third stage: what needs all documents at once. Duplicates, and how surprising each one is among the others.

Texts and signatures lie in two scratch files that are memory-mapped, so that memory does not grow with the texts: about 650
bytes a document stay. Both files are made again from the units by whichever stage needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pytest_distill import storage
from pytest_distill.contracts.preprocess import StoredUnit
from pytest_distill.measuring.kernels import minhash
from pytest_distill.measuring.kernels.buffers import Flat
from pytest_distill.pipelines.preprocess import perplexity
from pytest_distill.pipelines.preprocess.config import Config

TEXTS, SIGNATURES = "texts.scratch", "signatures.scratch"
_COLUMNS = ("source", "line", "key", "row_sha256", "domain", "sampled", "signature", "shingles")
Ints = NDArray[np.int64]


class Corpus(NamedTuple):
    """The documents that passed the first stage. `docs` are their numbers among all records of the run."""

    texts: Flat
    signatures: minhash.Signatures
    docs: Ints
    shingles: Ints
    keys: NDArray[np.uint64]  # (documents, 4): SHA-256 of the text, halved, and of the row
    domains: list[str]
    sampled: NDArray[np.bool_]
    records: int  # of the whole run


class Duplicates(NamedTuple):
    """For each document of the corpus the kept one that it repeats (-1: it is kept itself), and the similarity to it."""

    of: Ints
    exact: NDArray[np.bool_]
    jaccard: NDArray[np.float64]


def read_unit(folder: Path, unit: StoredUnit, columns: Sequence[str] | None = None) -> pa.Table:
    with pq.ParquetFile(folder / unit.path) as file:
        return file.read(columns=list(columns) if columns is not None else None, use_threads=False)


def load(folder: Path, units: Sequence[StoredUnit], permutations: int) -> Corpus:
    """Writes the scratch files and maps them."""
    parts: dict[str, list[Any]] = {name: [] for name in ("docs", "shingles", "keys", "sampled", "lengths")}
    domains: list[str] = []
    known: dict[str, str] = {}
    with storage.atomic_file(folder / TEXTS, durable=False) as texts, storage.atomic_file(
        folder / SIGNATURES, durable=False
    ) as signatures:  # fmt: skip
        for unit in units:
            table = read_unit(folder, unit, [*_COLUMNS, "reason"])
            table = table.append_column("doc", pa.array(range(unit.first, unit.first + unit.docs), pa.int64()))
            table = table.filter(pa.compute.is_null(table.column("reason")))
            keys = [key.encode() for key in table.column("key").to_pylist()]
            texts.write(b"".join(keys))
            signatures.write(b"".join(table.column("signature").to_pylist()))
            parts["lengths"] += [len(key) for key in keys]
            rows = table.column("row_sha256").to_pylist()
            parts["keys"] += [_numbers(key, row) for key, row in zip(keys, rows, strict=True)]
            for name, column in (("docs", "doc"), ("shingles", "shingles"), ("sampled", "sampled")):
                parts[name] += table.column(column).to_pylist()
            domains += [known.setdefault(domain, domain) for domain in table.column("domain").to_pylist()]
    count = len(parts["docs"])
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.array(parts["lengths"], np.int64), out=offsets[1:])
    offsets.setflags(write=False)  # as the buffers of a column are: one compiled version of each kernel
    return Corpus(
        texts=Flat(_mapped(folder / TEXTS, np.uint8), offsets),
        signatures=_mapped(folder / SIGNATURES, np.uint32).reshape(count, permutations),
        docs=np.array(parts["docs"], np.int64),
        shingles=np.array(parts["shingles"], np.int64),
        keys=np.array(parts["keys"], np.uint64).reshape(count, 4),
        domains=domains,
        sampled=np.array(parts["sampled"], np.bool_),
        records=sum(unit.docs for unit in units),
    )


def _numbers(key: bytes, row: bytes) -> list[int]:
    text = bytes.fromhex(storage.sha256_bytes(key))
    return [int.from_bytes(part, "big") for part in (text[:8], text[8:16], row[:8], row[8:16])]


def _mapped(path: Path, kind: Any) -> NDArray[Any]:
    if not path.stat().st_size:
        return np.frombuffer(b"", kind)
    mapped = np.memmap(path, dtype=kind, mode="r")
    return np.asarray(mapped)  # a plain array over the map: kernels are compiled for those


def order(corpus: Corpus) -> Ints:
    """The order in which documents are taken: the longest first, then by their digests. It does not depend on where they stood,
    so neither the number of files nor their order changes which rows stay."""
    text_high, text_low, row_high, row_low = corpus.keys.T
    found: Ints = np.lexsort((row_low, row_high, text_low, text_high, -np.diff(corpus.texts.offsets)))
    return found


def duplicates(corpus: Corpus, config: Config) -> Duplicates:
    """Exact ones first (equal once folded), then near ones among the rest."""
    taken = order(corpus)
    of, jaccard = np.full(len(taken), -1, np.int64), np.zeros(len(taken))
    same = np.zeros(len(taken), np.bool_)
    same[1:] = (corpus.keys[taken[1:], :2] == corpus.keys[taken[:-1], :2]).all(axis=1)
    leaders = taken[np.maximum.accumulate(np.where(same, 0, np.arange(len(taken))))]
    of[taken[same]], jaccard[taken[same]] = leaders[same], 1.0
    table = config.duplicates
    near = minhash.near_duplicates(
        corpus.texts, taken[~same], corpus.signatures, corpus.shingles, size=table.shingle, threshold=table.similarity
    )
    fuzzy = near.of >= 0
    of[fuzzy], jaccard[fuzzy] = near.of[fuzzy], near.jaccard[fuzzy]
    exact = np.zeros(len(taken), np.bool_)
    exact[taken[same]] = True
    return Duplicates(of, exact, jaccard)


def surprises(corpus: Corpus, kept: Ints, *, threads: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each kept document: its perplexity a byte under a model of the sampled ones, and that as a z-score in its domain."""
    learned = kept[corpus.sampled[kept]]
    if not len(learned):
        learned = kept
    model = perplexity.train(corpus.texts, learned)
    nats = perplexity.surprise(corpus.texts, kept, model, threads=threads)
    scores = perplexity.within_domains(nats, [corpus.domains[at] for at in kept.tolist()])
    return np.exp(nats), scores


def to_parquet(columns: dict[str, NDArray[Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=False)
    return bytes(sink.getvalue())


def batched(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a unit, one at a time."""
    for batch in table.to_batches(max_chunksize=512):
        yield from batch.to_pylist()
