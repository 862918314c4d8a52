"""Packs an order into batches.

`best_fit` splits rows at the sequence length and fills token rows with several pieces; `none` gives every example a
token row of its own. Bins are filled within windows of the order that never cross a phase, so what is in one window
moves nothing in another.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.data.keys import numbered, subkey
from runtime.data.order import Order
from runtime.data.packed import Packing
from runtime.data.store import TokenStore, ranges
from runtime.errors import UserError

WINDOW = 1024
"""Examples that are packed together."""
_SPAN = 64 * WINDOW
"""Examples whose places in the order are computed at once."""

Method = Literal["none", "best_fit"]


def pack(
    order: Order,
    stores: Sequence[TokenStore],
    method: Method,
    sequence: int,
    rows: int,
    place: Callable[[int, int], str],
    updates: int | None = None,
) -> Packing:
    """Packs the whole order, or what fills the first `updates` batches.

    Args:
        stores: the sources' tokens, in the order of their indices.
        sequence: tokens of a token row at most.
        rows: token rows of a batch.
        place: where a row comes from, given the index of its source and its number there.

    Raises:
        UserError: with `none`, a row is longer than `sequence`.
    """
    limit = None if updates is None else updates * rows
    firsts = np.cumsum([0, *(len(store) for store in stores)])
    lengths = np.concatenate([store.lengths for store in stores])
    trained = np.concatenate([store.trained_lengths for store in stores])
    tables: list[_Pieces] = []
    filled = 0
    for start, stop in _spans(order.phase_starts.tolist()):
        if limit is not None and filled >= limit:
            break
        sources, numbers = order.rows(start, stop)
        flat = firsts[sources] + numbers
        if method == "none":
            _refuse_long(sources, numbers, lengths[flat], sequence, place)
        pieces = _split(sources, numbers, lengths[flat], sequence)
        pieces.trained[:] = trained[flat[pieces.examples]]
        _count_trained_of_split(pieces, lengths[flat], stores)
        if method == "best_fit":
            pieces = _fill_windows(pieces, sequence, subkey(int(order.key), "bins", start))
        tables.append(pieces)
        filled += pieces.bin_count
    return _packing(tables, method, sequence, rows, limit)


@dataclass
class _Pieces:
    """Pieces of a span of the order, in the order of their bins. `examples` are indices into the span."""

    examples: NDArray[np.int64]
    sources: NDArray[np.int32]
    numbers: NDArray[np.int64]
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]
    trained: NDArray[np.int64]
    bins: NDArray[np.int64]
    bin_count: int


def _spans(phase_starts: list[int]) -> list[tuple[int, int]]:
    return [
        (start, min(start + _SPAN, stop))
        for first, stop in pairwise(phase_starts)
        for start in range(first, stop, _SPAN)
    ]


def _split(
    sources: NDArray[np.int32], numbers: NDArray[np.int64], lengths: NDArray[np.int64], sequence: int
) -> _Pieces:
    """Every token once: whole sequences, then what is left. Each piece in a bin of its own to begin with."""
    counts = -(-lengths // sequence)
    examples = np.repeat(np.arange(len(lengths)), counts)
    begins = ranges(np.zeros_like(counts), counts) * sequence
    return _Pieces(
        examples=examples,
        sources=sources[examples],
        numbers=numbers[examples],
        begins=begins,
        lengths=np.minimum(lengths[examples] - begins, sequence),
        trained=np.zeros(len(examples), np.int64),
        bins=np.arange(len(examples)),
        bin_count=len(examples),
    )


def _count_trained_of_split(pieces: _Pieces, lengths: NDArray[np.int64], stores: Sequence[TokenStore]) -> None:
    """Reads the masks of rows that were split: which token is trained depends on where a piece begins."""
    split = pieces.lengths < lengths[pieces.examples]
    for source in np.unique(pieces.sources[split]).tolist():
        which = np.flatnonzero(split & (pieces.sources == source))
        sizes = pieces.lengths[which]
        mask = stores[source].read("trained", pieces.numbers[which], pieces.begins[which], sizes)
        firsts = np.cumsum(sizes) - sizes
        pieces.trained[which] = np.add.reduceat(mask.astype(np.int64), firsts) - mask[firsts]


def _fill_windows(pieces: _Pieces, sequence: int, key: int) -> _Pieces:
    """Best fit within each window; a window's bins are put in an order of their own, or full ones would come first."""
    edges = np.searchsorted(pieces.examples, np.arange(0, int(pieces.examples[-1]) + 1 + WINDOW, WINDOW))
    order: list[NDArray[np.int64]] = []
    bins: list[NDArray[np.int64]] = []
    count = 0
    for number, (first, stop) in enumerate(pairwise(edges.tolist())):
        largest_first = np.argsort(-pieces.lengths[first:stop], kind="stable")
        found, size = _best_fit(pieces.lengths[first:stop][largest_first].tolist(), sequence)
        keys = numbered(np.full(1, subkey(key, number), np.uint64), np.arange(size))
        ranks = np.empty(size, np.int64)
        ranks[np.argsort(keys, kind="stable")] = np.arange(size)
        ranked = ranks[found]
        by_bin = np.argsort(ranked, kind="stable")
        order.append(first + largest_first[by_bin])
        bins.append(count + ranked[by_bin])
        count += size
    by_bin = np.concatenate(order)
    return _Pieces(
        examples=pieces.examples[by_bin],
        sources=pieces.sources[by_bin],
        numbers=pieces.numbers[by_bin],
        begins=pieces.begins[by_bin],
        lengths=pieces.lengths[by_bin],
        trained=pieces.trained[by_bin],
        bins=np.concatenate(bins),
        bin_count=count,
    )


def _best_fit(lengths: list[int], room: int) -> tuple[NDArray[np.int64], int]:
    """The bin of each length, and how many bins: each goes where it leaves the least room (best-fit decreasing).

    `lengths` fall, none exceeds `room`. At most 11/9 of the fewest bins, and one (Johnson 1973).
    """
    bins: list[int] = []
    free: list[tuple[int, int]] = []  # room left and bin, rising
    count = 0
    for length in lengths:
        at = bisect_left(free, (length, 0))
        if at < len(free):
            left, bin = free.pop(at)
        else:
            left, bin = room, count
            count += 1
        bins.append(bin)
        if left > length:
            insort(free, (left - length, bin))
    return np.array(bins, np.int64), count


def _packing(tables: list[_Pieces], method: Method, sequence: int, rows: int, limit: int | None) -> Packing:
    counts = [table.bin_count for table in tables]
    bins = np.concatenate([table.bins + first for table, first in zip(tables, accumulate([0, *counts]), strict=False)])
    used = sum(counts) if limit is None else min(sum(counts), limit)
    edges = np.searchsorted(bins, np.arange(used + 1))
    stop = int(edges[-1])

    def joined(name: str) -> NDArray[np.int64]:
        return np.concatenate([getattr(table, name) for table in tables])[:stop]

    lengths = joined("lengths")
    before = np.cumsum(lengths) - lengths
    begins = joined("begins")
    return Packing(
        rows=np.array(rows),
        widths=_widths(np.diff(np.append(before, lengths.sum())[edges]), method, sequence, rows),
        bins=edges,
        sources=joined("sources").astype(np.int32),
        numbers=joined("numbers"),
        begins=begins.astype(np.int32),
        lengths=lengths.astype(np.int32),
        columns=(before - before[edges[:-1]][bins[:stop]]).astype(np.int32),
        trained=joined("trained").astype(np.int32),
        split=np.array(int((begins == sequence).sum())),
    )


def _widths(filled: NDArray[np.int64], method: Method, sequence: int, rows: int) -> NDArray[np.int64]:
    """Tokens of the rows of each batch: with `none` the least of four lengths, quarters of `sequence`, that holds all.

    Few lengths, as a program is compiled for each.
    """
    firsts = np.arange(0, len(filled), rows)
    if method == "best_fit":
        return np.full(len(firsts), sequence, np.int64)
    quarters = np.array([-(-sequence * quarter // 32) * 8 for quarter in (1, 2, 3, 4)], np.int64)
    return quarters[np.searchsorted(quarters, np.maximum.reduceat(filled, firsts))]


def _refuse_long(
    sources: NDArray[np.int32],
    numbers: NDArray[np.int64],
    lengths: NDArray[np.int64],
    sequence: int,
    place: Callable[[int, int], str],
) -> None:
    long = np.flatnonzero(lengths > sequence)
    if len(long):
        first = int(long[0])
        raise UserError(
            f"a row has {lengths[first]:,} tokens, more than a sequence of {sequence:,}; `packing: none` splits none",
            f"take long rows out with `filter(tokens in 1..{sequence})`, or raise `sequence`",
            place=place(int(sources[first]), int(numbers[first])),
        )
