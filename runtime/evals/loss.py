"""Held-out loss: negative log-likelihood of rows that no training saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from runtime.data.store import TokenStore
from runtime.evals.score import item_name
from runtime.evals.sequences import LogProbabilities, TokenSequence, score_sequences

SCHEMA = pa.schema(
    [
        ("item", pa.string()),  # identity of the row
        ("nll", pa.float64()),  # nats, summed over scored tokens
        ("tokens", pa.int64()),  # scored ones
    ]
)
"""What `respond` gives: a row an item. Scoring reads nothing else."""


@dataclass(frozen=True)
class LossItem:
    """A row of a token store."""

    identity: str
    tokens: np.ndarray
    """int32 `[length]`."""
    trained: np.ndarray
    """bool `[length]`: the tokens whose loss is taken, all of a document's and the assistant's of a chat."""


def loss_items(store: TokenStore) -> list[LossItem]:
    """All rows of a token store, read into memory."""
    rows = np.arange(len(store))
    flat = (store.read(array, rows, np.zeros_like(rows), store.lengths) for array in ("tokens", "trained"))
    tokens, trained = (np.split(values, np.cumsum(store.lengths)[:-1]) for values in flat)
    names = map(item_name, map(bytes, store.identity), store.occurrence.tolist())
    return [LossItem(*row) for row in zip(names, tokens, trained, strict=True)]


def respond(
    items: Sequence[LossItem],
    context: int,
    log_probabilities: LogProbabilities,
    advance: Callable[[int], None] = lambda tokens: None,
) -> pa.Table:
    """The negative log-likelihood of every item.

    A row longer than the context is scored in pieces; each begins with the last token of the piece before it, so every
    token but the row's first is scored once.

    Args:
        context: the most tokens that the model reads at once.
        advance: told after each batch how many tokens were read.

    Returns:
        A table of `SCHEMA`, in the order of the items.
    """
    pieces = [piece for item in items for piece in _pieces(item, context)]
    owner = np.repeat(np.arange(len(items)), [len(list(_pieces(item, context))) for item in items])
    scores = score_sequences(pieces, log_probabilities, advance)
    return pa.table(
        {
            "item": [item.identity for item in items],
            "nll": -np.bincount(owner, scores.log_probability, len(items)),
            "tokens": np.bincount(owner, scores.count, len(items)).astype(np.int64),
        },
        schema=SCHEMA,
    )


def _pieces(item: LossItem, context: int) -> Iterator[TokenSequence]:
    for first in range(0, max(1, len(item.tokens) - 1), context - 1):
        where = slice(first, first + context)
        yield TokenSequence(item.tokens[where], item.trained[where])
