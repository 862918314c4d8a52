"""Preference pairs in a train step: which the reference is asked, and batches that hold what it said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from compiler.program.preferences import PairBatch
from compiler.program.step import TrainState
from compiler.steps import Order, Pack, Respond
from runtime.data import batches as data_batches
from runtime.data.order import load_order
from runtime.data.packed import Packing
from runtime.data.store import TokenStore, open_store
from runtime.evals.pairs import pairs_of, reference_of
from runtime.steps.batches import PackedRows
from runtime.steps.context import Context
from runtime.steps.data import ORDER, sorted_inputs
from runtime.steps.responses import responses_of
from runtime.steps.stage import Stage
from runtime.train.prepared import Prepared


def ordered_pairs(context: Context, step: Respond) -> tuple[list[TokenStore], NDArray[np.int64]]:
    """What a reference is asked: the stores of an order's sources, and the pairs of it (see `pairs_of`)."""
    (description,) = step.items
    order = context.keys.plan.steps[description]
    assert isinstance(order, Order)
    stores = [open_store(context.folder(each)) for each in sorted_inputs(context, order)]
    return stores, pairs_of(load_order(context.folder(description) / ORDER))


class PairBatches:
    """Batches of pairs, with the log-probabilities of the stage's input where it is the reference."""

    ahead = True

    def __init__(self, stage: Stage) -> None:
        self._rows = PackedRows(stage)
        self._reference = _reference(stage, self._rows.packing)

    def prepare(self, update: int, state: TrainState) -> Prepared:
        rows = self._rows
        batch = rows.batch(update)
        reference = data_batches.by_segment(rows.packing, self._reference, update - 1, rows.own)
        pairs = PairBatch(batch.tokens, batch.segments, batch.positions, batch.trained, cast(Any, reference))
        return rows.prepared(update, pairs, lambda held: held.examples)

    def places(self, update: int) -> str:
        return self._rows.places(update)


def _reference(stage: Stage, packing: Packing) -> NDArray[np.float32]:
    """Of each piece of a packing, a side of a pair, the log-probability that the reference gives its answer."""
    context, step = stage.context, stage.step
    if step.reference is None:
        return np.zeros(len(packing.lengths), np.float32)
    pack = context.keys.plan.steps[step.pack]
    assert isinstance(pack, Pack)
    pairs = pairs_of(load_order(context.folder(pack.order) / ORDER))
    both = reference_of(responses_of(context, step.reference), pairs, packing.sources, packing.numbers)
    return np.where(packing.begins > 0, both[:, 1], both[:, 0])  # the rejected side follows the chosen one in a row


def mean_over_pairs(sums: Mapping[str, NDArray[np.float32]]) -> Mapping[str, float]:
    """The sums of a preference loss as means over the batch's pairs, by trl's names."""
    pairs = float(sums["pairs"])
    return {name: float(total) / pairs for name, total in sums.items() if name != "pairs" and pairs}
