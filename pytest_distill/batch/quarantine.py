"""Looking at a batch's own quarantine: which reasons, how many rows each, and where the first ones are."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow.parquet as pq

from pytest_distill.batch.batch import QUARANTINE, Batch


class ReasonCount(NamedTuple):
    """`rows` is how many, `places` are `file:line` of the first rows, `message` is the first row's."""

    reason: str
    rows: int
    places: tuple[str, ...]
    message: str


def reasons(batch: Batch, *, places: int = 5) -> list[ReasonCount]:
    """Every reason of the batch's quarantine, the most frequent first."""
    if batch.manifest.quarantine is None:
        return []
    counts: dict[str, int] = {}
    first: dict[str, list[str]] = {}
    message: dict[str, str] = {}
    with pq.ParquetFile(batch.folder / QUARANTINE, page_checksum_verification=True) as file:
        for part in file.iter_batches(columns=["reason", "source", "line", "message"]):
            for entry in part.to_pylist():
                reason = entry["reason"]
                counts[reason] = counts.get(reason, 0) + 1
                message.setdefault(reason, entry["message"])
                if counts[reason] <= places:
                    first.setdefault(reason, []).append(f"{entry['source']}:{entry['line']}")
    ranked = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return [ReasonCount(reason, counts[reason], tuple(first[reason]), message[reason]) for reason in ranked]
