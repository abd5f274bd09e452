"""Which rows hold an item of a forbidden benchmark: word for word, or with numbers and some words changed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from pytest_distill import measure
from pytest_distill.batch.ingest.formats import read_records
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.folding import collapsed, folded, folded_beyond_ascii
from pytest_distill.policy.model import Benchmark, Contamination

if TYPE_CHECKING:
    from pytest_distill.measuring.kernels.overlap import Index

SHOWN = 300  # characters of a matched piece
FIELDS = {"coverage": pl.Float64, "run": pl.Int64, "item": pl.String, "piece": pl.String}


@dataclass(frozen=True, eq=False)
class Forbidden:
    """The benchmarks' items, ready to be looked for. `labels` name them, counted from one as lines are: "gsm8k 17, question"."""

    labels: tuple[str, ...]
    index: Index
    short: dict[str, int]  # items too short for n-grams, collapsed -> number of the label


@measure(version=1, config="contamination")
def contamination(prompt_text: pl.Series, full_text: pl.Series, config: Contamination) -> pl.Series:
    """Struct: the benchmark item that a row holds most of (`item`, null where none comes near), and how much of it.

    coverage  share of the item's words, weighed by rarity, that stand in the row in the same order and close together; numbers
              are masked, so that changed numbers hide nothing. Items of more than 384 words are judged in parts of about 256
    run       words of the longest stretch that row and some item share
    piece     what stands in the row
    Items with under 12 different words count only verbatim (coverage 1.0), those under 8 words only as the whole prompt or the
    whole row: common phrases are no leak.
    """
    from pytest_distill.measuring.kernels import overlap, text
    from pytest_distill.measuring.kernels.buffers import flat

    forbidden = _forbidden(tuple((b.name, b.path.sha256, b.fields) for b in config.benchmarks), Uncompared(config.benchmarks))
    rows = folded_beyond_ascii(full_text)
    found: dict[int, tuple[float, int, str, str | None]] = {}
    for first, block in flat(rows).blocks():
        hashes, starts, ends, bounds = text.tokens(block)
        near = overlap.search(forbidden.index, hashes, bounds)
        for row in (near.item >= 0).nonzero()[0].tolist():
            begin, end = bounds[row] + near.start[row], bounds[row] + near.end[row] - 1
            where = slice(int(starts[begin] - block.offsets[row]), int(ends[end] - block.offsets[row]))
            label = forbidden.labels[near.item[row]]
            piece = _piece(full_text, rows, first + row, where)
            found[first + row] = (float(near.coverage[row]), int(near.run[row]), label, piece)
    for column in (prompt_text, full_text) if forbidden.short else ():
        for row, whole in _short(column, max(map(len, forbidden.short))):
            if whole in forbidden.short:
                found[row] = (1.0, len(whole.split()), forbidden.labels[forbidden.short[whole]], column[row][:SHOWN])
    values = [found.get(row, (0.0, 0, None, None)) for row in range(len(full_text))]
    return pl.DataFrame(values, schema=FIELDS, orient="row").to_struct("contamination")


def _short(column: pl.Series, longest: int) -> Iterator[tuple[int, str]]:
    """The texts that may be as short as `longest` characters once collapsed, with their rows."""
    rows = (column.str.strip_chars().str.len_chars() <= 2 * longest).arg_true()
    return zip(rows.to_list(), collapsed(column.gather(rows)).to_list(), strict=True)


def _piece(texts: pl.Series, rows: pl.Series, row: int, where: slice) -> str:
    """The matched stretch as it stands in the row, or as it was compared where folding moved its bytes."""
    plain, compared = str(texts[row]).encode(), str(rows[row]).encode()
    source = plain if len(plain) == len(compared) else compared
    return source[where].decode(errors="ignore")[:SHOWN]


class Uncompared(tuple[Benchmark, ...]):
    """Benchmarks as an argument that a cache does not look at: their content is in the other one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uncompared)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=4)
def _forbidden(key: tuple[Any, ...], benchmarks: Uncompared) -> Forbidden:  # noqa: ARG001 - the key is what the cache compares
    """Reads the benchmarks and builds their index, once for all shards. Raises E-POLICY for a field that an item lacks."""
    from pytest_distill.measuring.kernels import overlap, text
    from pytest_distill.measuring.kernels.buffers import flat

    labels, texts = [], []
    for benchmark in benchmarks:
        for number, record in enumerate(read_records(benchmark.path.resolved), start=1):
            for name in benchmark.fields:
                value = item_text(benchmark, number, record, name)
                if value.strip():
                    labels.append(f"{benchmark.name} {number}, {name}")
                    texts.append(value)
    items = pl.Series(texts, dtype=pl.String)
    hashes, _, _, bounds = text.tokens(flat(folded(items)))
    index = overlap.build(hashes, bounds)
    indexed = set(index.owners.tolist())
    short: dict[str, int] = {}
    for row, whole in enumerate(collapsed(items)):
        if row not in indexed:
            short.setdefault(whole, row)
    return Forbidden(tuple(labels), index, short)


def item_text(benchmark: Benchmark, number: int, record: dict[str, Any], name: str) -> str:
    """One field of an item as text: a string, a number, or a list of them (such as choices). Null is nothing."""
    if name not in record:
        known = ", ".join(sorted(record))[:200]
        raise DistillError(Code.POLICY, f"benchmark {benchmark.name}: item {number} has no field {name}", f"It has {known}.")
    value = record[name]
    parts = value if isinstance(value, list) else [value]
    if any(not isinstance(part, (str, int, float)) and part is not None for part in parts):
        what = f"benchmark {benchmark.name}: {name} of item {number} is no text"
        raise DistillError(Code.POLICY, what, "Name fields that hold text.")
    return "\n".join(str(part) for part in parts if part is not None)
