"""The batches of a `pack` step, as the training loop takes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.passes.parameters import stage_flops
from compiler.program.batch import Batch
from compiler.program.step import TrainState
from compiler.steps import Pack
from runtime.data import batches as data_batches
from runtime.data.packed import load_packing
from runtime.data.store import open_store
from runtime.steps.data import PACKING, places_of, sorted_inputs
from runtime.steps.stage import Stage
from runtime.train.prepared import Prepared


class PackedRows:
    """The rows of a `pack` step's batches, whatever an objective makes of them."""

    def __init__(self, stage: Stage) -> None:
        context, description = stage.context, stage.step.pack
        self._stage = stage
        step = context.keys.plan.steps[description]
        assert isinstance(step, Pack)
        inputs = sorted_inputs(context, step)
        self.stores = [open_store(context.folder(each)) for each in inputs]
        self.packing = load_packing(context.folder(description) / PACKING)
        self._places = [places_of(context, each, store) for each, store in zip(inputs, self.stores, strict=True)]

    @property
    def own(self) -> slice:
        """Of the rows of a batch, those that this process holds."""
        return self._stage.placement.rows(int(self.packing.rows))

    def batch(self, update: int) -> Batch:
        """This process's rows of an update's batch."""
        return data_batches.batch(self.packing, self.stores, update - 1, self.own)

    def prepared(self, update: int, batch: object, denominator: Callable[[data_batches.Held], int]) -> Prepared:
        """What an objective made of an update's batch, with what the whole of it holds in numbers."""
        step, rows = update - 1, int(self.packing.rows)
        held = data_batches.held_by(self.packing, step)
        return Prepared(
            batch=batch,
            rows=rows,
            places=rows * int(self.packing.widths[step]),
            tokens=held.tokens,
            trained_tokens=held.trained_tokens,
            denominator=denominator(held),
            flops=stage_flops(self._stage.config, self._stage.step, held.tokens, held.pairs),
        )

    def places(self, update: int) -> str:
        """FILE:LINE of the rows of an update's batch."""
        pieces = data_batches.rows_of(self.packing, self.stores, update - 1)
        rows = dict.fromkeys((piece.source, piece.number) for piece in pieces)
        return ", ".join(self._places[source](number) for source, number in rows)


class SupervisedBatches:
    """Batches whose loss is that of each trained token. `parts` says of each token which part of the mix it is of."""

    ahead = True

    def __init__(self, stage: Stage, *, parts: bool) -> None:
        self._rows = PackedRows(stage)
        self._parts = parts

    def prepare(self, update: int, state: TrainState) -> Prepared:
        rows = self._rows
        batch = rows.batch(update)
        if self._parts:
            parts = data_batches.sources_of(rows.packing, update - 1, rows.own)
            batch = batch._replace(parts=np.asarray(parts))  # type: ignore[arg-type]
        return rows.prepared(update, batch, lambda held: held.trained_tokens)

    def places(self, update: int) -> str:
        return self._rows.places(update)
