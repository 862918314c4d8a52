"""Clusters of rows that are connected by pairs: what is like a row's like is in its cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Numbers = NDArray[np.int64]


def joined(clusters: Numbers, ones: Numbers, others: Numbers) -> Numbers:
    """Clusters after the rows `ones` were joined with the rows `others`, pair by pair.

    A cluster is named by the lowest number in it: clusters and result are int64[n], the cluster of each row. To begin
    with, it is `numpy.arange(n)`.
    """
    count = len(clusters)
    pairs = coo_array((np.ones(len(ones), np.bool_), (clusters[ones], clusters[others])), shape=(count, count))
    labels = connected_components(pairs, directed=False)[1][clusters]
    lowest = np.empty(count, np.int64)
    lowest[labels[::-1]] = np.arange(count)[::-1]  # of several, the last one written stays
    return lowest[labels]
