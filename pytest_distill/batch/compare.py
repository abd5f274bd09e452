"""Two batches row by row: what was added, removed and changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_distill.contracts.manifest import LINE_COLUMN, SOURCE_COLUMN

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.batch.batch import Batch


@dataclass(frozen=True)
class Rows:
    """How many rows, and the ids of those that have one of their own."""

    count: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    by: Literal["id", "content", "id and content"]
    added: Rows
    removed: Rows
    changed: Rows
    same: int
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]


def compare(before: Batch, after: Batch) -> Difference:
    """Rows by their own id. Those that were given `<file>:<line>` for one go by content: a changed row is one removed, one added.

    Content is every column that both have; columns that only one has are named apart. An id that several rows share counts
    once, and is changed when the contents of its rows are. Equal contents without ids count as often as they occur.
    """
    import polars as pl

    names = sorted(set(before.column_names) & set(after.column_names))
    old, new = (_fingerprints(batch, names) for batch in (before, after))
    joined = old.join(new, on=("own", "key"), how="full", suffix="_after", coalesce=True).with_columns(
        pl.col("rows", "rows_after").fill_null(0)
    )
    own, rest = joined.filter(pl.col("own")).sort("key"), joined.filter(~pl.col("own"))
    more = (rest["rows_after"].cast(pl.Int64) - rest["rows"].cast(pl.Int64)).fill_null(0)
    both = own.filter((pl.col("rows") > 0) & (pl.col("rows_after") > 0))
    changed = both.filter(pl.col("content") != pl.col("content_after"))
    return Difference(
        by="content" if own.is_empty() else "id" if rest.is_empty() else "id and content",
        added=_rows(own.filter(pl.col("rows") == 0), int(more.clip(lower_bound=0).sum())),
        removed=_rows(own.filter(pl.col("rows_after") == 0), int(-more.clip(upper_bound=0).sum())),
        changed=_rows(changed, 0),
        same=both.height - changed.height + int(rest.select(pl.min_horizontal("rows", "rows_after").sum()).item() or 0),
        columns_added=tuple(sorted(set(after.column_names) - set(before.column_names))),
        columns_removed=tuple(sorted(set(before.column_names) - set(after.column_names))),
    )


def _fingerprints(batch: Batch, names: list[str]) -> pl.DataFrame:
    """One row a key (the row's own id, else its content): the 64-bit hashes of its rows, and how many. One shard in memory."""
    import polars as pl

    sources = pl.Series([source.name for source in batch.manifest.sources], dtype=pl.String)
    contents = [name for name in names if name != "id"]
    parts = []
    for shard in batch.manifest.shards:
        frame = batch.read_shard(shard, [*names, SOURCE_COLUMN, LINE_COLUMN])
        nothing = pl.zeros(frame.height, pl.UInt64, eager=True)
        content = frame.select(pl.struct(contents).hash(seed=1)).to_series() if contents else nothing
        key = content.cast(pl.String)
        own = pl.repeat(value=False, n=frame.height, dtype=pl.Boolean, eager=True)
        if "id" in names:
            ids = frame["id"].cast(pl.String)
            given = sources.gather(frame[SOURCE_COLUMN]) + ":" + frame[LINE_COLUMN].cast(pl.String)
            own = (ids.is_not_null() & ids.ne_missing(given)).fill_null(value=False)
            key = ids.zip_with(own, key)
        parts.append(pl.DataFrame({"own": own, "key": key, "content": content}))
    if not parts:
        return pl.DataFrame(schema={"own": pl.Boolean, "key": pl.String, "content": pl.UInt64, "rows": pl.UInt32})
    grouped = pl.concat(parts).group_by("own", "key").agg(pl.col("content").sort(), rows=pl.len())
    return grouped.with_columns(pl.col("content").hash(seed=2))


def _rows(own: pl.DataFrame, others: int) -> Rows:
    return Rows(own.height + others, tuple(own["key"].to_list()))
