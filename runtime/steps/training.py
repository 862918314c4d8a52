"""Runs a train step: its program, its batches, and the weights that later steps ask for."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import Any

from compiler.keys import update_at
from compiler.passes.figures import used_by
from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import parameter_shapes
from compiler.program.objectives import supervised
from compiler.program.optimizer import Optimizer, adamw, schedule
from compiler.program.step import TrainStep, make_train_step
from compiler.stages import AdamW, Schedule
from compiler.steps import Pack, Result, Train, Weights
from compiler.values import ModelPoint, Moment
from runtime.data import batches as data_batches
from runtime.data.packed import load_packing
from runtime.data.store import open_store
from runtime.steps.context import Context
from runtime.steps.data import PACKING, places_of, sorted_inputs
from runtime.train.checkpoints import load_weights
from runtime.train.loop import Training, train
from runtime.train.telemetry import Row
from runtime.weights import pretrained


def run_train(context: Context, description: str, step: Train, keep: AbstractSet[int]) -> Result:
    """Trains to the end, or goes on from where a killed run was; keeps the weights after each update of `keep`."""
    key = context.key(description)
    config = context.model(step.weights).config
    packed = context.keys.results[step.pack].facts
    batches = Batches(context, step.pack)
    updates: int = packed["updates"]
    optimizer, compiled = _program(context, config, step, packed)
    training = Training(
        name=step.name,
        initial=lambda: parameters(context, step.model, step.weights),
        parameters=parameter_shapes(config),
        optimizer=optimizer,
        step=compiled,
        updates=updates,
        batch=batches.batch,
        frozen={},
        data={"tokens": packed["digest"]},
        rows=batches.places,
        place=step.place,
    )
    folder = context.store.open(key)
    with context.reporter.work(f"train {step.name} ({users(context, description)})", updates, "steps") as tracker:

        def progress(row: Row, total: int) -> None:
            if not tracker.work.done:
                tracker.begin_at(row.update)
                tracker.to(row.update, note=f"loss {row.loss:.3f}")
            else:
                tracker.to(row.update, rated=row.tokens, note=f"loss {row.loss:.3f}")

        train(training, folder, keep, progress, context.stop, context.reporter.say)
    return Result(key=key, content=key, facts={"updates": updates})


def users(context: Context, train: str) -> str:
    """Who trains a step: arms, with the seed where it isn't the first."""
    return ", ".join(dict.fromkeys(each.rsplit("/", 1)[0] for each in used_by(context.keys.plan, train)))


class Batches:
    """The batches of a `pack` step, by update from 1."""

    def __init__(self, context: Context, description: str) -> None:
        step = context.keys.plan.steps[description]
        assert isinstance(step, Pack)
        inputs = sorted_inputs(context, step)
        self._stores = [open_store(context.folder(each)) for each in inputs]
        self._places = [places_of(context, each, store) for each, store in zip(inputs, self._stores, strict=True)]
        self._packing = load_packing(context.folder(description) / PACKING)

    def batch(self, update: int) -> Batch:
        return data_batches.batch(self._packing, self._stores, update - 1)

    def places(self, update: int) -> str:
        """FILE:LINE of the rows of an update's batch."""
        pieces = data_batches.rows_of(self._packing, self._stores, update - 1)
        rows = dict.fromkeys((piece.source, piece.number) for piece in pieces)
        return ", ".join(self._places[source](number) for source, number in rows)


def parameters(context: Context, model: ModelPoint, weights: str) -> Parameters:
    """The parameters of a model: pretrained, or after an update of a done train step."""
    step = context.keys.plan.steps[model.step]
    config = context.model(weights).config
    if isinstance(step, Weights):
        return pretrained.read_parameters(context.weights_path(model.step), config)
    update = context.keys.update(model.step, model.at)
    assert update is not None
    return load_weights(context.folder(model.step), update, parameter_shapes(config))


def _program(
    context: Context, config: DecoderConfig, step: Train, packed: Mapping[str, Any]
) -> tuple[Optimizer, TrainStep]:
    """The optimizer and the compiled step; stages that differ in nothing of it share one compilation."""
    updates: int = packed["updates"]
    assert isinstance(step.optimizer, AdamW)
    assert step.schedule.kind != "wsd"
    chosen, shape, warmup = step.optimizer, step.schedule, _warmup(step.schedule, packed)
    name = (config, step.precision, chosen, shape, warmup, updates, step.max_grad_norm)
    if name not in context.programs:
        rate = schedule(
            step.schedule.kind, float(Fraction(chosen.lr)), updates, float(warmup), float(Fraction(shape.final))
        )
        optimizer = adamw(
            rate,
            b1=float(Fraction(chosen.b1)),
            b2=float(Fraction(chosen.b2)),
            eps=float(Fraction(chosen.eps)),
            weight_decay=float(Fraction(chosen.weight_decay)),
            clip=None if step.max_grad_norm is None else float(Fraction(step.max_grad_norm)),
        )
        context.programs[name] = optimizer, make_train_step(supervised(config, step.precision), optimizer)
    return context.programs[name]


def _warmup(shape: Schedule, packed: Mapping[str, Any]) -> Fraction:
    """The warm-up of a stage as a fraction of its updates."""
    if isinstance(shape.warmup, str):
        return Fraction(shape.warmup)
    return Fraction(update_at(Moment(kind="quantity", value=shape.warmup), packed), packed["updates"])
