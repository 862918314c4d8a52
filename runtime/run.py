"""Walks a plan: runs the steps that the store doesn't have yet, in order, and gives every study its report."""

from __future__ import annotations

from typing import assert_never

from compiler.plan import Plan
from compiler.steps import (
    END,
    AnyStep,
    DataStep,
    Order,
    Pack,
    Read,
    Report,
    Respond,
    Result,
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
    pending = _pending(plan, context)
    context.reporter.steps = len(pending)
    for description, step in pending.items():
        if context.stop.is_set():
            raise Stopped
        _run_step(plan, context, description, step)
    reports = [write_study(context, study) for study in plan.studies]
    for model in plan.models:
        save_plan(context, context.store.root / "models" / model.name)
    _drop_unkept(plan, context)
    return reports


def _pending(plan: Plan, context: Context) -> dict[str, AnyStep]:
    """Steps that have to run: those not done, and trainings whose weights a pending step wants and nobody kept."""
    pending: dict[str, AnyStep] = {}
    for description, step in reversed(plan.steps.items()):
        if isinstance(step, DataStep):
            continue
        done = context.store.find(context.key(description)) is not None
        wanted = {update for each in pending.values() for update in _wanted(context, each, description)}
        if not done or (isinstance(step, Train) and _missing(context, description, wanted)):
            pending[description] = step
    return dict(reversed(pending.items()))


def _wanted(context: Context, step: AnyStep, train: str) -> set[int]:
    """Updates of a train step after which `step` takes its weights."""
    if isinstance(step, Train | Respond) and step.model.step == train:
        return {context.update(step.model.step, step.model.at)}
    return set()


def _missing(context: Context, description: str, wanted: set[int]) -> bool:
    from runtime.train.checkpoints import weights_at

    lacking = sorted(wanted - set(weights_at(context.folder(description))))
    if lacking:
        name = context.keys.plan.steps[description].name
        context.reporter.say(
            f"{name} trains again: its weights after update {lacking[0]} are asked for and weren't kept"
        )
    return bool(lacking)


def _run_step(plan: Plan, context: Context, description: str, step: AnyStep) -> None:
    match step:
        case Train():
            _run_train(plan, context, description, step)
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


def _run_train(plan: Plan, context: Context, description: str, step: Train) -> None:
    from runtime.steps.training import run_train

    key = context.key(description)
    with context.store.lock(key, step.name, context.stop):
        keep = _kept(context, description, step)
        for each in plan.steps.values():
            keep |= _wanted(context, each, description)
        result: Result = run_train(context, description, step, keep)
        context.store.finish(key, result, step.kind, step.name)


def _kept(context: Context, description: str, step: Train) -> set[int]:
    """Updates whose weights stay after the study: those of `checkpoint:`, and the last."""
    return {context.update(description, moment) for moment in (*step.checkpoint, END)}


def _drop_unkept(plan: Plan, context: Context) -> None:
    """Removes weights that only evaluations asked for, now that they are scored."""
    from runtime.train.checkpoints import drop_weights

    for description, step in plan.steps.items():
        if isinstance(step, Train):
            folder = context.folder(description)
            if folder.is_dir():
                drop_weights(folder, _kept(context, description, step))
