"""Runs a train step: objective, optimizer, batches, weights and mesh come together here."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import cache, partial

from compiler.passes.figures import used_by
from compiler.program.config import Parameters
from compiler.program.optimizer import Optimizer
from compiler.program.step import TrainState, TrainStep
from compiler.steps import Respond, Result, Train
from runtime.steps.context import Context
from runtime.steps.models import split_of, whole
from runtime.steps.objective import batches_of, part_count, told_of
from runtime.steps.program import Outline, make_program
from runtime.steps.stage import Stage, stage_of
from runtime.train.loop import Training, train
from runtime.train.peak import peak_of
from runtime.train.telemetry import Row


def run_train(
    context: Context,
    description: str,
    step: Train,
    keep: AbstractSet[int],
    between: Callable[[int, Callable[[], Parameters]], bool] | None = None,
) -> Result:
    """Trains to the last of `keep`, or goes on from where a killed run was; keeps the weights after each of them.

    `between` is called after each of them but the last, when they are committed: with the update, and what gives the
    whole model as it lies on the devices, which nobody may hold on to. It says whether training ends there.
    """
    key, stage, last = context.key(description), stage_of(context, description, step), max(keep)
    context.loaded = None  # a model that was evaluated, or asked as the reference, leaves its memory to the training
    split = split_of(stage)
    frozen = cache(split.frozen)
    optimizer, compiled = program(stage, split.trained)
    training = Training(
        name=step.name,
        initial=split.initial,
        parameters=stage.placement.parameters(split.trained),
        frozen=frozen,
        optimizer=optimizer,
        step=compiled,
        updates=last,
        batches=batches_of(stage, frozen),
        told=told_of(stage),
        data={"tokens": stage.packed["digest"]},
        whole=last == stage.packed["updates"],
        placement=stage.placement,
        peak=peak_of(stage.placement),
        place=step.place,
    )
    folder = context.store.open(key)
    with context.reporter.work(f"train {step.name} ({users(context, description)})", last, "steps") as tracker:

        def progress(row: Row, total: int) -> None:
            if not tracker.work.done:
                tracker.begin_at(row.update)
                tracker.to(row.update, note=f"loss {row.loss:.3f}")
            else:
                tracker.to(row.update, rated=row.tokens, note=f"loss {row.loss:.3f}")

        def paused(update: int, state: TrainState) -> bool:
            assert between is not None
            began = time.monotonic()
            ends = between(update, partial(whole, stage.config, stage.lora, state.parameters, frozen()))
            tracker.leave_out(time.monotonic() - began)
            return ends

        last = train(
            training,
            folder,
            keep,
            progress,
            context.stop,
            context.reporter.say,
            on_spike=step.on_spike,
            between=None if between is None else paused,
        )
    return Result(key=key, content=key, facts={"updates": last})


def users(context: Context, train: str) -> str:
    """Who trains a step: arms, with the seed where it isn't the first; else it is for who is asked."""
    arms = dict.fromkeys(each.rsplit("/", 1)[0] for each in used_by(context.keys.plan, train))
    return ", ".join(arms) or "for a model that is asked"


def who(context: Context, step: Respond) -> str:
    """Whose answers these are: a model's, or those of a stage after an update."""
    point = step.asks
    if point is None:
        assert step.answering is not None
        return step.answering.model.name
    asked = context.keys.plan.steps[point.step]
    if not isinstance(asked, Train):
        return asked.name
    return f"{users(context, point.step)}: {asked.name} @{context.update(point.step, point.at)}"


def program(stage: Stage, trained: Parameters) -> tuple[Optimizer, TrainStep]:
    """The optimizer and the compiled step; stages that differ in nothing of it share one compilation.

    `trained` are the shapes of what is trained.
    """
    outline = Outline(
        step=stage.step,
        config=stage.config,
        parts=part_count(stage),
        updates=stage.packed["updates"],
        warmup=stage.share(stage.step.schedule.warmup),
        decay=stage.last_share(stage.step.schedule.decay),
        execution=stage.execution,
        micro_batches=stage.placement.micro_batches,
    )
    programs = stage.context.programs
    if outline.identity not in programs:
        programs[outline.identity] = make_program(outline, trained)
    return programs[outline.identity]
