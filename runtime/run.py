"""Walks a plan: runs the steps that the store doesn't have yet, in order, and gives every study its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from compiler.steps import (
    END,
    AnyStep,
    DataStep,
    Order,
    Pack,
    Read,
    Report,
    Respond,
    Score,
    Tokenize,
    Train,
    Transform,
    Weights,
)
from runtime.planning import ensure
from runtime.report.study_report import StudyReport
from runtime.saved import save_plan
from runtime.steps.context import Context
from runtime.stopping import Stopped


def run(context: Context) -> list[StudyReport]:
    """Runs a plan whose data steps are done. Raises UserError, and Stopped when asked to stop."""
    from runtime.steps.reporting import write_study

    plan = context.keys.plan
    pending = _pending(context)
    context.reporter.steps = sum(isinstance(step, Train | Respond) for step in pending.values())
    for description, step in pending.items():
        if context.stop.is_set():
            raise Stopped
        _run_step(context, pending, description, step)
    reports = [write_study(context, study) for study in plan.studies]
    for model in plan.models:
        save_plan(context, context.store.root / "models" / model.name)
    _drop_unkept(context)
    return reports


def _pending(context: Context) -> dict[str, AnyStep]:
    """Steps that have to run: those not done, and trainings whose weights a pending step wants and nobody kept."""
    pending: dict[str, AnyStep] = {}
    for description, step in reversed(context.keys.plan.steps.items()):
        if isinstance(step, DataStep):
            continue
        if context.store.find(context.key(description)) is None:
            pending[description] = step
        elif isinstance(step, Train) and (lacking := _lacking(context, pending, description)):
            pending[description] = step
            first = f"its weights after update {lacking[0]} are asked for and aren't there"
            context.reporter.say(f"{step.name} trains again: {first}")
    return dict(reversed(pending.items()))


def _lacking(context: Context, pending: Mapping[str, AnyStep], train: str) -> list[int]:
    """Updates of a train step whose weights aren't there: the last, and those that a pending step wants."""
    from runtime.train.committed import weights_at

    wanted = _wanted(context, pending, train) | {context.update(train, END)}
    return sorted(wanted - set(weights_at(context.folder(train))))


def _wanted(context: Context, steps: Mapping[str, AnyStep], train: str) -> set[int]:
    """Updates of a train step after which some step takes its weights."""
    return {
        context.update(train, step.model.at)
        for step in steps.values()
        if isinstance(step, Train | Respond) and step.model.step == train
    }


def _run_step(context: Context, pending: Mapping[str, AnyStep], description: str, step: AnyStep) -> None:
    match step:
        case Train():
            _run_train(context, pending, description, step)
        case Respond():
            from runtime.steps.evaluations import run_respond

            ensure(context, description, step, run_respond)
        case Score():
            from runtime.steps.evaluations import run_score

            ensure(context, description, step, run_score)
        case Report():
            from runtime.steps.reporting import run_report

            ensure(context, description, step, run_report)
        case Read() | Transform() | Weights() | Tokenize() | Order() | Pack():
            raise AssertionError("data steps are run by planning")
        case _:
            assert_never(step)


def _run_train(context: Context, pending: Mapping[str, AnyStep], description: str, step: Train) -> None:
    from runtime.steps.training import run_train

    key = context.key(description)
    with context.store.lock(key, step.name, context.stop):
        if context.store.find(key) is not None and not _lacking(context, pending, description):
            return  # another process was first
        keep = _kept(context, description, step) | _wanted(context, pending, description)
        result = run_train(context, description, step, keep)
        context.store.finish(key, result, step.kind, step.name)


def _kept(context: Context, description: str, step: Train) -> set[int]:
    """Updates whose weights stay after the study: those of `checkpoint:`, and the last."""
    return {context.update(description, moment) for moment in (*step.checkpoint, END)}


def _drop_unkept(context: Context) -> None:
    """Removes weights that only evaluations of this plan asked for, now that they are scored."""
    from runtime.train.committed import drop_weights, weights_at

    steps = context.keys.plan.steps
    for description, step in steps.items():
        if isinstance(step, Train):
            folder = context.folder(description)
            dropped = _wanted(context, steps, description) - _kept(context, description, step)
            drop_weights(folder, set(weights_at(folder)) - dropped)
