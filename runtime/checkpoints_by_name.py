"""Models that ran, by the name that Inspect is given: STUDY/ARM@STEP, in the store of a project."""

from __future__ import annotations

from compiler.plan import PlannedArm
from compiler.steps import Train
from compiler.values import END, Measure, ModelPoint, Moment
from runtime.errors import UserError
from runtime.progress import Reporter
from runtime.saved import find_trained
from runtime.steps.context import Context
from runtime.store import Store
from runtime.train.committed import weights_at


def find_checkpoint(name: str, store: Store, reporter: Reporter) -> tuple[Context, PlannedArm, ModelPoint]:
    """The weights that a name stands for: STUDY/ARM (`base` is an arm too), or MODEL.

    Behind it may stand `@STEP`, an update of the last stage, or `@start` and `@end` of it (the end, if nothing is
    said), and `@seed=N` (the first one). Raises UserError where there are none.
    """
    arm_name, *rest = name.split("@")
    seeds = [each for each in rest if each.startswith("seed=")]
    steps = [each for each in rest if not each.startswith("seed=")]
    if len(seeds) > 1 or len(steps) > 1:
        raise UserError(f"'{name}' says a step or a seed twice", "write STUDY/ARM@STEP@seed=N")
    context, arm = find_trained("@".join((arm_name, *seeds)), store, reporter)
    return context, arm, _point(context, arm, steps[0] if steps else "end", name)


def _point(context: Context, arm: PlannedArm, step: str, name: str) -> ModelPoint:
    if not arm.stages:
        if step in ("start", "end"):
            return arm.final
        raise UserError(f"{name} isn't trained, so it has no step {step}", "leave the step out")
    train = arm.stages[-1].train
    trained = context.keys.plan.steps[train]
    assert isinstance(trained, Train)
    if step == "end":
        return arm.final
    if step == "start":
        return trained.model
    kept = weights_at(context.folder(train))
    if not step.isdecimal() or int(step) not in kept:
        has = ", ".join(map(str, kept))
        raise UserError(
            f"no weights of step '{step}' of {name} are kept",
            f"those of {has} are, and `start` and `end`; a stage's `checkpoint:` says which",
        )
    if int(step) == context.update(train, END):
        return ModelPoint(step=train, at=END)
    return ModelPoint(step=train, at=Moment(kind="quantity", value=Measure(count=step, unit="steps")))
