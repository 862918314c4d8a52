"""MinHash: its values agree as often as sets are similar, and the banding finds what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.similarity.minhash import FUNCTIONS, RECALL, Banding, Sets, band_hashes, banding, buckets
from runtime.data.similarity.words import Hashes


def sets_of(*sets: np.ndarray) -> Hashes:
    return Hashes(np.concatenate(sets), np.cumsum([0, *map(len, sets)]))


def pair(draw: np.random.Generator, size: int, similarity: float) -> tuple[Hashes, float]:
    """Two sets of together `size` shingles, and their true similarity."""
    values = draw.integers(0, 2**64, size, np.uint64, endpoint=False)
    common = round(size * similarity)
    half = common + (size - common) // 2
    return sets_of(values[:half], np.concatenate([values[:common], values[half:]])), common / size


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("size", [20, 500])
def test_values_agree_as_often_as_sets_are_similar(size: int, similarity: float) -> None:
    draw = np.random.default_rng(0)
    agree = []
    for _ in range(200):
        sets, _ = pair(draw, size, similarity)
        one, other = band_hashes(sets, Banding(FUNCTIONS, 1))
        agree.append((one == other).mean())
    assert np.mean(agree) == pytest.approx(similarity, abs=0.02)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_candidates_are_as_many_as_the_curve_says(threshold: float) -> None:
    draw = np.random.default_rng(1)
    found = banding(threshold)
    for similarity in (threshold, threshold - 0.2):
        hits, truths = [], []
        for _ in range(400):
            sets, truth = pair(draw, 200, similarity)
            one, other = band_hashes(sets, found)
            hits.append((one == other).any())
            truths.append(found.chance(truth))
        assert np.mean(hits) == pytest.approx(np.mean(truths), abs=0.06)


@given(st.floats(0.03, 1))
@settings(deadline=None)
def test_bands_reach_the_recall_with_the_functions_there_are(threshold: float) -> None:
    found = banding(threshold)
    assert found.bands * found.rows <= FUNCTIONS
    assert found.chance(threshold) >= RECALL or found.rows == 1


def test_the_documented_curve() -> None:
    found = banding(0.8)
    assert (found.bands, found.rows) == (18, 7)
    assert [round(found.chance(similarity), 2) for similarity in (0.8, 0.7, 0.6, 0.4)] == [0.99, 0.79, 0.40, 0.03]


@given(st.lists(st.integers(0, 5), max_size=30))
@settings(deadline=None)
def test_buckets_are_the_rows_that_agree(values: list[int]) -> None:
    found = [bucket.tolist() for bucket in buckets(np.array(values, np.uint64))]
    groups = ([place for place, value in enumerate(values) if value == each] for each in sorted(set(values)))
    assert found == [group for group in groups if len(group) > 1]


@given(st.sets(st.integers(0, 20), min_size=1), st.lists(st.sets(st.integers(0, 20), min_size=1), min_size=1))
@settings(deadline=None)
def test_similarity_is_jaccards(one: set[int], others: list[set[int]]) -> None:
    def sorted_set(values: set[int]) -> np.ndarray:
        return np.array(sorted(values), np.uint64)

    found = Sets(sets_of(*map(sorted_set, others))).similarities(sorted_set(one))
    assert found.tolist() == [len(one & other) / len(one | other) for other in others]
