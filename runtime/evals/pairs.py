"""The reference of preference training: what a model gives both answers of every pair that a stage may train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from runtime.data.arrays import in_turns
from runtime.data.order import Order
from runtime.data.store import TokenStore
from runtime.evals.score import item_name
from runtime.evals.sequences import ROW_TOKENS, LogProbabilities, TokenSequence, score_sequences

SCHEMA = pa.schema(
    [
        ("item", pa.string()),  # identity of the row
        ("chosen", pa.float64()),  # log-probability of the answer's tokens, nats, summed
        ("rejected", pa.float64()),
        ("chosen_tokens", pa.int64()),  # scored ones
        ("rejected_tokens", pa.int64()),
    ]
)
"""What `respond` gives: a row a pair, in the order of `pairs_of`."""

_AT_ONCE = 1 << 22
"""Tokens that are in memory at once, about."""
_SPAN = 1 << 20
"""Places of an order that are looked at once."""

SIDES = ("chosen", "rejected")


def pairs_of(order: Order) -> NDArray[np.int64]:
    """The pairs that an order has anywhere, once each, sorted: int64[pairs, 2], index of the source, number there."""
    firsts = np.concatenate([[0], np.cumsum(order.sizes)])
    found = np.zeros(int(firsts[-1]), np.bool_)
    for start in range(0, len(order), _SPAN):
        sources, numbers = order.rows(start, min(start + _SPAN, len(order)))
        found[firsts[sources] + numbers] = True
    flat = np.flatnonzero(found)
    sources = np.searchsorted(firsts, flat, side="right") - 1
    return np.stack([sources, flat - firsts[sources]], axis=1)


def token_count(stores: Sequence[TokenStore], pairs: NDArray[np.int64]) -> int:
    """Tokens of both sides of pairs."""
    return int(_lengths(stores, pairs).sum())


def respond(
    stores: Sequence[TokenStore],
    pairs: NDArray[np.int64],
    log_probabilities: LogProbabilities,
    advance: Callable[[int], None] = lambda tokens: None,
    devices: int = 1,
) -> pa.Table:
    """The log-probability of both answers of every pair, given their prompt.

    Args:
        stores: the sources' tokens, in the order of their indices.
        pairs: see `pairs_of`.
        log_probabilities: the model; every batch has the same shape.
        advance: told after each batch how many tokens were read.
        devices: over how many a batch is spread.

    Returns:
        A table of `SCHEMA`, in the order of the pairs.
    """
    longest = max(
        int(store.longest[pairs[pairs[:, 0] == source, 1]].max(initial=1)) for source, store in enumerate(stores)
    )
    length = max(-(-longest // 64) * 64, ROW_TOKENS)
    sums, counts = np.zeros((len(pairs), 2)), np.zeros((len(pairs), 2), np.int64)
    for which in in_turns(np.arange(len(pairs)), _lengths(stores, pairs), _AT_ONCE):
        sides = [side for source, number in pairs[which].tolist() for side in _sides(stores[source], number)]
        scores = score_sequences(sides, log_probabilities, advance, length, devices)
        sums[which], counts[which] = scores.log_probability.reshape(-1, 2), scores.count.reshape(-1, 2)
    named = ((stores[source], number) for source, number in pairs.tolist())
    columns = {side: sums[:, index] for index, side in enumerate(SIDES)}
    tokens = {f"{side}_tokens": counts[:, index] for index, side in enumerate(SIDES)}
    items = [item_name(store.identity[number].tobytes(), int(store.occurrence[number])) for store, number in named]
    return pa.table({"item": items, **columns, **tokens}, schema=SCHEMA)


def reference_of(
    table: pa.Table, pairs: NDArray[np.int64], sources: NDArray[np.int32], numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """What `respond` found for the rows `numbers[i]` of `sources[i]`: float32[rows, 2], chosen and rejected.

    `pairs` are those that the table is of; all of the rows are among them.
    """
    assert len(table) == len(pairs), "the table is of these pairs"
    values = np.stack([table[side].to_numpy() for side in SIDES], axis=1).astype(np.float32)
    width = int(max(pairs[:, 1].max(initial=0), numbers.max(initial=0))) + 1
    known, wanted = pairs[:, 0] * width + pairs[:, 1], sources.astype(np.int64) * width + numbers
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    assert (known[places] == wanted).all(), "the order has every row of its packing"
    return values[places]


def _lengths(stores: Sequence[TokenStore], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[pairs], tokens of both sides."""
    lengths = np.zeros(len(pairs), np.int64)
    for source, store in enumerate(stores):
        of_source = pairs[:, 0] == source
        lengths[of_source] = store.lengths[pairs[of_source, 1]]
    return lengths


def _sides(store: TokenStore, number: int) -> tuple[TokenSequence, TokenSequence]:
    where = np.array([number]), np.zeros(1, np.int64), store.lengths[[number]]
    tokens, trained = store.read("tokens", *where), store.read("trained", *where)
    second = int(store.seconds[number])
    chosen, rejected = (TokenSequence(tokens[of], trained[of]) for of in (slice(second), slice(second, None)))
    return chosen, rejected
