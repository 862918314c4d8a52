"""Which weights of a train step are wanted and kept: trains where one is missing, drops what no one needs any more."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.keys import asked_point
from compiler.steps import AnyStep, Train
from compiler.values import END
from runtime.steps.context import Context


def lacking(context: Context, pending: Mapping[str, AnyStep], train: str) -> list[int]:
    """Updates of a train step whose weights aren't there: the last, and those that a pending step wants."""
    from runtime.train.committed import weights_at

    wanted = _wanted(context, pending, train) | {context.update(train, END)}
    return sorted(wanted - set(weights_at(context.folder(train))))


def _wanted(context: Context, steps: Mapping[str, AnyStep], train: str) -> set[int]:
    """Updates of a train step after which some step takes its weights."""
    points = (step.model if isinstance(step, Train) else asked_point(step) for step in steps.values())
    return {context.update(train, point.at) for point in points if point is not None and point.step == train}


def train_if_needed(context: Context, pending: Mapping[str, AnyStep], description: str, step: Train) -> None:
    """Trains to the end unless it is done, all weights that a pending step wants among what is kept."""
    from runtime.steps.training import run_train

    key = context.key(description)
    with context.store.lock(key, step.name, context.stop):
        if context.store.find(key) is not None and not lacking(context, pending, description):
            return  # another process was first
        keep = _kept(context, description, step) | _wanted(context, pending, description)
        result = run_train(context, description, step, keep)
        context.store.finish(key, result, step.kind, step.name)


def _kept(context: Context, description: str, step: Train) -> set[int]:
    """Updates whose weights stay after the study: those of `checkpoint:`, and the last."""
    return {context.update(description, moment) for moment in (*step.checkpoint, END)}


def drop_unkept(context: Context) -> None:
    """Removes weights that only evaluations of this plan asked for, now that they are scored."""
    from runtime.train.committed import drop_weights, weights_at

    steps = context.keys.plan.steps
    for description, step in steps.items():
        if isinstance(step, Train):
            folder = context.folder(description)
            dropped = _wanted(context, steps, description) - _kept(context, description, step)
            drop_weights(folder, set(weights_at(folder)) - dropped)
