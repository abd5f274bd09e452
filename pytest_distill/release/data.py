"""The data files of an export: the remaining rows of a batch, shard by shard, as JSONL or Parquet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.rows import SLICE, corrupt, json_lines
from pytest_distill.contracts.manifest import Column
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa

Format = Literal["jsonl", "parquet", "hf"]
FORMATS: tuple[Format, ...] = ("jsonl", "parquet", "hf")
JSONL = "data.jsonl"
PARQUET = "data.parquet"
_TRAIN = re.compile(r"data/train-(\d{5})-of-(\d{5})\.parquet")


@dataclass(frozen=True)
class DataFile:
    name: str
    rows: int


def write_data(batch: Batch, rejected: np.ndarray, folder: Path, form: Format) -> tuple[DataFile, ...]:
    """Writes the rows of `batch` whose positions are not in `rejected` (int64, sorted, unique) below `folder`.

    One shard is in memory at a time. Position columns are left out. Raises E-BATCH-CORRUPT when a shard does not hold what
    the manifest says.
    """
    if form == "jsonl":
        with storage.atomic_file(folder / JSONL) as file:
            rows = 0
            for frame in _remaining(batch, rejected):
                for line in json_lines(frame, batch.manifest.columns):
                    file.write(line)
                rows += frame.height
        return (DataFile(JSONL, rows),)
    if form == "parquet":
        return (_write_parquet(folder, PARQUET, batch.manifest.columns, _remaining(batch, rejected)),)
    count = sum(1 for start, stop in _spans(batch) if stop - start > len(_within(rejected, start, stop)))
    frames = (frame for frame in _remaining(batch, rejected) if frame.height)
    names = (f"data/train-{index:05d}-of-{count:05d}.parquet" for index in range(count))
    return tuple(_write_parquet(folder, name, batch.manifest.columns, [frame]) for name, frame in zip(names, frames, strict=True))


def find_data(names: list[str]) -> tuple[Format, list[str]]:
    """Which of an export's files hold its data, and in what format. Raises E-VERIFY when that is not one whole set."""
    found: list[tuple[Format, list[str]]] = []
    if JSONL in names:
        found.append(("jsonl", [JSONL]))
    if PARQUET in names:
        found.append(("parquet", [PARQUET]))
    if train := [name for name in names if _TRAIN.fullmatch(name)]:
        expected = [f"data/train-{index:05d}-of-{len(train):05d}.parquet" for index in range(len(train))]
        if sorted(train) != expected:
            raise DistillError(
                Code.VERIFY, f"the data files {', '.join(sorted(train))} are not one whole set", "Ask for the whole export."
            )
        found.append(("hf", expected))
    if len(found) != 1:
        raise DistillError(Code.VERIFY, f"{'no data file' if not found else 'data in two formats'}", "Ask for the whole export.")
    return found[0]


def count_rows(path: Path) -> int:
    """Rows of one data file, read from its bytes. Raises E-VERIFY when it is not what its name says."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, memory_map=False) as file:
                return int(file.metadata.num_rows)
        except (OSError, pa.ArrowException) as error:
            raise DistillError(
                Code.VERIFY, f"{path.name} does not read as Parquet: {error}", "Ask for the export again."
            ) from error
    import orjson

    rows = 0
    with path.open("rb") as lines:
        for rows, line in enumerate(lines, start=1):
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DistillError(Code.VERIFY, f"{path.name} line {rows} is no JSON", "Ask for the export again.") from error
            if not isinstance(value, dict) or not line.endswith(b"\n"):
                raise DistillError(Code.VERIFY, f"{path.name} line {rows} is no whole JSON object", "Ask for the export again.")
    return rows


def _spans(batch: Batch) -> Iterator[tuple[int, int]]:
    """First and one past the last row position of each shard."""
    start = 0
    for shard in batch.manifest.shards:
        yield start, start + shard.rows
        start += shard.rows


def _within(rejected: np.ndarray, start: int, stop: int) -> np.ndarray:
    import numpy as np

    first, last = np.searchsorted(rejected, [start, stop])
    return rejected[first:last] - start


def _remaining(batch: Batch, rejected: np.ndarray) -> Iterator[pl.DataFrame]:
    """The remaining rows of each shard, data columns only."""
    import numpy as np
    import polars as pl

    types = {"string": pl.String, "json": pl.String, "int64": pl.Int64, "float64": pl.Float64, "bool": pl.Boolean}
    for shard, (start, stop) in zip(batch.manifest.shards, _spans(batch), strict=True):
        frame = batch.read_shard(shard, batch.column_names)
        for column in batch.manifest.columns:
            if frame.schema[column.name] != types[column.type]:
                raise corrupt(f"the column {column.name!r} of {shard.path} is not of the type {column.type}")
            if column.nulls == "never" and frame[column.name].null_count():
                raise corrupt(f"the column {column.name!r} of {shard.path} holds a null, the manifest says it never does")
        keep = np.ones(stop - start, dtype=np.bool_)
        keep[_within(rejected, start, stop)] = False
        yield frame.filter(pl.Series(keep))


def _write_parquet(folder: Path, name: str, columns: tuple[Column, ...], frames: Any) -> DataFile:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(columns)
    rows = 0
    # Without the Arrow schema in the footer readers see plain strings, whatever width was used here.
    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, "store_schema": False}
    with storage.atomic_file(folder / name) as file, pq.ParquetWriter(file, schema, **options) as writer:
        for frame in frames:
            for part in frame.iter_slices(SLICE):
                table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
                assert isinstance(table, pa.Table)
                writer.write_table(table.cast(schema), row_group_size=SLICE)
            rows += frame.height
    return DataFile(name, rows)


def _schema(columns: tuple[Column, ...]) -> pa.Schema:
    import pyarrow as pa

    types = {
        "string": pa.large_string(),
        "json": pa.large_string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    return pa.schema([pa.field(column.name, types[column.type], nullable=column.nulls != "never") for column in columns])
