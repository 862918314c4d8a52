"""The order of a run: which row of which source stands at each position, a pure function of seed and position.

A phase is cut into blocks. Each block gets its part of every source by cumulative rounding, so the totals are exact and
the rarest source appears; a keyed permutation mixes the block. Which rows a source gives are the next of its stream.
Blocks are a small table, everything else is computed: any slice costs its own length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsl.values import Quantity
from runtime.data.amounts import Phase, Underfill, solve
from runtime.data.keys import numbered, subkey
from runtime.data.permutation import permute
from runtime.data.streams import Source, stream_rows, streams

BLOCK = 1024
"""Examples of a block, about."""


@dataclass(frozen=True)
class Order:
    """Examples 0 to `len(order)` of a run.

    Attributes:
        key: uint64[], names the random stream.
        source_keys: uint64[sources], those of the sources' streams.
        sizes: int64[sources], rows of each source.
        taken: int64[blocks + 1, sources], places of each source's stream that are used before each block.
        phases: int64[phases + 1], the block at which each phase begins.
    """

    key: NDArray[np.uint64]
    source_keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    taken: NDArray[np.int64]
    phases: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def phase_starts(self) -> NDArray[np.int64]:
        """int64[phases + 1], the position at which each phase begins, and the length."""
        return self._starts[self.phases]

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Index of the source and row number at the positions `start` to `stop` (exclusive)."""
        positions = np.arange(start, stop)
        block = np.searchsorted(self._starts, positions, side="right") - 1
        first = self._starts[block]
        mixed = first + permute(positions - first, self._starts[block + 1] - first, numbered(self._block_key, block))
        low, high = (int(block[0]), int(block[-1]) + 1) if len(block) else (0, 0)
        ends = self._starts[low] + np.cumsum(np.diff(self.taken[low : high + 1], axis=0))
        run = np.searchsorted(ends, mixed, side="right")  # runs: of each block, the places of each source in turn
        source = run % len(self.sizes)
        begins = np.concatenate([self._starts[low : low + 1], ends])[run]
        places = self.taken[block, source] + mixed - begins
        return source.astype(np.int32), stream_rows(places, self.sizes[source], self.source_keys[source])

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return self.taken.sum(axis=1)

    @cached_property
    def _block_key(self) -> NDArray[np.uint64]:
        return np.full(1, subkey(int(self.key), "blocks"), np.uint64)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all that the order follows from."""
        hasher = hashlib.sha256()
        for field in fields(self):
            array = getattr(self, field.name)
            hasher.update(
                np.array(array.shape, "<i8").tobytes() + array.astype(array.dtype.newbyteorder("<")).tobytes()
            )
        return hasher.hexdigest()

    def save(self, path: Path) -> None:
        np.savez(path, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_order(path: Path) -> Order:
    """What `save` wrote."""
    with np.load(path) as arrays:
        return Order(**{field.name: arrays[field.name] for field in fields(Order)})


def make_order(
    sources: Sequence[Source],
    phases: Sequence[Phase],
    budget: Quantity | None,
    length: Quantity | None,
    max_epochs: Fraction | None,
    underfill: Underfill,
    key: int,
) -> Order:
    """The order of a stage; arguments and errors are those of `solve`, `key` names the random stream.

    A bare source is one phase of one part, all of it.
    """
    each = streams(sources, key)
    counts = solve(each, phases, budget, length, max_epochs, underfill)
    blocks = np.maximum(-(-counts.sum(axis=1) // BLOCK), 1)
    before = np.concatenate([np.zeros((1, len(sources)), np.int64), np.cumsum(counts, axis=0)])
    tables = [
        before[number] + _cumulative(counts[number], int(blocks[number]), subkey(key, "spread", number))[:-1]
        for number in range(len(counts))
    ]
    return Order(
        key=np.array(key, np.uint64),
        source_keys=np.array([stream.key for stream in each], np.uint64),
        sizes=np.array([len(source) for source in sources], np.int64),
        taken=np.concatenate([*tables, before[-1:]]),
        phases=np.concatenate([[0], np.cumsum(blocks)]),
    )


def _cumulative(counts: NDArray[np.int64], blocks: int, key: int) -> NDArray[np.int64]:
    """int64[blocks + 1, sources]: a source's count spread evenly over blocks, the last row being `counts`.

    Each source begins at a point of its own within a block, or rare ones would all land in the middle one.
    """
    offsets = np.array([subkey(key, number) % blocks for number in range(len(counts))], np.int64)
    return (np.arange(blocks + 1)[:, None] * counts + offsets) // blocks


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
    counts = order.taken[-1].tolist()
    of = list(zip(streams(sources, int(order.key)), counts, strict=True))
    tokens = [stream.amount(0, count, "tokens") for stream, count in of]
    return [
        Use(
            available_examples=len(stream.source),
            available_tokens=int(stream.source.tokens.sum()),
            used_examples=count,
            used_tokens=used,
            used_trained_tokens=stream.amount(0, count, "trained tokens"),
            epochs=Fraction(count, len(stream.source)),
            share=Fraction(used, sum(tokens)),
        )
        for (stream, count), used in zip(of, tokens, strict=True)
    ]
