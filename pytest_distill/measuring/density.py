"""How densely texts lie in an embedding: which have a neighbour within a radius, and how large the clumps are.

Exact by blocks of the similarity matrix; past EXACT_ROWS by an inverted-file index of faiss, whose recall is measured on rows
drawn from the same data. A radius is the cosine from which two texts count as neighbours.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_distill.errors import Code, DistillError

EXACT_ROWS: Final = 100_000
BLOCK: Final = 1024  # rows of a block: memory is BLOCK × rows × 4 bytes
SLACK: Final = 1e-6  # two equal vectors multiply to a little less than 1
PROBED: Final = 32  # cells that the index looks into
SAMPLE: Final = 1000  # rows on which its recall is measured
Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Density:
    """`near`: which rows have a neighbour. `cluster`: the first row of each row's connected component. `recall`: 1 when exact.

    `self_similarity` is the mean cosine of two different rows, exact whatever the way neighbours were found.
    """

    near: npt.NDArray[np.bool_]
    cluster: Labels
    self_similarity: float
    recall: float

    @property
    def rows(self) -> int:
        return len(self.near)

    @property
    def near_share(self) -> float:
        return float(self.near.mean()) if self.rows else 0.0

    @property
    def clusters(self) -> int:
        """Connected components of two rows or more."""
        return int((np.unique(self.cluster, return_counts=True)[1] > 1).sum())

    @property
    def largest_share(self) -> float:
        """The largest cluster's share of the rows; 0 where no row has a neighbour."""
        sizes = np.unique(self.cluster, return_counts=True)[1]
        return float(sizes.max() / self.rows) if self.rows and sizes.max() > 1 else 0.0


def density(vectors: Vectors, radius: float, *, exact_rows: int = EXACT_ROWS) -> Density:
    """The density of unit vectors (rows, dimensions). Same vectors, same figures. Raises E-EXTRA-MISSING without faiss past
    `exact_rows`."""
    from pytest_distill.measuring.kernels.components import join, roots  # compiled, and few batches are asked for this

    rows = len(vectors)
    parents = np.arange(rows, dtype=np.int64)
    near = np.zeros(rows, np.bool_)
    exact = rows <= exact_rows
    for first, others, bounds in _exact(vectors, radius) if exact else _indexed(vectors, radius):
        join(parents, near, first, others, bounds)
    cluster = roots(parents)
    total = vectors.sum(axis=0, dtype=np.float64)
    own = float((vectors.astype(np.float64) ** 2).sum())
    mean = (float(total @ total) - own) / (rows * (rows - 1)) if rows > 1 else 0.0
    return Density(near, cluster, mean, 1.0 if exact else _recall(vectors, radius, near))


def nearest(vectors: Vectors) -> npt.NDArray[np.float32]:
    """The cosine of each row to the nearest other one."""
    found = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ vectors.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -1.0
        found[start : start + BLOCK] = cosines.max(axis=1)
    return found


def _exact(vectors: Vectors, radius: float) -> Iterator[tuple[int, Labels, Labels]]:
    """For runs of rows: the first of them, the later rows within the radius of each, and where each one's begin and end."""
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ vectors[start:].T
        rows, others = np.nonzero(cosines >= radius - SLACK)
        later = others > rows
        rows, others = rows[later], others[later] + start
        yield start, others, np.searchsorted(rows, np.arange(len(cosines) + 1)).astype(np.int64)


def _indexed(vectors: Vectors, radius: float) -> Iterator[tuple[int, Labels, Labels]]:
    """As `_exact`, from an inverted file: one thread and faiss's fixed seed, so that the cells are the same every time."""
    faiss = _faiss()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        cells = max(1, int(4 * len(vectors) ** 0.5))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid, index.cp.niter = 64, 10
        index.train(vectors)
        index.add(vectors)
        index.nprobe = min(cells, PROBED)
        for start in range(0, len(vectors), BLOCK):
            bounds, _, others = index.range_search(vectors[start : start + BLOCK], radius - SLACK)
            yield start, others.astype(np.int64), bounds.astype(np.int64)
    finally:
        faiss.omp_set_num_threads(threads)


def _recall(vectors: Vectors, radius: float, near: npt.NDArray[np.bool_]) -> float:
    """Of rows drawn by a fixed seed that have a neighbour by the whole matrix: the share that the index found one for."""
    drawn = np.sort(np.random.default_rng(0).choice(len(vectors), size=min(SAMPLE, len(vectors)), replace=False))
    cosines = vectors[drawn] @ vectors.T
    cosines[np.arange(len(drawn)), drawn] = -1.0
    truly = cosines.max(axis=1) >= radius - SLACK
    return float(near[drawn][truly].mean()) if truly.any() else 1.0


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise DistillError(
            Code.EXTRA,
            f"more than {EXACT_ROWS:,} rows need an index, and faiss is not installed",
            "pip install 'pytest-distill[ann]'.",
        ) from error
