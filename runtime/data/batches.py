"""Batches as arrays: what a packing and the tokens make of a step, whatever came before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from compiler.program.batch import Batch
from runtime.data.arrays import ranges
from runtime.data.packed import Packing
from runtime.data.store import TokenStore


@dataclass(frozen=True)
class Piece:
    """Where a piece of a row stands in a batch, and which row it is of.

    Attributes:
        row, column: its first token's place in the batch.
        source: index of the source.
        number: of the row in its source; `identity` and `occurrence` name it anywhere.
        begin, length: which tokens of the row.
    """

    row: int
    column: int
    source: int
    number: int
    identity: str
    occurrence: int
    begin: int
    length: int


def batch(packing: Packing, stores: Sequence[TokenStore], step: int, rows: slice | None = None) -> Batch:
    """The batch of update `step`, counted from 0, in NumPy's arrays; a short one is filled up with rows of zeros.

    Args:
        rows: the token rows of the batch that are wanted, such as those of one host; None is all of them. Hosts that
            make their own rows hold together what one makes of all.
    """
    first, stop, _ = (rows or slice(None)).indices(int(packing.rows))
    shape = max(stop - first, 0), int(packing.widths[step])
    pieces, of_row = _pieces(packing, step, first, stop)
    lengths = packing.lengths[pieces].astype(np.int64)
    places = of_row * shape[1] + packing.columns[pieces]
    tokens, trained = np.zeros(shape, np.int32), np.zeros(shape, np.bool_)
    sources, numbers, begins = packing.sources[pieces], packing.numbers[pieces], packing.begins[pieces]
    by_source = np.argsort(sources, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(sources[by_source])) + 1).tolist(), len(sources)]
    for of in (by_source[begin:end] for begin, end in pairwise(edges) if begin < end):
        store = stores[int(sources[of[0]])]
        which = numbers[of], begins[of], lengths[of]
        store.copy("tokens", *which, tokens.reshape(-1), places[of])
        store.copy("trained", *which, trained.reshape(-1), places[of])
    trained.flat[places] = False  # the first token of a piece has no predecessor
    segments, positions = _segments(shape, of_row, lengths)
    return Batch(*cast(Any, (tokens, segments, positions, trained)))


def by_segment(
    packing: Packing, values: NDArray[np.float32], step: int, rows: slice | None = None
) -> NDArray[np.float32]:
    """A value of each piece, float32[pieces], as it belongs to the segments of a batch: float32[token rows, segments].

    There are as many segments as any token row of the packing has, and 0 for those that a row doesn't have. For `rows`
    see `batch`.
    """
    first, stop, _ = (rows or slice(None)).indices(int(packing.rows))
    pieces, of_row = _pieces(packing, step, first, stop)
    found = np.zeros((max(stop - first, 0), int(np.diff(packing.bins).max(initial=0))), np.float32)
    found[of_row, _ordinals(of_row, len(found)) - 1] = values[pieces]
    return found


def rows_of(packing: Packing, stores: Sequence[TokenStore], step: int) -> list[Piece]:
    """Which rows the batch of update `step` is made of, row by row from left to right."""
    pieces, rows = _pieces(packing, step, 0, int(packing.rows))
    found: list[Piece] = []
    for row, piece in zip(rows.tolist(), range(pieces.start, pieces.stop), strict=True):
        source, number = int(packing.sources[piece]), int(packing.numbers[piece])
        found.append(
            Piece(
                row=row,
                column=int(packing.columns[piece]),
                source=source,
                number=number,
                identity=stores[source].identity[number].tobytes().hex(),
                occurrence=int(stores[source].occurrence[number]),
                begin=int(packing.begins[piece]),
                length=int(packing.lengths[piece]),
            )
        )
    return found


def digest(packing: Packing, stores: Sequence[TokenStore]) -> str:
    """SHA-256, in hexadecimal, of all batches' shapes, tokens, segments, positions and masks, in order."""
    hasher = hashlib.sha256()
    for step in range(packing.updates):
        made = batch(packing, stores, step)
        hasher.update(np.array(made.tokens.shape, "<i8").data)
        for array, kind in ((made.tokens, "<i4"), (made.segments, "<i4"), (made.positions, "<i4"), (made.trained, "?")):
            hasher.update(np.ascontiguousarray(array, kind).data)
    return hasher.hexdigest()


def _pieces(packing: Packing, step: int, first: int, stop: int) -> tuple[slice, NDArray[np.int64]]:
    """The pieces of the token rows `first` to `stop` of a batch, and in which of these rows each stands."""
    start = step * int(packing.rows)
    edges = packing.bins[start + first : start + stop + 1]
    if not len(edges):  # rows that a short batch lacks
        return slice(0, 0), np.empty(0, np.int64)
    return slice(int(edges[0]), int(edges[-1])), np.repeat(np.arange(len(edges) - 1), np.diff(edges))


def _segments(
    shape: tuple[int, int], rows: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Segments and positions, int32, of pieces that stand one behind the other in their rows, from the left."""
    ends = np.cumsum(np.bincount(rows, minlength=shape[0]))
    ordinals = _ordinals(rows, shape[0])
    spans, numbers = (np.zeros(len(rows) + shape[0], np.int64) for _ in range(2))  # a row's pieces, then its padding
    of_piece = np.arange(len(rows)) + rows
    spans[of_piece], numbers[of_piece] = lengths, ordinals
    spans[ends + np.arange(shape[0])] = shape[1] - np.bincount(rows, lengths, shape[0]).astype(np.int64)
    segments = np.repeat(numbers.astype(np.int32), spans)
    positions = np.arange(len(segments), dtype=np.int32)
    positions -= np.repeat((np.cumsum(spans) - spans).astype(np.int32), spans)
    positions *= segments > 0
    return segments.reshape(shape), positions.reshape(shape)


def _ordinals(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Of pieces that stand in `count` rows, sorted by row: which of its row each is, from 1."""
    counts = np.bincount(rows, minlength=count)
    return np.arange(1, len(rows) + 1) - (np.cumsum(counts) - counts)[rows]


@dataclass(frozen=True)
class Held:
    """What a batch holds, padding left out. `pairs` are those of a token with itself or an earlier one of its piece."""

    examples: int
    tokens: int
    trained_tokens: int
    pairs: int


def held_by(packing: Packing, step: int) -> Held:
    """What the whole batch of update `step`, counted from 0, holds."""
    pieces, _ = _pieces(packing, step, 0, int(packing.rows))
    lengths = packing.lengths[pieces].astype(np.int64)
    return Held(
        examples=int((packing.begins[pieces] == 0).sum()),
        tokens=int(lengths.sum()),
        trained_tokens=int(packing.trained[pieces].sum(dtype=np.int64)),
        pairs=int((lengths * (lengths + 1) // 2).sum()),
    )


def sources_of(packing: Packing, step: int, rows: slice | None = None) -> NDArray[np.int32]:
    """The index of the source of each token of a batch, int32 `[token rows, length]`, 0 where there is none.

    For `rows` see `batch`.
    """
    first, stop, _ = (rows or slice(None)).indices(int(packing.rows))
    found = np.zeros((max(stop - first, 0), int(packing.widths[step])), np.int32)
    pieces, of_row = _pieces(packing, step, first, stop)
    lengths = packing.lengths[pieces].astype(np.int64)
    places = ranges(of_row * found.shape[1] + packing.columns[pieces], lengths)
    found.reshape(-1)[places] = np.repeat(packing.sources[pieces], lengths)
    return found
