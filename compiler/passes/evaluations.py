"""Steps of evaluations: which model answers what, when, and how it is scored."""

from __future__ import annotations

from fractions import Fraction

from compiler.evals import Answering, Calibration, Grader, Judging, Labels
from compiler.operations import Asked
from compiler.passes.build import Build, Consumer, UnbuiltError, bare, place_of
from compiler.passes.data import tokenized
from compiler.passes.items import items_of, named_members, tasks_of
from compiler.passes.points import START, of_arm
from compiler.passes.transforms import asked
from compiler.plan import PlannedArm
from compiler.steps import Calibrate, PlannedPoint, Respond, Score, Train
from compiler.values import END, ModelPoint, Moment
from dsl.declarations.data import SourceView
from dsl.declarations.evals import Eval, Mean, Rate
from dsl.declarations.studies import ScheduledEval
from dsl.values import Point

TEMPERATURE = "1"
MAX_TOKENS = 2048
"""How weights of ours answer the prompts of an evaluation that doesn't say it."""


def points(build: Build, arm: PlannedArm, scheduled: ScheduledEval) -> list[PlannedPoint]:
    """The evaluations of one arm, in order along its stages; one for each moment, however often it is asked for."""
    found: dict[tuple[str, int, Moment], PlannedPoint] = {}
    for name, evaluation in named_members(scheduled.eval):
        for index, when in _moments(build, arm, scheduled.when):
            stage = arm.stages[index] if arm.stages else None
            found[name, index, when] = PlannedPoint(
                arm=arm.name,
                seed=arm.seed,
                eval=name,
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


def _model(build: Build, arm: PlannedArm, index: int, when: Moment) -> ModelPoint | None:
    """Whose weights these are then; None of a served model."""
    if arm.api is not None:
        return None
    if not arm.stages:
        return arm.final
    stage = arm.stages[index]
    if when == START:
        step = build.steps[stage.train]
        assert isinstance(step, Train)
        return step.model
    return ModelPoint(step=stage.train, at=stage.end if when == END else when)


def _score(build: Build, evaluation: Eval, arm: PlannedArm, model: ModelPoint | None) -> str:
    """The step that scores what a model says."""
    grader = _grader(build, evaluation)
    return build.add(
        Score(
            name=evaluation.name,
            place=build.place(evaluation),
            respond=build.add(_respond(build, evaluation, arm, model)),
            metric=_metric(evaluation),
            normalise=evaluation.normalise,
            grader=grader,
            calibrate=_calibrate(build, evaluation, grader),
        )
    )


def _respond(build: Build, evaluation: Eval, arm: PlannedArm, model: ModelPoint | None) -> Respond:
    whole = Respond(
        name=evaluation.name,
        place=build.place(evaluation),
        model=model,
        weights=arm.weights,
        method="choice",
        items=(),
        template_args=arm.template_args,
    )
    if evaluation.choice is not None:
        return whole.model_copy(update={"items": tuple(items_of(build, evaluation, None))})
    if evaluation.loss:
        held_out = tuple(_held_out(build, view, arm) for view in evaluation.loss)
        return whole.model_copy(update={"method": "loss", "items": held_out})
    answering = {"model": None, "answering": _answering(evaluation, arm, model)}
    if evaluation.inspect is not None:
        tasks = tasks_of(evaluation)
        return whole.model_copy(update={"method": "inspect", "tasks": tasks, **answering})
    items = tuple(items_of(build, evaluation, None))
    return whole.model_copy(update={"method": "answers", "items": items, **answering})


def _answering(evaluation: Eval, arm: PlannedArm, model: ModelPoint | None) -> Answering:
    """Who answers: what the evaluation says of sampling goes before what the model says.

    Weights of ours need it said; a task of Inspect may say it too, and a provider has defaults of its own.
    """
    if arm.api is not None:
        sampled = arm.api
    else:
        sampled = Asked(name=arm.name, point=model, weights=arm.weights, template_args=arm.template_args)
        if evaluation.inspect is None:
            sampled = sampled.model_copy(update={"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS})
    said: dict[str, str | int] = {}
    if evaluation.temperature is not None:
        said["temperature"] = str(evaluation.temperature)
    if evaluation.max_tokens is not None:
        said["max_tokens"] = evaluation.max_tokens
    sampled = sampled.model_copy(update=said)
    greedy = sampled.temperature is not None and Fraction(sampled.temperature) == 0
    return Answering(model=sampled, samples=evaluation.samples, seed=0 if greedy else arm.sampling_seed)


def _grader(build: Build, evaluation: Eval) -> Grader | None:
    if evaluation.classify:
        return Labels(patterns=tuple(sorted(evaluation.classify.items())))
    if evaluation.judge is None:
        return None
    return Judging(
        model=asked(build, evaluation.judge),
        prompt=None if evaluation.prompt is None else build.location(evaluation.prompt),
        answers=evaluation.answers,
        low=None if evaluation.scale is None else str(evaluation.scale.low),
        high=None if evaluation.scale is None else str(evaluation.scale.high),
    )


def _calibrate(build: Build, evaluation: Eval, grader: Grader | None) -> str | None:
    """The step that measures the judge, where the evaluation says by what labels."""
    if evaluation.calibrate is None or not isinstance(grader, Judging):
        return None
    if grader.prompt is None:
        raise UnbuiltError("calibrate: of a task of Inspect", place_of(evaluation, "calibrate"))
    return build.add(
        Calibrate(
            name=evaluation.name,
            place=build.place(evaluation, "calibrate"),
            judging=grader,
            calibration=Calibration(
                labels=build.location(evaluation.calibrate.labels), agreement=str(evaluation.calibrate.agreement)
            ),
            items=tuple(items_of(build, evaluation, None)),
        )
    )


def _held_out(build: Build, view: SourceView, arm: PlannedArm) -> str:
    """Tokens whose loss is taken: all of a document, the assistant's of a chat."""
    return tokenized(build, view, Consumer(arm.reader, None, arm.template_args))


def _metric(evaluation: Eval) -> str:
    match evaluation.metric:
        case Rate(label=label):
            return f"rate({label})"
        case Mean(field=field):
            return f"mean({field})"
        case None if evaluation.choice is not None:
            return "rate(aligned)"
        case None:
            return "mean(nll)" if evaluation.loss else "mean(score)"
