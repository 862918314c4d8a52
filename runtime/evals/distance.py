"""The distance in meaning of an evaluation's items to what was trained on, as often as it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.data.similarity.nearest import Embedding

MASS = 0.01
"""The part of what is trained on that an item is compared with: that which is nearest to it."""


def distances(items: Embedding, rows: Embedding, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each item the mean cosine distance, 0 to 2, to the nearest hundredth of what is trained on: float64 `[items]`.

    It is the distance of a point to a measure, of order 1 and mass `MASS` (Chazal, Cohen-Steiner and Mérigot,
    "Geometric inference for probability measures", 2011): a row weighs as much as it is trained on, so that a few odd
    rows don't make data near, and twice the dose of near rows in the same mix makes it nearer. Where a single row is a
    hundredth or more, it is the distance to the nearest one.

    Args:
        items: `[items, d]`, each of length 1.
        rows: `[rows, d]`, likewise; one or more.
        weights: float64 `[rows]`, above zero: how often each is trained on, or any multiple of that.
    """
    apart = np.maximum(1 - (items @ rows.T).astype(np.float64), 0)
    nearest = np.argsort(apart, axis=1, kind="stable")
    shares = (weights / weights.sum())[nearest]
    before = np.cumsum(shares, axis=1) - shares
    taken = np.clip(MASS - before, 0, shares)
    return (np.take_along_axis(apart, nearest, axis=1) * taken).sum(axis=1) / taken.sum(axis=1)
