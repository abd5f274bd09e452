"""Density of vectors: neighbours, clusters, and an index that is measured."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_distill.measuring.density import density, nearest
from pytest_distill.pipelines.grading.diversity import best, held_out


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clumped(rows: int, clumps: int, size: int, seed: int = 0) -> np.ndarray:
    """Rows apart from each other, and clumps of `size` rows that lie close."""
    rng = np.random.default_rng(seed)
    apart = rng.normal(size=(rows, 64))
    centres = np.repeat(rng.normal(size=(clumps, 64)), size, axis=0)
    return unit(np.concatenate([apart, centres + 0.01 * rng.normal(size=centres.shape)]))


def test_clumps_are_found_whole_and_rows_apart_are_spared() -> None:
    found = density(clumped(100, 3, 10), 0.95)
    assert (found.near[:100].sum(), found.near[100:].sum()) == (0, 30)
    assert (found.clusters, found.recall) == (3, 1.0)
    assert found.near_share == pytest.approx(30 / 130)
    assert found.largest_share == pytest.approx(10 / 130)


def test_equal_rows_are_neighbours_at_any_radius_and_one_row_has_none() -> None:
    vector = unit(np.random.default_rng(0).normal(size=(1, 64)))
    assert density(np.repeat(vector, 3, axis=0), 1.0).near.all()
    alone = density(vector, 0.1)
    assert (alone.near_share, alone.largest_share, alone.clusters, alone.self_similarity) == (0.0, 0.0, 0, 0.0)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(2, 40), radius=st.floats(0.05, 0.99), seed=st.integers(0, 99))
def test_it_is_what_the_whole_matrix_says(rows: int, radius: float, seed: int) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(rows, 3)))
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    found = density(vectors, radius)
    assert (found.near == (cosines.max(axis=1) >= radius - 1e-6)).all()
    pairs = np.argwhere(cosines >= radius - 1e-6)
    assert all(found.cluster[a] == found.cluster[b] for a, b in pairs)
    np.fill_diagonal(cosines, 0)
    assert found.self_similarity == pytest.approx(cosines.sum() / (rows * (rows - 1)), abs=1e-5)
    np.testing.assert_allclose(nearest(vectors), np.where(np.eye(rows), -2, vectors @ vectors.T).max(axis=1), atol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed: the index was not tried")
def test_the_index_finds_what_the_matrix_finds_and_says_how_much(record_property) -> None:
    vectors = clumped(6000, 200, 4)
    exact, indexed = density(vectors, 0.9), density(vectors, 0.9, exact_rows=1000)
    recall = float(indexed.near[exact.near].mean())
    record_property("figure", f"density by index: recall {recall:.3f} of rows with a neighbour, {len(vectors):,} rows")
    assert recall > 0.95
    assert indexed.recall > 0.9
    assert not indexed.near[~exact.near].any()
    assert (density(vectors, 0.9, exact_rows=1000).cluster == indexed.cluster).all()


def test_the_bound_of_the_best_f1_lies_between_the_classes() -> None:
    cosines = np.array([0.99, 0.95, 0.9, 0.6, 0.5, 0.4])
    duplicate = np.array([True, True, True, False, False, False])
    assert best(cosines, duplicate) == pytest.approx(0.75)
    assert best(np.array([0.9, 0.9, 0.9, 0.1]), np.array([True, True, False, False])) == pytest.approx(0.5)
    said = held_out(np.repeat(cosines, 5), np.repeat(duplicate, 5), np.random.default_rng(0))
    assert (said == np.repeat(duplicate, 5)).all()
