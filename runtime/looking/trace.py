"""The rows of a batch: which pieces of which rows an update trained on, with their tokens and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compiler.plan import PlannedArm
from compiler.steps import Pack, Tokenize, Train
from runtime.data.batches import rows_of
from runtime.data.packed import load_packing
from runtime.data.store import open_store
from runtime.errors import UserError
from runtime.looking.tokens import Run, runs, side_at
from runtime.steps.context import Context
from runtime.steps.data import PACKING, places_of, sorted_inputs


@dataclass(frozen=True)
class TracedPiece:
    """A piece of a row in a batch.

    Attributes:
        row, column: its first token's place in the batch.
        source: the source, as the plan calls it.
        place: FILE:LINE of the row.
        identity, occurrence: which row it is, anywhere.
        begin, length: which of its tokens.
        side: of a pair, which side they are.
        runs: these tokens, by role and mask.
    """

    row: int
    column: int
    source: str
    place: str
    identity: str
    occurrence: int
    begin: int
    length: int
    side: Literal["chosen", "rejected"] | None
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Traced:
    stage: str
    update: int
    updates: int
    pieces: tuple[TracedPiece, ...]


def trace(context: Context, arm: PlannedArm, stage: str | None, update: int) -> Traced:
    """The batch of an update (from 1) of a stage of an arm, its last one where none is named.

    Raises UserError where there is no such stage or update.
    """
    name, train = _stage(context, arm, stage)
    pack = context.keys.plan.steps[train.pack]
    assert isinstance(pack, Pack)
    inputs = sorted_inputs(context, pack)
    stores = [open_store(context.folder(each)) for each in inputs]
    places = [places_of(context, each, store) for each, store in zip(inputs, stores, strict=True)]
    packing = load_packing(context.folder(train.pack) / PACKING)
    if not 1 <= update <= packing.updates:
        raise UserError(f"{name} has no update {update}", f"it has updates 1 to {packing.updates:,}")
    tokenizer = context.model(train.weights).tokenizer.tokenizer
    pieces: list[TracedPiece] = []
    for piece in rows_of(packing, stores, update - 1):
        tokens = context.keys.plan.steps[inputs[piece.source]]
        assert isinstance(tokens, Tokenize)
        store = stores[piece.source]
        pieces.append(
            TracedPiece(
                row=piece.row,
                column=piece.column,
                source=tokens.name,
                place=places[piece.source](piece.number),
                identity=piece.identity,
                occurrence=piece.occurrence,
                begin=piece.begin,
                length=piece.length,
                side=side_at(store, piece.number, piece.begin),
                runs=tuple(runs(store, tokenizer, piece.number, piece.begin, piece.length)),
            )
        )
    return Traced(name, update, packing.updates, tuple(pieces))


def _stage(context: Context, arm: PlannedArm, name: str | None) -> tuple[str, Train]:
    if not arm.stages:
        raise UserError(f"{arm.name} is not trained", "name an arm with a stage")
    stages = {stage.name: stage for stage in arm.stages}
    if name is not None and name not in stages:
        raise UserError(f"{arm.name} has no stage '{name}'", f"it has {', '.join(stages)}")
    stage = arm.stages[-1] if name is None else stages[name]
    train = context.keys.plan.steps[stage.train]
    assert isinstance(train, Train)
    return stage.name, train
