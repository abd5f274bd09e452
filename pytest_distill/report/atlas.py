"""A map of texts: points that lie close share words and letter sequences, or mean the like where embeddings were measured.

Without embeddings no model is asked, and nothing leaves the machine: a text becomes counts of its words and of its runs of five
bytes, hashed into buckets, weighted by inverse document frequency and scaled to length one. The map shows the two directions in
which vectors differ most (principal components by subspace iteration; Halko, Martinsson and Tropp 2011, algorithm 4.4).
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1024
CHARS = 2000  # of each text
GRAM = 5
ROUNDS = 6
_SPREAD = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1], np.uint64)


def positions(texts: list[str]) -> NDArray[np.float64]:
    """One point per text, both coordinates within 0 and 1, rounded so that the same texts give the same digits."""
    if len(texts) < 3:
        return np.full((len(texts), 2), 0.5)
    vectors = np.stack([_counts(text[:CHARS]) for text in texts])
    seen = (vectors > 0).sum(axis=0)
    vectors = np.log1p(vectors) * np.log((1 + len(texts)) / (1 + seen))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return projected(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def projected(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same map of vectors (rows, dimensions), three rows or more."""
    vectors = vectors - vectors.mean(axis=0)
    basis = np.random.default_rng(0).standard_normal((vectors.shape[1], min(8, vectors.shape[1])))
    for _ in range(ROUNDS):
        basis = np.linalg.qr(vectors.T @ (vectors @ basis))[0]
    left, scale, _ = np.linalg.svd(vectors @ basis, full_matrices=False)
    points = left[:, :2] * scale[:2]
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)  # either sign would be right: take one
    # Ranks and distances mixed: a few texts unlike all others must not press the rest into one spot.
    ranks = points.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") / (len(points) - 1)
    span = np.ptp(points, axis=0)
    even = np.divide(points - points.min(axis=0), span, out=np.full_like(points, 0.5), where=span > 0)
    rounded: NDArray[np.float64] = np.round((ranks + even) / 2, 4)
    return rounded


def _counts(text: str) -> NDArray[np.float64]:
    words = np.array([zlib.crc32(word.encode()) for word in text.lower().split()], np.uint64) % BUCKETS
    data = np.frombuffer(text.lower().encode(), np.uint8).astype(np.uint64)
    grams = np.empty(0, np.uint64)
    if len(data) >= GRAM:
        windows = np.lib.stride_tricks.sliding_window_view(data, GRAM)
        grams = ((windows * _SPREAD).sum(axis=1) % np.uint64(2**32 - 5)) % BUCKETS
    return np.bincount(np.concatenate([words, words, grams]).astype(np.int64), minlength=BUCKETS).astype(np.float64)
