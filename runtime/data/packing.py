"""Packs an order into batches.

`best_fit` and `first_fit` fill token rows with several rows or pieces of them; `none` gives every example a token row
of its own. Bins are filled within windows of the order that never cross a phase, so what is in one window moves
nothing in another. A pair is two pieces of one token row, next to each other, and token rows of pairs are twice as
wide as a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.data.arrays import in_turns, ranges
from runtime.data.fit import best_fit, first_fit
from runtime.data.keys import numbered, subkey
from runtime.data.order import Order
from runtime.data.packed import Packing
from runtime.data.store import TokenStore
from runtime.errors import UserError

WINDOW = 4096
"""Examples that are packed together: enough that best fit fills chats of half a sequence to 98%."""
_SPAN = 16 * WINDOW
"""Examples whose places in the order are computed at once."""
_MASK_TOKENS = 1 << 24
"""Tokens whose mask is read at once, about."""

Method = Literal["none", "first_fit", "best_fit"]
Long = Literal["split", "cut"]


def pack(
    order: Order,
    stores: Sequence[TokenStore],
    method: Method,
    sequence: int,
    rows: int,
    place: Callable[[int, int], str],
    updates: int | None = None,
    long: Long = "split",
    whole: Collection[int] = (),
    reserved: int = 0,
) -> Packing:
    """Packs the whole order, or what fills the first `updates` batches.

    With `first_fit` token rows stand in the order of their first example, and examples in a token row in the order of
    the run; `best_fit` fills better, and draws an order for the token rows of a window.

    Args:
        stores: the sources' tokens, in the order of their indices.
        sequence: tokens of a token row at most; of pairs, tokens of either side.
        rows: token rows of a batch.
        place: where a row comes from, given the index of its source and its number there.
        long: what becomes of an example longer than `sequence`: it is split, every token once, or cut, and its first
            `sequence` tokens are kept.
        whole: indices of sources whose rows are never split or cut: chats.
        reserved: tokens behind a prompt that stay free for its answer; `sequence` is what they leave.

    Raises:
        UserError: a row of these, or with `none`, which splits nothing, of any, is longer than `sequence`; or either
            side of a pair is.
    """
    pairs = any(store.seconds.any() for store in stores)
    width = 2 * sequence if pairs else sequence
    limit = None if updates is None else updates * rows
    lengths = np.concatenate([store.lengths for store in stores])
    trained = np.concatenate([store.trained_lengths for store in stores])
    longest = np.concatenate([store.longest for store in stores])
    seconds = np.concatenate([store.seconds for store in stores])
    firsts = np.cumsum([0, *(len(store) for store in stores)])
    tables: list[_Table] = []
    filled = 0
    for start, stop in _spans(order.phase_starts.tolist()):
        if limit is not None and filled >= limit:
            break
        sources, numbers = order.rows(start, stop)
        flat = firsts[sources] + numbers
        kept_whole = range(len(stores)) if method == "none" and long == "split" else whole
        refused = np.isin(sources, list(kept_whole)) | pairs
        _refuse_long(sources[refused], numbers[refused], longest[flat][refused], sequence, place, pairs, reserved)
        pieces = _pieces(sources, numbers, lengths[flat], width, long)
        bins, count = _bins(pieces, method, width, subkey(int(order.key), "bins", start))
        if pairs:
            pieces, bins = _sides(pieces, seconds[flat]), np.repeat(bins, 2)
        pieces.trained[:] = trained[flat[pieces.examples]]
        _count_trained_of_parts(pieces, lengths[flat], stores)
        tables.append(_table(pieces, bins, count, lengths[flat]))
        filled += count
    return _packing(tables, method, width, rows, limit)


@dataclass
class _Pieces:
    """Pieces of a span of the order, in its order. `examples` are indices into the span; `sides` says that of each
    example there are two, whole."""

    examples: NDArray[np.int64]
    sources: NDArray[np.int32]
    numbers: NDArray[np.int64]
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]
    trained: NDArray[np.int64]
    sides: bool = False


@dataclass
class _Table:
    """Pieces of a span, bin by bin. `long` marks the first piece of each example that was split or cut.

    `sizes` and `tokens` are of the bins: how many pieces, and how many tokens.
    """

    sources: NDArray[np.int32]
    numbers: NDArray[np.int64]
    begins: NDArray[np.int32]
    lengths: NDArray[np.int32]
    columns: NDArray[np.int32]
    trained: NDArray[np.int32]
    long: NDArray[np.bool_]
    left_out: NDArray[np.int32]
    sizes: NDArray[np.int64]
    tokens: NDArray[np.int64]


def _spans(phase_starts: list[int]) -> list[tuple[int, int]]:
    return [
        (start, min(start + _SPAN, stop))
        for first, stop in pairwise(phase_starts)
        for start in range(first, stop, _SPAN)
    ]


def _pieces(
    sources: NDArray[np.int32], numbers: NDArray[np.int64], lengths: NDArray[np.int64], sequence: int, long: Long
) -> _Pieces:
    """Every token once, whole sequences and then what is left; or one piece of each example."""
    counts = -(-lengths // sequence) if long == "split" else np.ones_like(lengths)
    examples = np.repeat(np.arange(len(lengths)), counts)
    begins = ranges(np.zeros_like(counts), counts) * sequence
    return _Pieces(
        examples=examples,
        sources=sources[examples],
        numbers=numbers[examples],
        begins=begins,
        lengths=np.minimum(lengths[examples] - begins, sequence),
        trained=np.zeros(len(examples), np.int64),
    )


def _sides(pairs: _Pieces, seconds: NDArray[np.int32]) -> _Pieces:
    """Of every pair, of which `pairs` has one piece, the chosen and then the rejected side."""
    middle = seconds.astype(np.int64)
    begins = np.stack([np.zeros_like(middle), middle], axis=1).reshape(-1)
    ends = np.stack([middle, pairs.lengths], axis=1).reshape(-1)
    return _Pieces(
        examples=np.repeat(pairs.examples, 2),
        sources=np.repeat(pairs.sources, 2),
        numbers=np.repeat(pairs.numbers, 2),
        begins=begins,
        lengths=ends - begins,
        trained=np.zeros(len(begins), np.int64),
        sides=True,
    )


def _count_trained_of_parts(pieces: _Pieces, lengths: NDArray[np.int64], stores: Sequence[TokenStore]) -> None:
    """Reads the masks of rows that are in parts: which token is trained depends on where a piece begins."""
    part = pieces.lengths < lengths[pieces.examples]
    for source in np.unique(pieces.sources[part]).tolist():
        of_source = np.flatnonzero(part & (pieces.sources == source))
        for which in in_turns(of_source, pieces.lengths[of_source], _MASK_TOKENS):
            sizes = pieces.lengths[which]
            mask = stores[source].read("trained", pieces.numbers[which], pieces.begins[which], sizes)
            firsts = np.cumsum(sizes) - sizes
            pieces.trained[which] = np.add.reduceat(mask, firsts, dtype=np.int64) - mask[firsts]


def _bins(pieces: _Pieces, method: Method, sequence: int, key: int) -> tuple[NDArray[np.int64], int]:
    """The bin of each piece, counted over the span window by window, and how many bins."""
    if method == "none":
        return np.arange(len(pieces.lengths)), len(pieces.lengths)
    edges = np.searchsorted(pieces.examples, np.arange(0, int(pieces.examples[-1]) + 1 + WINDOW, WINDOW))
    bins = np.empty(len(pieces.lengths), np.int64)
    count = 0
    for number, (first, stop) in enumerate(pairwise(edges.tolist())):
        if method == "first_fit":
            found, size = first_fit(pieces.lengths[first:stop], sequence)
        else:
            found, size = best_fit(pieces.lengths[first:stop], sequence)
            found = _ranks(size, subkey(key, number))[found]  # or the full ones would come first
        bins[first:stop] = count + found
        count += size
    return bins, count


def _ranks(size: int, key: int) -> NDArray[np.int64]:
    """A permutation of 0..size-1."""
    keys = numbered(np.full(1, key, np.uint64), np.arange(size))
    ranks = np.empty(size, np.int64)
    ranks[np.argsort(keys, kind="stable")] = np.arange(size)
    return ranks


def _table(pieces: _Pieces, bins: NDArray[np.int64], count: int, whole: NDArray[np.int64]) -> _Table:
    """`whole` are the lengths of the span's examples."""
    by_bin = np.argsort(bins, kind="stable")
    lengths = pieces.lengths[by_bin]
    sizes = np.bincount(bins, minlength=count)
    before = np.cumsum(lengths) - lengths
    examples, begins = pieces.examples[by_bin], pieces.begins[by_bin]
    of_split = np.bincount(pieces.examples)[examples] > (2 if pieces.sides else 1)
    left_out = whole[examples] - np.bincount(pieces.examples, pieces.lengths)[examples].astype(np.int64)
    return _Table(
        sources=pieces.sources[by_bin],
        numbers=pieces.numbers[by_bin],
        begins=begins.astype(np.int32),
        lengths=lengths.astype(np.int32),
        columns=(before - np.repeat(before[np.cumsum(sizes) - sizes], sizes)).astype(np.int32),
        trained=pieces.trained[by_bin].astype(np.int32),
        long=(of_split & (begins == 0)) | (left_out > 0),
        left_out=left_out.astype(np.int32),
        sizes=sizes,
        tokens=np.bincount(bins, pieces.lengths, count).astype(np.int64),
    )


def _packing(tables: list[_Table], method: Method, width: int, rows: int, limit: int | None) -> Packing:
    sizes = np.concatenate([table.sizes for table in tables])[:limit]
    tokens = np.concatenate([table.tokens for table in tables])[:limit]
    stop = int(sizes.sum())

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(table, name) for table in tables])[:stop]

    return Packing(
        rows=np.array(rows),
        widths=_widths(tokens, method, width, rows),
        bins=np.concatenate([[0], np.cumsum(sizes)]),
        sources=joined("sources"),
        numbers=joined("numbers"),
        begins=joined("begins"),
        lengths=joined("lengths"),
        columns=joined("columns"),
        trained=joined("trained"),
        split=np.array(int(joined("long").sum())),
        cut=np.array(int(joined("left_out").sum(dtype=np.int64))),
    )


def _widths(tokens: NDArray[np.int64], method: Method, width: int, rows: int) -> NDArray[np.int64]:
    """Tokens of the rows of each batch: with `none` the least of four lengths, quarters of `width`, that holds all.

    Few lengths, as a program is compiled for each.
    """
    firsts = np.arange(0, len(tokens), rows)
    if method != "none":
        return np.full(len(firsts), width, np.int64)
    quarters = np.array([-(-width * quarter // 32) * 8 for quarter in (1, 2, 3, 4)], np.int64)
    return quarters[np.searchsorted(quarters, np.maximum.reduceat(tokens, firsts))]


def _refuse_long(
    sources: NDArray[np.int32],
    numbers: NDArray[np.int64],
    lengths: NDArray[np.int64],
    sequence: int,
    place: Callable[[int, int], str],
    pairs: bool,
    reserved: int,
) -> None:
    long = np.flatnonzero(lengths > sequence)
    if len(long):
        first = int(long[0])
        if reserved:
            raise UserError(
                f"a prompt has {lengths[first]:,} tokens: with {reserved:,} for its answer, a sequence of "
                f"{sequence + reserved:,} has room for {sequence:,}",
                f"raise `sequence`, lower `max_tokens`, or leave long prompts out: `filter(tokens in 1..{sequence})`",
                place=place(int(sources[first]), int(numbers[first])),
            )
        row = "a pair's longer side" if pairs else "a row"
        raise UserError(
            f"{row} has {lengths[first]:,} tokens, more than a sequence of {sequence:,}, and can't be split",
            f"cut long rows with `truncate({sequence} tokens)`, leave them out with `filter(tokens in 1..{sequence})`, "
            "or raise `sequence`",
            place=place(int(sources[first]), int(numbers[first])),
        )
