"""Clusters: what pairs connect, named by the lowest number."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.similarity.clusters import joined
from runtime.data.similarity.near_duplicates import near_meaning


def connected(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The lowest number that pairs lead to, for each."""
    lowest = list(range(count))
    for _ in range(count):
        for one, other in pairs:
            lowest[one] = lowest[other] = min(lowest[one], lowest[other])
    return lowest


PAIRS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=12)


@given(PAIRS, PAIRS)
@settings(deadline=None)
def test_joined_at_once_or_one_after_the_other(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    clusters = np.arange(12)
    for pairs in (first, second):
        ones, others = np.array(pairs, np.int64).reshape(-1, 2).T
        clusters = joined(clusters, ones, others)
    assert clusters.tolist() == connected(12, [*first, *second])


def test_near_meaning_over_several_blocks() -> None:
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((300, 16))
    which = draw.integers(0, 300, 2500)
    vectors = (centres[which] + 0.05 * draw.standard_normal((2500, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = near_meaning(vectors, 0.95)
    first = {centre: number for number, centre in reversed(list(enumerate(which.tolist())))}
    assert found.tolist() == [first[centre] for centre in which.tolist()]
    assert near_meaning(vectors, 1.1).tolist() == list(range(2500))


def test_a_chain_is_one_cluster() -> None:
    angles = np.linspace(0, 1, 21)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert set(near_meaning(vectors, 0.998).tolist()) == {0}
    assert vectors[0] @ vectors[-1] < 0.6
