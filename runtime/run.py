"""Walks a plan: runs the steps that the store doesn't have yet, in order, and gives every study its report.

Evaluations don't wait for their turn: they are done as soon as what they ask is there, while training goes on.
"""

from __future__ import annotations

from functools import partial
from typing import assert_never

from compiler.steps import (
    AnyStep,
    Calibrate,
    DataStep,
    Distance,
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
from runtime.steps.followed import unneeded
from runtime.steps.kept import drop_unkept, lacking, train_if_needed
from runtime.stopping import Stopped


def run(context: Context) -> list[StudyReport]:
    """Runs a plan whose data steps are done. Raises UserError, and Stopped when asked to stop."""
    from runtime.steps.live import Live
    from runtime.steps.reporting import write_study

    plan = context.keys.plan
    for study in plan.studies:
        save_plan(context, context.store.study(study.name))  # so that what is done can be looked at while the rest runs
    pending = _pending(context)
    idle = unneeded(context)
    context.reporter.steps = sum(_takes_long(step) for each, step in pending.items() if each not in idle)
    live = Live(context, pending, partial(_run_step, context))
    for description, step in pending.items():
        if context.stop.is_set():
            raise Stopped
        if isinstance(step, Train | Report):
            live.catch_up()
        if description in unneeded(context):
            continue
        if isinstance(step, Train):
            train_if_needed(context, pending, description, step, live)
        else:
            _run_step(context, description, step)
    reports = [write_study(context, study) for study in plan.studies]
    for model in plan.models:
        save_plan(context, context.store.root / "models" / model.name)
    drop_unkept(context)
    return reports


def _pending(context: Context) -> dict[str, AnyStep]:
    """Steps that have to run: those not done, and trainings whose weights a pending step wants and nobody kept.

    Evaluations that nobody wants as far as is known are among them: where an arm stops, its end is wanted.

    Judges that are here already are measured before anything else: one that isn't believed ends the run.
    """
    pending: dict[str, AnyStep] = {}
    idle = unneeded(context)
    for description, step in reversed(context.keys.plan.steps.items()):
        if isinstance(step, DataStep) or (isinstance(step, Train) and description in idle):
            continue
        if context.store.find(context.key(description)) is None:
            pending[description] = step
        elif isinstance(step, Train) and (missing := lacking(context, pending, description)):
            pending[description] = step
            first = f"its weights after update {missing[0]} are asked for and aren't there"
            context.reporter.say(f"{step.name} trains again: {first}")
    pending = dict(reversed(pending.items()))
    ready = {
        description: step
        for description, step in pending.items()
        if isinstance(step, Calibrate) and not pending.keys() & set(step.inputs)
    }
    return {**ready, **pending}


def _takes_long(step: AnyStep) -> bool:
    """Whether the progress of a step is shown."""
    judges = isinstance(step, Score) and step.judge is not None
    return judges or isinstance(step, Train | Respond | Calibrate | Distance)


def _run_step(context: Context, description: str, step: AnyStep) -> None:
    match step:
        case Respond():
            from runtime.steps.evaluations import run_respond

            ensure(context, description, step, run_respond)
        case Calibrate():
            from runtime.steps.judges import run_calibrate

            ensure(context, description, step, run_calibrate)
        case Score():
            from runtime.steps.evaluations import run_score

            ensure(context, description, step, run_score)
        case Distance():
            from runtime.steps.distances import run_distance

            ensure(context, description, step, run_distance)
        case Report():
            from runtime.steps.reporting import run_report

            ensure(context, description, step, run_report)
        case Train() | Read() | Transform() | Weights() | Tokenize() | Survey() | Order() | Pack():
            raise AssertionError("it is run elsewhere: data steps by planning")
        case _:
            assert_never(step)
