"""The distance of items to what is trained on: by nearness, and by how often it is trained on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.evals.distance import MASS, distances


def at(*degrees: float) -> np.ndarray:
    """Directions in a plane."""
    radians = np.radians(np.array(degrees))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_rows_of_a_hundredth_or_more_count_by_the_nearest():
    got = distances(at(0, 90), at(0, 60, 180), np.ones(3))
    np.testing.assert_allclose(got, [0.0, 1 - np.cos(np.radians(30))], atol=1e-6)


def test_a_row_that_is_hardly_trained_on_does_not_make_data_near():
    near, far = at(0), at(*np.linspace(60, 61, 500))
    rows = np.concatenate([near, far])
    rare = distances(at(0), rows, np.concatenate([[1], np.ones(500)]))
    often = distances(at(0), rows, np.concatenate([[10], np.ones(500)]))
    assert rare[0] == pytest.approx(0.5 * (1 - 1 / 501 / MASS), abs=0.01)
    assert often[0] == pytest.approx(0, abs=1e-6)  # ten of 510 are more than a hundredth


@given(st.integers(1, 40), st.integers(1, 5), st.randoms(use_true_random=False))
def test_it_is_the_mean_over_the_nearest_hundredth_of_single_examples(rows: int, items: int, random):
    generator = np.random.default_rng(random.randrange(2**32))
    embedded = generator.normal(size=(rows + items, 8)).astype(np.float32)
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
    times = generator.integers(1, 20, rows)
    got = distances(embedded[rows:], embedded[:rows], times.astype(np.float64))
    # each example a hundred times, so that a hundredth is a whole number of them
    single = np.sort(1 - embedded[rows:] @ np.repeat(embedded[:rows], times * 100, axis=0).T, axis=1)
    np.testing.assert_allclose(got, single[:, : int(times.sum())].mean(axis=1), atol=1e-5)
