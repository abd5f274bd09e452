"""Rows for the page: which gate took which, which gates take the same ones, and a seeded sample with its texts."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_distill.contracts.manifest import LINE_COLUMN, SOURCE_COLUMN
from pytest_distill.errors import DistillError

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.batch.batch import Batch
    from pytest_distill.measuring.columns import Columns
    from pytest_distill.report.judged import Judged

SAMPLE = 2000  # rows on the map
REJECTED = 500  # of them from quarantine, at most
SHARDS = 12  # rows are drawn from so many shards at most, so that a large batch is not read as a whole
MATRIX = 12  # gates
DENSITY = "grading.diversity-density"  # the gate whose run has embeddings


@dataclass(frozen=True)
class Row:
    """A row of the batch: where it is, what it says, and which gates rejected it. A private one is not to be quoted."""

    position: int
    id: str
    source: str
    line: int
    prompt: str
    answer: str
    gates: tuple[str, ...]
    private: bool

    @property
    def text(self) -> str:
        return f"{self.prompt}\n{self.answer}"


@dataclass(frozen=True)
class Sample:
    rows: tuple[Row, ...]
    whole_batch: bool  # every row of the batch is in it

    @property
    def rejected(self) -> list[Row]:
        return [row for row in self.rows if row.gates]

    @property
    def kept(self) -> list[Row]:
        return [row for row in self.rows if not row.gates]


def rejected_mask(judged: Judged) -> NDArray[np.bool_]:
    mask = np.zeros(judged.record.rows.batch, np.bool_)
    mask[judged.rejections["row"].to_numpy()] = True
    return mask


def taken_first(judged: Judged) -> dict[str, int]:
    """Gate -> rows it rejected that no gate before it in the record had; gates that took none are left out."""
    import polars as pl

    gates = [gate.id for gate in judged.record.gates]
    gates += sorted(set(judged.rejections["by"].cast(pl.String).unique()) - set(gates))
    places = {name: number for number, name in enumerate(gates)}
    place = pl.col("by").cast(pl.String).replace_strict(places, return_dtype=pl.Int32)
    first = judged.rejections.select("row", place).group_by("row").agg(pl.col("by").min())
    return {gates[number]: count for number, count in sorted(first.group_by("by").len().rows())}


def together(judged: Judged) -> tuple[list[str], dict[tuple[str, str], int]]:
    """The gates that reject most rows, and for every two of them how many rows both reject; (a, a) is what a rejects."""
    import polars as pl

    counts = judged.rejections["by"].cast(pl.String).value_counts().sort(["count", "by"], descending=[True, False])
    gates = counts["by"].head(MATRIX).to_list()
    masks = {name: np.zeros(judged.record.rows.batch, np.bool_) for name in gates}
    for name, mask in masks.items():
        mask[judged.rejections.filter(pl.col("by") == name)["row"].to_numpy()] = True
    both = {(a, b): int(np.count_nonzero(masks[a] & masks[b])) for a in gates for b in gates}
    return gates, {pair: count for pair, count in both.items() if count}


def sample(judged: Judged, batch: Batch, columns: Columns, rejected: NDArray[np.bool_]) -> Sample:
    """Up to `SAMPLE` rows, the same ones for the same bytes: seeded with the batch's digest."""
    import polars as pl

    rng = np.random.default_rng(int(batch.sha256[:16], 16))
    shards = batch.manifest.shards
    starts = np.concatenate([[0], np.cumsum([shard.rows for shard in shards])])
    read = np.sort(rng.choice(len(shards), size=min(SHARDS, len(shards)), replace=False)) if shards else np.empty(0, np.int64)
    pool = np.concatenate([np.arange(starts[n], starts[n + 1]) for n in read]) if len(read) else np.empty(0, np.int64)
    out, kept = pool[rejected[pool]], pool[~rejected[pool]]
    out = rng.choice(out, size=min(REJECTED, len(out)), replace=False)
    kept = rng.choice(kept, size=min(SAMPLE - len(out), len(kept)), replace=False)
    chosen = np.sort(np.concatenate([out, kept]))
    taken = judged.rejections.filter(pl.col("row").is_in(out.tolist())).group_by("row").agg(pl.col("by").cast(pl.String).sort())
    gates = {row: tuple(by) for row, by in taken.rows()}
    rows: list[Row] = []
    for number in read:
        here = chosen[(chosen >= starts[number]) & (chosen < starts[number + 1])]
        if len(here):
            rows += _read(batch, columns, int(number), here, int(starts[number]), gates, judged.private_rows)
    return Sample(tuple(rows), whole_batch=len(rows) == batch.rows)


def embeddings(judged: Judged, columns: Columns, found: Sample) -> NDArray[np.float64] | None:
    """The embeddings of the sample's rows, from the run that measured them; None where no gate did, or they cannot be had."""
    gate = next((gate for gate in judged.record.gates if gate.id == DENSITY), None)
    if gate is None or gate.status in ("not_applicable", "did_not_run") or not found.rows:
        return None
    positions = np.array([row.position for row in found.rows])
    taken, start = [], 0
    try:
        for part in columns.parts("meaning_vector"):
            here = positions[(positions >= start) & (positions < start + len(part))] - start
            taken.append(part.gather(here.tolist()).to_numpy().astype(np.float64).reshape(len(here), -1))
            start += len(part)
    except DistillError:  # a report does not fail for the lack of an extra; the map says by what it was drawn
        return None
    return np.concatenate([rows for rows in taken if len(rows)])


def _read(
    batch: Batch,
    columns: Columns,
    number: int,
    rows: NDArray[np.int64],
    start: int,
    gates: dict[int, tuple[str, ...]],
    private: Set[int],
) -> list[Row]:
    measures = (columns.measures["prompt_text"], columns.measures["answer_text"])
    inputs = [name for name in batch.column_names if any(name in measure.inputs for measure in measures) or name == "id"]
    frame = batch.read_shard(batch.manifest.shards[number], [*inputs, SOURCE_COLUMN, LINE_COLUMN])[(rows - start).tolist()]
    given: dict[str, pl.Series] = {name: frame[name] for name in inputs}
    texts = [
        measure.function(kind=batch.kind, **{name: given[name] for name in measure.inputs if name in given})
        for measure in measures
    ]
    ids = given["id"].to_list() if "id" in given else rows.tolist()
    sources = [source.name for source in batch.manifest.sources]
    places = zip(rows.tolist(), ids, frame[SOURCE_COLUMN], frame[LINE_COLUMN], *texts, strict=True)
    return [
        Row(
            row,
            str(identity),
            sources[source] if source is not None else "",
            line,
            prompt,
            answer,
            gates.get(row, ()),
            row in private,
        )
        for row, identity, source, line, prompt, answer in places
    ]
