"""Batches as arrays: what a packing and the tokens make of a step, whatever came before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from compiler.program.batch import Batch
from runtime.data.packed import Packing
from runtime.data.store import TokenStore, ranges


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


def batch(packing: Packing, stores: Sequence[TokenStore], step: int) -> Batch:
    """The batch of update `step`, counted from 0, in NumPy's arrays; a short one is filled up with rows of zeros."""
    pieces, rows = _pieces(packing, step)
    shape = int(packing.rows), int(packing.widths[step])
    lengths = packing.lengths[pieces]
    ordinals = np.arange(pieces.start, pieces.stop) - packing.bins[step * shape[0] + rows] + 1
    starts = rows * shape[1] + packing.columns[pieces]

    tokens, segments, positions = (np.zeros(shape, np.int32) for _ in range(3))
    trained = np.zeros(shape, np.bool_)
    places = ranges(starts, lengths)
    segments.flat[places] = np.repeat(ordinals, lengths)
    positions.flat[places] = ranges(np.zeros_like(starts), lengths)
    sources = packing.sources[pieces]
    for source in np.unique(sources).tolist():
        of = sources == source
        wanted = packing.numbers[pieces][of], packing.begins[pieces][of], lengths[of]
        there = ranges(starts[of], lengths[of])
        tokens.flat[there] = stores[source].read("tokens", *wanted)
        trained.flat[there] = stores[source].read("trained", *wanted)
    trained.flat[starts] = False  # the first token of a piece has no predecessor
    return Batch(*cast(Any, (tokens, segments, positions, trained)))


def rows_of(packing: Packing, stores: Sequence[TokenStore], step: int) -> list[Piece]:
    """Which rows the batch of update `step` is made of, row by row from left to right."""
    pieces, rows = _pieces(packing, step)
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
        hasher.update(np.array(made.tokens.shape, "<i8").tobytes())
        for array in (made.tokens, made.segments, made.positions):
            hasher.update(array.astype("<i4", copy=False).tobytes())
        hasher.update(made.trained.tobytes())
    return hasher.hexdigest()


def _pieces(packing: Packing, step: int) -> tuple[slice, NDArray[np.int64]]:
    """The pieces of a batch, and the token row in which each stands."""
    rows = int(packing.rows)
    edges = packing.bins[step * rows : (step + 1) * rows + 1]
    return slice(int(edges[0]), int(edges[-1])), np.repeat(np.arange(len(edges) - 1), np.diff(edges))
