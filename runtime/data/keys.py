"""Keys of random streams: 64-bit numbers that follow from what they are for, never from a place or a name of an arm."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key(seed: int, purpose: str, name: str, use: int) -> int:
    """The key of one random stream, below 2**64.

    Args:
        seed: the study's seed, or 0 where the purpose doesn't vary with it.
        purpose: what is drawn: `order`, `sampling`, `initialisation`.
        name: the declaration whose data is used.
        use: how often that data was used before in this flow.
    """
    return _digest([seed, purpose, name, use])


def subkey(parent: int, *labels: str | int) -> int:
    """A key within the stream of `parent`, below 2**64."""
    return _digest([parent, *labels])


def _digest(parts: list[str | int]) -> int:
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014), elementwise: a bijection of 64-bit words."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def numbered(keys: NDArray[np.uint64], numbers: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Keys within the streams of `keys`, one for each of `numbers`; the two are broadcast, at least one-dimensional."""
    return mix(keys + mix((numbers.astype(np.uint64) + np.uint64(1)) * _GOLDEN))


def row_hashes(identity: NDArray[np.uint8], occurrence: NDArray[np.integer], key: int) -> NDArray[np.uint64]:
    """A keyed 64-bit hash of each row, the same wherever the row stands.

    Args:
        identity: [n, 32], SHA-256 digests.
        occurrence: [n], which of several equal rows it is.
    """
    words = np.ascontiguousarray(identity).view("<u8")[:, 0].astype(np.uint64)
    return numbered(mix(words ^ np.full(1, key, np.uint64)), occurrence)
