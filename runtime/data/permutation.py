"""Keyed permutations of 0..size-1 that are computed, not stored: any element in constant time and memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.data.keys import mix, numbered

ROUNDS = 12
"""Below that, domains of a dozen elements show the network: differences of neighbours are not uniform."""


def permute(index: ArrayLike, size: ArrayLike, key: ArrayLike) -> NDArray[np.int64]:
    """Where the permutation of 0..size-1 that `key` names takes each `index`.

    A Feistel network over Z_a x Z_b with a*b >= size, a = ceil(sqrt(size)), iterated until the value lies below `size`
    (Black and Rogaway 2002, "Ciphers with arbitrary finite domains": generalized Feistel and cycle walking). As
    a*b - size < a, hardly any value walks. Integers only, so the same on every platform.

    Args:
        index: integers, each below its size.
        size: at least 1 and below 2**52; broadcast against `index`.
        key: 64-bit keys; broadcast against `index`.

    Returns:
        int64 in the shape of the broadcast, at least one-dimensional.
    """
    values, sizes, keys = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(item, np.uint64)) for item in (index, size, key))
    )
    unique_size = np.atleast_1d(np.asarray(size, np.uint64))
    rows = np.floor(np.sqrt(unique_size.astype(np.float64))).astype(np.uint64)
    rows += rows * rows < unique_size
    columns = (unique_size + rows - np.uint64(1)) // rows
    rounds = [numbered(np.atleast_1d(np.asarray(key, np.uint64)), np.full(1, number)) for number in range(ROUNDS)]

    values = _feistel(values, rows, columns, rounds)
    outside = np.nonzero(values >= sizes)
    if outside[0].size:
        rows, columns = np.broadcast_to(rows, sizes.shape), np.broadcast_to(columns, sizes.shape)
        rounds = [np.broadcast_to(item, keys.shape) for item in rounds]
    while outside[0].size:
        walked = _feistel(values[outside], rows[outside], columns[outside], [item[outside] for item in rounds])
        values[outside] = walked
        still = walked >= sizes[outside]
        outside = tuple(axis[still] for axis in outside)
    return values.astype(np.int64)


def _feistel(
    values: NDArray[np.uint64], rows: NDArray[np.uint64], columns: NDArray[np.uint64], rounds: list[NDArray[np.uint64]]
) -> NDArray[np.uint64]:
    right, left = np.divmod(values, rows)
    one = np.uint64(1)  # a halved word plus a coordinate can't overflow
    for number, round_key in enumerate(rounds):
        if number % 2 == 0:
            left = (left + (mix(right ^ round_key) >> one)) % rows
        else:
            right = (right + (mix(left ^ round_key) >> one)) % columns
    return right * rows + left
