"""Steps of evaluations: which model answers what, when, and how it is scored."""

from __future__ import annotations

from compiler.passes.build import Build, Consumer, UnbuiltError, bare, place_of
from compiler.passes.data import tokenized
from compiler.passes.items import items_of, members
from compiler.passes.points import START, of_arm
from compiler.plan import PlannedArm
from compiler.steps import PlannedPoint, Respond, Score, Train
from compiler.values import END, ModelPoint, Moment
from dsl.declarations.data import SourceView
from dsl.declarations.evals import Eval, Mean, Rate
from dsl.declarations.studies import ScheduledEval
from dsl.values import Point


def points(build: Build, arm: PlannedArm, scheduled: ScheduledEval) -> list[PlannedPoint]:
    """The evaluations of one arm, in order along its stages; one for each moment, however often it is asked for."""
    found: dict[tuple[str, int, Moment], PlannedPoint] = {}
    for evaluation in members(scheduled.eval):
        for index, when in _moments(build, arm, scheduled.when):
            stage = arm.stages[index] if arm.stages else None
            found[evaluation.name, index, when] = PlannedPoint(
                arm=arm.name,
                seed=arm.seed,
                eval=evaluation.name,
                stage=None if stage is None else stage.name,
                moment=when,
                end=END if stage is None else stage.end,
                last=index == max(len(arm.stages) - 1, 0),
                train=None if stage is None else stage.train,
                score=_score(build, evaluation, arm, _model(build, arm, index, when)),
            )
    return list(found.values())


def _moments(build: Build, arm: PlannedArm, when: tuple[Point, ...]) -> list[tuple[int, Moment]]:
    """Stage indices with moments.

    Unless a point names a stage it is of the last; a stage that the arm doesn't have is left out.
    """
    if not arm.stages:
        return [(0, END)]
    last = len(arm.stages) - 1
    found: list[tuple[int, Moment]] = []
    for index, stage in enumerate(arm.stages):
        wanted = [point for point in when if (index == last if point.of is None else bare(point.of) == stage.name)]
        found.extend((index, each) for each in of_arm(build, stage, wanted))
    return found


def _model(build: Build, arm: PlannedArm, index: int, when: Moment) -> ModelPoint:
    if not arm.stages:
        return arm.final
    stage = arm.stages[index]
    if when == START:
        step = build.steps[stage.train]
        assert isinstance(step, Train)
        return step.model
    return ModelPoint(step=stage.train, at=stage.end if when == END else when)


def _score(build: Build, evaluation: Eval, arm: PlannedArm, model: ModelPoint) -> str:
    if evaluation.choice is not None:
        method, items = "choice", tuple(items_of(build, evaluation, None))
    elif evaluation.loss:
        method, items = "loss", tuple(_held_out(build, view, arm) for view in evaluation.loss)
    else:
        field = next(name for name in ("prompts", "inspect", "suite") if getattr(evaluation, name))
        raise UnbuiltError(f"{field}: of an eval", place_of(evaluation, field))
    respond = build.add(
        Respond(
            name=evaluation.name,
            place=build.place(evaluation),
            model=model,
            weights=arm.weights,
            method=method,
            items=items,
            template_args=arm.template_args,
        )
    )
    return build.add(
        Score(
            name=evaluation.name,
            place=build.place(evaluation),
            respond=respond,
            metric=_metric(evaluation),
            normalise=evaluation.normalise,
        )
    )


def _held_out(build: Build, view: SourceView, arm: PlannedArm) -> str:
    """Tokens whose loss is taken: all of a document, the assistant's of a chat."""
    return tokenized(build, view, Consumer(arm.weights, None, arm.template_args))


def _metric(evaluation: Eval) -> str:
    match evaluation.metric:
        case Rate(label=label):
            return f"rate({label})"
        case Mean(field=field):
            return f"mean({field})"
        case None:
            return "rate(aligned)" if evaluation.choice is not None else "mean(nll)"
