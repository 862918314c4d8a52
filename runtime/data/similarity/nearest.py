"""How near embeddings are to each other: the nearest of a reference, distances to it, and how far a set spreads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024
"""Vectors that are compared at a time, of either side."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

Embedding = NDArray[np.float32]
"""[n, d], each of length 1."""


@dataclass(frozen=True)
class Distance:
    """How far rows are from what is measured: the cosine distance, 0 to 2, of each to the nearest of a reference.

    Attributes:
        mean: over the rows.
        quantiles: the distance below which so much of the rows lies, for each of QUANTILES.
        rows, reference: how many were compared.
    """

    mean: float
    quantiles: dict[float, float]
    rows: int
    reference: int


def nearest(embedding: Embedding, reference: Embedding) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """For each vector the cosine similarity to the nearest of the reference, float32[n], and its number, int64[n].

    Of several as near it is the first; with an empty reference similarities are minus infinity.
    """
    best = np.full(len(embedding), -np.inf, np.float32)
    which = np.zeros(len(embedding), np.int64)
    for first in range(0, len(embedding), _BLOCK):
        rows = slice(first, first + _BLOCK)
        for start in range(0, len(reference), _BLOCK):
            similarity = embedding[rows] @ reference[start : start + _BLOCK].T
            place = similarity.argmax(axis=1)
            value = similarity[np.arange(len(place)), place]
            is_nearer = value > best[rows]
            best[rows] = np.where(is_nearer, value, best[rows])
            which[rows] = np.where(is_nearer, place + start, which[rows])
    return best, which


def distance(embedding: Embedding, reference: Embedding) -> Distance:
    """How far the rows are from the reference; neither is empty."""
    distances = np.maximum(1 - nearest(embedding, reference)[0].astype(np.float64), 0)
    values = np.quantile(distances, QUANTILES)
    return Distance(
        float(distances.mean()), dict(zip(QUANTILES, values.tolist(), strict=True)), len(embedding), len(reference)
    )


def spread(embedding: Embedding) -> float:
    """The mean cosine distance of two different rows, over all pairs: how varied they are. 0 for fewer than two.

    The sum over pairs of a·b is (|sum of all|² - sum of |a|²) / 2, so no pair is looked at.
    """
    count = len(embedding)
    if count < 2:
        return 0.0
    vectors = embedding.astype(np.float64)
    together = np.square(vectors.sum(axis=0)).sum() - np.square(vectors).sum()
    return float(1 - together / (count * (count - 1)))
