"""Distances between embeddings, against the plain computation over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.data.similarity.nearest import QUANTILES, distance, nearest, spread


def unit_vectors(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_nearest_over_several_blocks() -> None:
    ours, reference = unit_vectors(1500, 0), unit_vectors(2500, 1)
    similarity, which = nearest(ours, reference)
    everything = ours @ reference.T
    np.testing.assert_allclose(similarity, everything.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(everything[np.arange(1500), which], similarity, atol=1e-6)


def test_of_equal_ones_the_first_is_nearest() -> None:
    reference = np.tile(unit_vectors(1, 0), (2000, 1))
    assert nearest(reference[:2], reference)[1].tolist() == [0, 0]


def test_distance() -> None:
    ours, reference = unit_vectors(300, 2), unit_vectors(50, 3)
    distances = 1 - (ours.astype(np.float64) @ reference.T).max(axis=1)
    found = distance(ours, reference)
    assert found.mean == pytest.approx(distances.mean(), abs=1e-6)
    assert found.quantiles[0.5] == pytest.approx(np.median(distances), abs=1e-6)
    assert (tuple(found.quantiles), found.rows, found.reference) == (QUANTILES, 300, 50)
    assert distance(reference, reference).mean == pytest.approx(0, abs=1e-6)


def test_spread_is_the_mean_over_pairs() -> None:
    vectors = unit_vectors(40, 4)
    pairs = [1 - float(vectors[i] @ vectors[j]) for i in range(40) for j in range(40) if i != j]
    assert spread(vectors) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert spread(vectors[:1]) == spread(vectors[:0]) == 0
    assert spread(vectors[[0, 0, 0]]) == pytest.approx(0, abs=1e-6)
