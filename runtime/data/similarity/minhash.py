"""MinHash with locality-sensitive hashing: which texts may be near duplicates, without comparing each with each.

A text is the set of its shingles, runs of SHINGLE words. The least value of a random hash function over a set is the
same for two sets with a probability of their Jaccard similarity (Broder, "On the resemblance and containment of
documents", 1997). Of FUNCTIONS such values, `rows` at a time make a band; texts that agree in a whole band are
candidates. Two texts with similarity s agree in at least one of b bands of r values with probability 1 - (1 - s^r)^b
(Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.data.keys import key, mix, numbered
from runtime.data.similarity.words import Hashes, ngram_hashes, word_hashes

SHINGLE = 5
"""Words of a shingle."""
FUNCTIONS = 128
RECALL = 0.98
"""The probability that two texts whose similarity is just the threshold become candidates, at least."""


@dataclass(frozen=True)
class Banding:
    """How the values of a signature are put together."""

    bands: int
    rows: int

    def chance(self, similarity: float) -> float:
        """The probability that two texts of a similarity agree in a whole band."""
        return 1 - (1 - similarity**self.rows) ** self.bands


def banding(threshold: float) -> Banding:
    """The longest bands, so the fewest false candidates, with which RECALL is reached at the threshold.

    At 0.8 these are 18 bands of 7: of the pairs with a similarity of 0.8, 98.6% are candidates; at 0.7, 79%; at 0.6,
    40%; at 0.4, 3%. For a threshold under 0.03 no banding reaches RECALL, and bands of one value are used.
    """
    for rows in range(FUNCTIONS, 1, -1):
        found = Banding(FUNCTIONS // rows, rows)
        if found.chance(threshold) >= RECALL:
            return found
    return Banding(FUNCTIONS, 1)


def shingle_hashes(texts: Sequence[str]) -> Hashes:
    """The hashes of each text's shingles, in sequence. A text with fewer words than a shingle is one, whole.

    A text without any word has none, so it's like no other.
    """
    return ngram_hashes(word_hashes(texts), SHINGLE, short=True)


def band_hashes(shingles: Hashes, banding: Banding) -> NDArray[np.uint64]:
    """uint64[n, bands]: two texts agree in a band where their hashes are equal. Every text needs a shingle."""
    offsets = shingles.offsets[:-1]
    values = (shingles.values >> np.uint64(32)).astype(np.uint32)
    scratch = np.empty_like(values)
    bands = np.zeros((banding.bands, len(offsets)), np.uint64)
    for number, (flips, factor) in enumerate(zip(_FLIPS, _FACTORS, strict=True)):
        band = number // banding.rows
        if band == banding.bands:
            break
        np.bitwise_xor(values, flips, out=scratch)
        np.multiply(scratch, factor, out=scratch)
        bands[band] = mix(bands[band] ^ np.minimum.reduceat(scratch, offsets).astype(np.uint64) + _STEP)
    return bands.T


def buckets(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """For a band, uint64[n]: the numbers, rising, of each two or more texts that agree in it."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    sizes = np.diff(starts)
    for start, size in zip(starts[:-1][sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield order[start : start + size]


class Sets:
    """Sets of shingles that others are compared with, one after the other.

    Args:
        hashes: of each set the shingles, each once; no set is empty.
    """

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._known, self._codes = np.unique(hashes.values, return_inverse=True)

    def similarities(self, other: NDArray[np.uint64]) -> NDArray[np.float64]:
        """The exact Jaccard similarity of each set with another, uint64[m], each shingle once; float64[n]."""
        places = np.minimum(np.searchsorted(self._known, other), len(self._known) - 1)
        is_shared = np.zeros(len(self._known), np.uint8)
        is_shared[places[self._known[places] == other]] = 1
        common = np.add.reduceat(is_shared[self._codes], self._hashes.offsets[:-1], dtype=np.int64)
        return common / (len(other) + self._hashes.counts - common)


_KEYS = numbered(np.full(1, key(0, "minhash", "", 0), np.uint64), np.arange(2 * FUNCTIONS))
_FLIPS = (_KEYS[:FUNCTIONS] >> np.uint64(32)).astype(np.uint32)
_FACTORS = (_KEYS[FUNCTIONS:] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
"""Hash function k of a shingle x is (x xor _FLIPS[k]) * _FACTORS[k] modulo 2**32, where x is a good hash already."""
_STEP = np.uint64(0x9E3779B97F4A7C15)
