"""Which weights of a train step are wanted and kept: trains where one is missing, drops what no one needs any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compiler.keys import points_of
from compiler.steps import AnyStep, Train
from runtime.steps.context import Context
from runtime.steps.followed import followed_arm, unneeded

if TYPE_CHECKING:
    from runtime.steps.live import Live


def lacking(context: Context, pending: Mapping[str, AnyStep], train: str) -> list[int]:
    """Updates of a train step whose weights aren't there: where its stages end, and those that a pending step wants."""
    from runtime.train.committed import weights_at

    return sorted(points_wanted(context, pending, train) - set(weights_at(context.folder(train))))


def points_wanted(context: Context, pending: Mapping[str, AnyStep], train: str) -> set[int]:
    """Updates of a train step that it is trained to: where its stages end, and those that a pending step wants."""
    return _wanted(context, pending, train) | _ends(context, train)


def _wanted(context: Context, steps: Mapping[str, AnyStep], train: str) -> set[int]:
    """Updates of a train step after which some step takes its weights."""
    idle = unneeded(context)
    points = (point for description, step in steps.items() if description not in idle for point in points_of(step))
    return {context.update(train, point.at) for point in points if point.step == train}


def _ends(context: Context, train: str) -> set[int]:
    """Updates of a train step at which its stages end: arms that leave the run early, and those that go through it.

    An arm that was stopped leaves it there.
    """
    plan = context.keys.plan
    step = plan.steps[train]
    assert isinstance(step, Train)
    planned = {context.update(train, moment) for moment in step.ends}
    if not unneeded(context):
        return planned
    arms = [*(followed_arm(context, study, arm) for study in plan.studies for arm in study.arms), *plan.models]
    left = {context.update(train, stage.end) for arm in arms for stage in arm.stages if stage.train == train}
    return left | (planned & _wanted(context, plan.steps, train))


def train_if_needed(
    context: Context, pending: Mapping[str, AnyStep], description: str, step: Train, live: Live | None = None
) -> None:
    """Trains to the last point that is wanted unless it is done, all weights that a pending step wants among what is
    kept. With `live`, they are evaluated on the way."""
    from runtime.followers import call_in
    from runtime.steps.training import run_train

    key = context.key(description)
    with context.store.lock(key, step.name, context.stop):
        if context.store.find(key) is not None and not lacking(context, pending, description):
            return  # another process was first
        keep = _kept(context, description, step) | _wanted(context, pending, description)
        call_in(context, description, keep)
        result = run_train(context, description, step, keep, None if live is None else live.between(description))
        context.store.finish(key, result, step.kind, step.name)


def _kept(context: Context, description: str, step: Train) -> set[int]:
    """Updates whose weights stay after the study: the ends of stages, and those of `checkpoint:` before the last."""
    ends = _ends(context, description)
    return ends | {at for moment in step.checkpoint if (at := context.update(description, moment)) <= max(ends)}


def drop_unkept(context: Context) -> None:
    """Removes weights that only evaluations of this plan asked for, now that they are scored."""
    from runtime.train.committed import drop_weights, weights_at

    steps, idle = context.keys.plan.steps, unneeded(context)
    for description, step in steps.items():
        if isinstance(step, Train) and description not in idle:
            folder = context.folder(description)
            dropped = _wanted(context, steps, description) - _kept(context, description, step)
            drop_weights(folder, set(weights_at(folder)) - dropped)
