"""Walks a plan: runs the steps that the store doesn't have yet, in order, and gives every study its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from compiler.steps import (
    AnyStep,
    DataStep,
    Order,
    Pack,
    Read,
    Report,
    Respond,
    Score,
    Survey,
    Tokenize,
    Train,
    Transform,
    Weights,
)
from runtime.planning import ensure
from runtime.report.study_report import StudyReport
from runtime.saved import save_plan
from runtime.steps.context import Context
from runtime.steps.kept import drop_unkept, lacking, train_if_needed
from runtime.stopping import Stopped


def run(context: Context) -> list[StudyReport]:
    """Runs a plan whose data steps are done. Raises UserError, and Stopped when asked to stop."""
    from runtime.steps.reporting import write_study

    plan = context.keys.plan
    for study in plan.studies:
        save_plan(context, context.store.study(study.name))  # so that what is done can be looked at while the rest runs
    pending = _pending(context)
    context.reporter.steps = sum(isinstance(step, Train | Respond) for step in pending.values())
    for description, step in pending.items():
        if context.stop.is_set():
            raise Stopped
        _run_step(context, pending, description, step)
    reports = [write_study(context, study) for study in plan.studies]
    for model in plan.models:
        save_plan(context, context.store.root / "models" / model.name)
    drop_unkept(context)
    return reports


def _pending(context: Context) -> dict[str, AnyStep]:
    """Steps that have to run: those not done, and trainings whose weights a pending step wants and nobody kept."""
    pending: dict[str, AnyStep] = {}
    for description, step in reversed(context.keys.plan.steps.items()):
        if isinstance(step, DataStep):
            continue
        if context.store.find(context.key(description)) is None:
            pending[description] = step
        elif isinstance(step, Train) and (missing := lacking(context, pending, description)):
            pending[description] = step
            first = f"its weights after update {missing[0]} are asked for and aren't there"
            context.reporter.say(f"{step.name} trains again: {first}")
    return dict(reversed(pending.items()))


def _run_step(context: Context, pending: Mapping[str, AnyStep], description: str, step: AnyStep) -> None:
    match step:
        case Train():
            train_if_needed(context, pending, description, step)
        case Respond():
            from runtime.steps.evaluations import run_respond

            ensure(context, description, step, run_respond)
        case Score():
            from runtime.steps.evaluations import run_score

            ensure(context, description, step, run_score)
        case Report():
            from runtime.steps.reporting import run_report

            ensure(context, description, step, run_report)
        case Read() | Transform() | Weights() | Tokenize() | Survey() | Order() | Pack():
            raise AssertionError("data steps are run by planning")
        case _:
            assert_never(step)
