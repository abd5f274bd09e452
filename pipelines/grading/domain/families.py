"""Which rows may not be parted, and the split that keeps them together: near duplicates in two parts would be a leak."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final, Literal

import polars as pl

from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.folding import folded
from pytest_distill.measuring.kernels.buffers import flat
from pytest_distill.measuring.kernels.join import near_duplicates

Part = Literal["train", "calibration", "held_out"]
SHINGLE: Final = 5  # words
CALIBRATION: Final = 0.1  # of all rows: what the temperature is fitted on
MIN_ROWS: Final = 5  # of each domain in each part


def families(texts: Sequence[str], groups: Sequence[str] | None, *, similarity: float) -> list[int]:
    """The family of each text, named by its first row: texts of one group, and near duplicates (Jaccard of word 5-grams)."""
    of, _ = near_duplicates(
        flat(folded(pl.Series(texts, dtype=pl.String))), size=SHINGLE, threshold=similarity, threads=os.cpu_count() or 1
    )
    parents = list(range(len(texts)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    def join(a: int, b: int) -> None:
        a, b = sorted((root(a), root(b)))
        parents[b] = a

    for row, earlier in enumerate(of.tolist()):
        if earlier >= 0:
            join(row, earlier)
    first: dict[str, int] = {}
    for row, group in enumerate(groups or ()):
        join(row, first.setdefault(group, row))
    return [root(row) for row in range(len(texts))]


def split(labels: Sequence[str], found: Sequence[int], *, held_out: float, seed: int) -> list[Part]:
    """The part of each row. Of each domain, families in the order of a seeded hash fill held_out, then calibration, then train.

    A family counts for its commonest label. Raises E-DOMAIN where a domain has too few rows, or families, for all three parts.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, family in enumerate(found):
        members[family].append(row)
    of_domain: dict[str, list[int]] = defaultdict(list)
    for family, rows in members.items():
        label = min(Counter(labels[row] for row in rows).items(), key=lambda item: (-item[1], item[0]))[0]
        of_domain[label].append(family)
    parts: list[Part] = ["train"] * len(labels)
    totals = Counter(labels)
    for label in sorted(of_domain):
        wanted: dict[Part, float] = {
            "held_out": max(MIN_ROWS, held_out * totals[label]),
            "calibration": max(MIN_ROWS, CALIBRATION * totals[label]),
        }
        given: Counter[str] = Counter()
        order = sorted(of_domain[label], key=lambda family: hashlib.sha256(f"{seed}:{label}:{family}".encode()).digest())
        for family in order:
            size = len(members[family])
            part = next((name for name, rows in wanted.items() if given[name] < rows and given[name] + size <= 2 * rows), None)
            if part is not None:
                given[part] += size
                for row in members[family]:
                    parts[row] = part
    for label, count in sorted(totals.items()):
        here: Counter[str] = Counter(part for part, name in zip(parts, labels, strict=True) if name == label)
        if short := next((part for part in ("train", "calibration", "held_out") if here[part] < MIN_ROWS), None):
            raise DistillError(
                Code.DOMAIN,
                f"{label} has {here[short]} of its {count} rows for {short.replace('_', ' ')}, {MIN_ROWS} are needed",
                f"Rows of one family stay together ({len(of_domain.get(label, ()))} families here): label more, of more sources.",
            )
    return parts
