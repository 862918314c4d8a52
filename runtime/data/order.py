"""The order of a run: which row of which source stands at each position, a pure function of seed and position.

A phase is cut into blocks. Each block gets its part of every source by cumulative rounding, so the totals are exact and
the rarest source appears; a keyed permutation mixes the block. Which rows a source gives are the next of its stream.
Kept are one number a block and two a source and phase, everything else is computed: any slice costs its own length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsl.values import Quantity
from runtime.data.amounts import solve
from runtime.data.keys import numbered, subkey
from runtime.data.mixed import Mixed
from runtime.data.permutation import permute
from runtime.data.saved_arrays import load_arrays, save_arrays
from runtime.data.streams import Source, stream_rows, streams

BLOCK = 1024
"""Examples of a block, about."""
_TABLE = 1 << 20
"""Numbers of a table of blocks and sources that is computed at once, about."""


@dataclass(frozen=True)
class Order:
    """Examples 0 to `len(order)` of a run.

    Attributes:
        key: uint64[], names the random stream.
        source_keys: uint64[sources], those of the sources' streams.
        sizes: int64[sources], rows of each source.
        counts: int64[phases, sources], rows of each source in each phase.
        offsets: int64[phases, sources], where in a block each source begins, in shares of a row: rare ones would all
            land in the middle block else.
        phases: int64[phases + 1], the block at which each phase begins.
        starts: int64[blocks + 1], the position at which each block begins, and the length.
    """

    key: NDArray[np.uint64]
    source_keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    phases: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def phase_starts(self) -> NDArray[np.int64]:
        """int64[phases + 1], the position at which each phase begins, and the length."""
        return self.starts[self.phases]

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """int64[sources], rows of each source in the whole run; a row used twice counts twice."""
        return self.counts.sum(axis=0)

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Index of the source and row number at the positions `start` to `stop` (exclusive)."""
        positions = np.arange(start, stop)
        block = np.searchsorted(self.starts, positions, side="right") - 1
        first = self.starts[block]
        mixed = first + permute(positions - first, self.starts[block + 1] - first, numbered(self._block_key, block))
        low, high = (int(block[0]), int(block[-1]) + 1) if len(block) else (0, 0)
        taken, ends = self._taken(low, high)
        run = np.searchsorted(ends[1:], mixed, side="right")  # runs: of each block, the places of each source in turn
        source = run % len(self.sizes)
        places = taken.reshape(-1)[run] + mixed - ends[run]
        return source.astype(np.int32), stream_rows(places, self.sizes[source], self.source_keys[source])

    def _taken(self, low: int, high: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of blocks `low` to `high` (exclusive): places of each source's stream that are used before each block,
        int64[blocks, sources], and the positions at which the runs of these sources begin, and the end.
        """
        before = np.concatenate([np.zeros((1, len(self.sizes)), np.int64), np.cumsum(self.counts, axis=0)])
        taken, shares = (np.zeros((high - low, len(self.sizes)), np.int64) for _ in range(2))
        for phase, (begin, end) in enumerate(pairwise(self.phases.tolist())):
            inside = np.arange(max(low, begin), min(high, end) + 1)
            if len(inside) > 1:
                spread = _cumulative(self.counts[phase], self.offsets[phase], inside - begin, end - begin)
                at = slice(inside[0] - low, inside[-1] - low)
                taken[at], shares[at] = before[phase] + spread[:-1], np.diff(spread, axis=0)
        return taken, self.starts[low] + np.concatenate([[0], np.cumsum(shares)])

    @cached_property
    def _block_key(self) -> NDArray[np.uint64]:
        return np.full(1, subkey(int(self.key), "blocks"), np.uint64)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all that the order follows from."""
        hasher = hashlib.sha256()
        for field in fields(self):
            array = getattr(self, field.name)
            hasher.update(np.array(array.shape, "<i8").data)
            hasher.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        return hasher.hexdigest()

    def save(self, folder: Path) -> None:
        save_arrays(self, folder)


def load_order(folder: Path) -> Order:
    """What `save` wrote. UserError where it is damaged."""
    return load_arrays(Order, folder)


def make_order(sources: Sequence[Source], mixed: Mixed, length: Quantity | None, key: int) -> Order:
    """The order of a stage. For `mixed` and `length`, and for errors, see `solve`; `key` names the random stream."""
    each = streams(sources, key)
    counts = solve(each, mixed, length)
    blocks = np.maximum(-(-counts.sum(axis=1) // BLOCK), 1)
    offsets = np.array(
        [
            [subkey(key, "spread", phase, stream.source.content) % size for stream in each]
            for phase, size in enumerate(blocks.tolist())
        ],
        np.int64,
    )
    starts = [np.zeros(1, np.int64)]
    for of_phase, offset, size in zip(counts, offsets, blocks.tolist(), strict=True):
        starts.append(starts[-1][-1] + _block_ends(of_phase, offset, size))
    return Order(
        key=np.array(key, np.uint64),
        source_keys=np.array([stream.key for stream in each], np.uint64),
        sizes=np.array([len(source) for source in sources], np.int64),
        counts=counts,
        offsets=offsets,
        phases=np.concatenate([[0], np.cumsum(blocks)]),
        starts=np.concatenate(starts),
    )


def _block_ends(counts: NDArray[np.int64], offsets: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    """int64[blocks], where in its phase each block ends."""
    at_once = max(_TABLE // len(counts), 1)
    numbers = (np.arange(first, min(first + at_once, blocks)) for first in range(0, blocks, at_once))
    return np.concatenate([_cumulative(counts, offsets, each + 1, blocks).sum(axis=1) for each in numbers])


def _cumulative(
    counts: NDArray[np.int64], offsets: NDArray[np.int64], numbers: NDArray[np.int64], blocks: int
) -> NDArray[np.int64]:
    """int64[numbers, sources], rows of each source before blocks of these numbers: its count spread evenly over all."""
    return (numbers[:, None] * counts + offsets) // blocks


@dataclass(frozen=True)
class Use:
    """What a run takes of one source: all its rows at once are `available`, `share` is of the run's tokens."""

    available_examples: int
    available_tokens: int
    used_examples: int
    used_tokens: int
    used_trained_tokens: int
    epochs: Fraction
    share: Fraction


def uses(order: Order, sources: Sequence[Source]) -> list[Use]:
    """What the whole run takes of each source."""
    counts = order.used.tolist()
    each = streams(sources, int(order.key))
    held = [stream.held(count) for stream, count in zip(each, counts, strict=True)]
    everything = sum(tokens for tokens, _ in held)
    return [
        Use(
            available_examples=len(source),
            available_tokens=source.total("tokens"),
            used_examples=count,
            used_tokens=tokens,
            used_trained_tokens=trained,
            epochs=Fraction(count, len(source)),
            share=Fraction(tokens, everything),
        )
        for source, count, (tokens, trained) in zip(sources, counts, held, strict=True)
    ]
