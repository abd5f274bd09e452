"""Opening a batch and reading its columns. Writing one is `batch.write`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill import storage
from pytest_distill.batch import digest
from pytest_distill.contracts.manifest import POSITION_COLUMNS, Created, Manifest, Shard
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"
CREATED = "created.json"
QUARANTINE = "quarantine.parquet"
UNHASHED = (CREATED,)


@dataclass(frozen=True, repr=False)
class Batch:
    """A batch on disk. `sha256` is the digest of its SHA256SUMS, verified when it was opened."""

    folder: Path
    manifest: Manifest
    sha256: str

    def __repr__(self) -> str:
        return f"Batch({self.id}: {self.rows:,} rows of kind {self.kind}, sha256 {self.sha256[:12]}, {self.folder})"

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def kind(self) -> str:
        return self.manifest.kind

    @property
    def rows(self) -> int:
        return self.manifest.counts.kept

    @property
    def column_names(self) -> tuple[str, ...]:
        """The data columns, without the position columns."""
        return tuple(column.name for column in self.manifest.columns)

    @property
    def made_at(self) -> dt.datetime | None:
        """When it was made, as created.json says; None where that is gone or says nothing that is a time."""
        try:
            return dt.datetime.fromisoformat(Created.load(self.folder / CREATED).created_at)
        except (DistillError, ValueError):
            return None

    def shard_path(self, shard: Shard) -> Path:
        return self.folder / shard.path

    def read_shard(self, shard: Shard, columns: Sequence[str]) -> pl.DataFrame:
        """`columns` of one shard, in that order. Raises E-BATCH-CORRUPT when the Parquet does not read or lies about rows."""
        import polars as pl
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.shard_path(shard)
        try:
            # A ParquetFile knows no partitioning and no other file: the bytes of this path only. Page checksums are verified.
            with pq.ParquetFile(path, memory_map=False, page_checksum_verification=True) as file:
                if file.metadata.num_rows != shard.rows:
                    raise DistillError(
                        Code.BATCH_CORRUPT, f"{path} holds {file.metadata.num_rows} rows, the manifest says {shard.rows}"
                    )
                if not columns:
                    return pl.DataFrame()
                table = file.read(columns=list(columns), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DistillError(
                Code.BATCH_CORRUPT, f"{path} does not read as Parquet: {error}", "Make the batch again."
            ) from error
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise DistillError(Code.BATCH_CORRUPT, f"{path} lacks the column {missing[0]!r}", "Make the batch again.")
        frame = pl.from_arrow(table.select(list(columns)), rechunk=True)
        assert isinstance(frame, pl.DataFrame)
        frame.columns = list(columns)  # polars gives a column whose name is empty a name of its own
        return frame

    def frame(self, columns: Iterable[str] | None = None) -> pl.DataFrame:
        """All rows of `columns` (default: every data column and the positions). Holds them in memory."""
        import polars as pl

        names = list(columns) if columns is not None else [*self.column_names, *POSITION_COLUMNS]
        return pl.concat([self.read_shard(shard, names) for shard in self.manifest.shards], rechunk=True)

    def column(self, name: str) -> pl.Series:
        return self.frame([name]).to_series()

    def candidates(self) -> pl.DataFrame:
        """Every candidate of a generated batch, kept or not, all columns; empty where the batch has none."""
        import polars as pl

        names = [column.name for column in self.manifest.candidate_columns]
        shards = [self.read_shard(shard, names) for shard in self.manifest.candidates]
        return pl.concat(shards, rechunk=True) if shards else pl.DataFrame()

    def attachment(self, name: str) -> bytes | None:
        """The bytes of an attached file, which have to be those the manifest lists; None where there is none of that name.

        Raises E-BATCH-CORRUPT.
        """
        listed = next((file for file in self.manifest.attachments if file.path == name), None)
        if listed is None:
            return None
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise DistillError(Code.BATCH_CORRUPT, f"{self.id}: {name} cannot be read: {error.strerror}") from error
        if storage.sha256_bytes(data) != listed.sha256:
            raise DistillError(Code.BATCH_CORRUPT, f"{self.id}: {name} was changed", "A batch is never edited; make a new one.")
        return data


def open_batch(folder: Path) -> Batch:
    """Opens and verifies a batch: sums, file list, manifest. Raises E-BATCH-NOTFOUND, E-BATCH-CORRUPT or E-MANIFEST."""
    if not (folder / MANIFEST).is_file():
        raise DistillError(
            Code.BATCH_NOTFOUND, f"no batch at {folder}", "`distill list` shows what is here, `distill ingest` makes one."
        )
    sha256 = digest.check(folder, unhashed=UNHASHED)
    manifest = Manifest.load(folder / MANIFEST)
    if manifest.id != folder.name:
        raise DistillError(
            Code.BATCH_CORRUPT, f"the folder {folder.name} holds the batch {manifest.id}", "Batches are not renamed."
        )
    sums = digest.read_sums(folder)
    listed = {MANIFEST: None, **{file.path: file.sha256 for file in manifest.files}}
    for name, expected in listed.items():
        if name not in sums or (expected is not None and sums[name] != expected):
            raise DistillError(
                Code.BATCH_CORRUPT, f"{manifest.id}: {name} is not what the manifest lists", "Make the batch again."
            )
    return Batch(folder=folder, manifest=manifest, sha256=sha256)
