"""Who is judged: all rows of the batch, and those that remain after the row gates' quarantine."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.manifest import LINE_COLUMN, OFFSET_COLUMN, SOURCE_COLUMN


@dataclass
class Population:
    """The rows of one batch during one run. `masks` holds each blocking row gate's mask, in the order they ran."""

    batch: Batch
    masks: dict[str, pl.Series] = field(default_factory=dict)

    @property
    def all(self) -> range:
        return range(self.batch.rows)

    def reject(self, gate_id: str, mask: pl.Series) -> None:
        self.masks[gate_id] = mask
        self.__dict__.pop("remaining", None)

    @cached_property
    def remaining(self) -> pl.Series:
        """Mask of the rows that no row gate has rejected so far."""
        kept = pl.Series("remaining", [True], dtype=pl.Boolean).new_from_index(0, self.batch.rows)
        for mask in self.masks.values():
            kept = kept & ~mask
        return kept

    @property
    def remaining_count(self) -> int:
        return int(self.remaining.sum()) if self.masks else self.batch.rows

    def select(self, series: pl.Series, *, everything: bool) -> pl.Series:
        return series if everything or not self.masks else series.filter(self.remaining)

    @cached_property
    def positions(self) -> dict[str, list[Any]]:
        """Source number, line and offset of every row."""
        frame = self.batch.frame([SOURCE_COLUMN, LINE_COLUMN, OFFSET_COLUMN])
        return {name: frame[name].to_list() for name in frame.columns}

    @cached_property
    def ids(self) -> list[Any]:
        """Every row's id, or its position where the batch has no id column."""
        return self.batch.column("id").to_list() if "id" in self.batch.column_names else list(self.all)

    @cached_property
    def places(self) -> pl.Series:
        """Where every row came from, as `file:line`."""
        names = pl.Series(self.sources, dtype=pl.String)
        frame = self.batch.frame([SOURCE_COLUMN, LINE_COLUMN])
        return pl.select(
            pl.concat_str(names.gather(frame[SOURCE_COLUMN]), pl.lit(":"), frame[LINE_COLUMN].cast(pl.String))
        ).to_series()

    @property
    def sources(self) -> list[str]:
        return [source.name for source in self.batch.manifest.sources]
