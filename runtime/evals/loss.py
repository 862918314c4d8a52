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
    devices: int = 1,
) -> pa.Table:
    """The negative log-likelihood of every item.

    A row longer than the context is read in windows, each half a context further on: in all but the first the tokens
    of its second half count, so every token but the row's first is scored once, and with half a context before it or
    all that there is (the recipe for perplexity of the documentation of transformers, with a stride of half).

    Args:
        context: the most tokens that the model reads at once.
        advance: told after each batch how many tokens were read.
        devices: over how many a batch is spread.

    Returns:
        A table of `SCHEMA`, in the order of the items.
    """
    windows = [(number, window) for number, item in enumerate(items) for window in _windows(item, context)]
    scores = score_sequences([window for _, window in windows], log_probabilities, advance, devices=devices)
    owner = np.array([number for number, _ in windows], np.int64)
    return pa.table(
        {
            "item": [item.identity for item in items],
            "nll": -np.bincount(owner, scores.log_probability, len(items)),
            "tokens": np.bincount(owner, scores.count, len(items)).astype(np.int64),
        },
        schema=SCHEMA,
    )


def token_count(items: Sequence[LossItem], context: int) -> int:
    """How many tokens `respond` will have told `advance` of in the end."""
    return sum(len(window.tokens) for item in items for window in _windows(item, context))


def _windows(item: LossItem, context: int) -> Iterator[TokenSequence]:
    """Those of an item that have tokens to be scored."""
    step = max(1, context // 2)
    scored = 0
    for first in range(0, max(1, len(item.tokens) - context + step), step):
        where = slice(first, first + context)
        trained = item.trained[where].copy()
        trained[: scored - first] = False
        scored = first + context
        if trained[1:].any():
            yield TokenSequence(item.tokens[where], trained)
