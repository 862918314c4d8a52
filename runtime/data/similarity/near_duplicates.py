"""Finds clusters of rows that are the same, or nearly: by their text, by shared shingles, by embeddings."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.data.engine import Engine
from runtime.data.rows import Format, Rows
from runtime.data.similarity.clusters import Numbers, joined
from runtime.data.similarity.minhash import Banding, Sets, band_hashes, banding, buckets, shingle_hashes
from runtime.data.similarity.texts import PIECE, row_texts, whole_text
from runtime.data.similarity.words import Hashes

_COMPARED = 1024
"""Sets, or rows of an embedding, that are compared at a time."""

Piece = tuple[int, int]
"""First row and last, exclusive."""


def same_text(rows: Rows, format: Format, engine: Engine) -> Numbers:
    """The cluster of each row, int64[n]: the lowest number of a row with the same text, other columns aside.

    Texts are the same where 128 bits of their SHA-256 are.
    """
    parts = engine.map(partial(_digests, rows, format), rows.pieces(PIECE))
    digests = np.concatenate([np.empty((0, 2), np.uint64), *parts])
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable, so the lowest number comes first among equals
    ordered = digests[order]
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    clusters = np.empty(len(rows), np.int64)
    clusters[order] = order[is_first][np.cumsum(is_first) - 1]
    return clusters


def shared_shingles(rows: Rows, threshold: float, folder: Path, engine: Engine) -> Numbers:
    """The cluster of each row, int64[n]: its lowest row number.

    Two rows are joined where MinHash makes them candidates and the Jaccard similarity of their shingles is at least the
    threshold. Memory holds a few hashes a row; the shingles of candidates lie in a temporary file in `folder`.
    """
    found = banding(threshold)
    parts = engine.map(partial(_bands, rows, found), rows.pieces(PIECE))
    bands = np.concatenate([np.empty((found.bands, 0), np.uint64), *parts], axis=1)
    is_candidate = np.zeros(len(rows), np.bool_)
    for band in bands:
        for bucket in buckets(band):
            is_candidate[bucket] = True
    numbers = np.flatnonzero(is_candidate)
    clusters = np.arange(len(rows))
    with tempfile.TemporaryFile(dir=folder) as file:
        candidates = rows.select(numbers)
        counts = [np.zeros(1, np.int64)]
        for values, lengths in engine.map(partial(_sets, candidates), candidates.pieces(PIECE)):
            file.write(values)
            counts.append(lengths)
        file.flush()
        offsets = np.cumsum(np.concatenate(counts))
        sets = Hashes(np.memmap(file, np.uint64, "r") if offsets[-1] else np.empty(0, np.uint64), offsets)
        for band in bands:
            ones, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
            for bucket in buckets(band[numbers]):
                for one, more in _alike(sets, bucket, clusters[numbers[bucket]], threshold):
                    ones.append(np.full(len(more), one))
                    others.append(more)
            clusters = joined(clusters, numbers[np.concatenate(ones)], numbers[np.concatenate(others)])
    return clusters


def near_meaning(embedding: NDArray[np.float32], threshold: float) -> Numbers:
    """The cluster of each row, int64[n]: rows whose cosine similarity is at least the threshold are joined.

    Every row is compared with every other, a block at a time: exact, and quadratic in their number.

    Args:
        embedding: [n, d], of length 1 each.
    """
    clusters = np.arange(len(embedding))
    for start in range(0, len(embedding), _COMPARED):
        block = embedding[start : start + _COMPARED]
        for second in range(start, len(embedding), _COMPARED):
            ones, others = np.nonzero(block @ embedding[second : second + _COMPARED].T >= threshold)
            ones, others = ones + start, others + second
            is_news = clusters[ones] != clusters[others]
            if is_news.any():
                clusters = joined(clusters, ones[is_news], others[is_news])
    return clusters


def _alike(sets: Hashes, bucket: Numbers, clusters: Numbers, threshold: float) -> Iterator[tuple[int, Numbers]]:
    """Pairs of a bucket that are similar enough, but for those that are in one cluster anyway.

    Args:
        clusters: int64[n], of each row in the bucket.
    """
    clusters = clusters.copy()
    for start in range(0, len(bucket), _COMPARED):
        if (clusters == clusters[0]).all():
            return
        later = bucket[start : start + _COMPARED]
        there = [_set(sets, number) for number in later.tolist()]
        compared = Sets(Hashes(np.concatenate(there), np.cumsum([0, *map(len, there)])))
        whose = clusters[start : start + _COMPARED]  # a view: it sees what is joined
        for place, number in enumerate(bucket[: start + len(later)].tolist()):
            is_other = whose != clusters[place]
            is_other[: max(place + 1 - start, 0)] = False
            if is_other.any():
                alike = np.flatnonzero(is_other & (compared.similarities(_set(sets, number)) >= threshold))
                if len(alike):
                    clusters[np.isin(clusters, whose[alike])] = clusters[place]
                    yield number, later[alike]


def _set(sets: Hashes, number: int) -> NDArray[np.uint64]:
    return sets.values[sets.offsets[number] : sets.offsets[number + 1]]


def _digests(rows: Rows, format: Format, piece: Piece) -> NDArray[np.uint64]:
    """uint64[n, 2], the beginning of the SHA-256 of each row's text."""
    texts = (whole_text(record, format) for record in rows.records(*piece))
    parts = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16] for text in texts]
    return np.frombuffer(b"".join(parts), np.uint64).reshape(-1, 2)


def _bands(rows: Rows, banding: Banding, piece: Piece) -> NDArray[np.uint64]:
    """uint64[bands, n]. A row without words has its number in each, so it is in no bucket but by a collision."""
    first, last = piece
    bands = np.tile(np.arange(first, last, dtype=np.uint64), (banding.bands, 1))
    for numbers, texts in row_texts(rows, first, last):
        shingles = shingle_hashes(texts)
        has_words = shingles.counts > 0
        if has_words.any():
            filled = Hashes(shingles.values, np.append(shingles.offsets[:-1][has_words], len(shingles.values)))
            bands[:, np.array(numbers)[has_words] - first] = band_hashes(filled, banding).T
    return bands


def _sets(rows: Rows, piece: Piece) -> tuple[bytes, NDArray[np.int64]]:
    """The shingles of each row in rising order, each once, as bytes of uint64, and how many each has."""
    sets: list[NDArray[np.uint64]] = []
    for _, texts in row_texts(rows, *piece):
        shingles = shingle_hashes(texts)
        sets.extend(map(np.unique, np.split(shingles.values, shingles.offsets[1:-1])))
    return b"".join(each.tobytes() for each in sets), np.array(list(map(len, sets)), np.int64)
