"""How far a study follows each arm: to its end, or to where its `stop` holds first, judged from what is scored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from compiler.passes.expand import BASE
from compiler.passes.points import START
from compiler.passes.stops import compared, comparison_of, watched
from compiler.plan import PlannedArm, PlannedStudy
from compiler.steps import PlannedClaim, PlannedPoint, Report
from compiler.values import END, Moment
from runtime.steps.context import Context

if TYPE_CHECKING:
    from runtime.evals.points import Point
    from runtime.evals.score import Scored


@dataclass(frozen=True)
class Stop:
    """Where `stop` holds first of an arm with a seed: the study follows it until there."""

    index: int
    """Of the stage."""
    update: int
    """Of the stage's run, after which it holds."""
    moment: Moment
    """The same, as it is planned."""
    detail: str
    """What it was judged by."""


class _Position(NamedTuple):
    """A moment of an arm in order: stages by index, and updates made in them. What a stage begins with is the end of
    the one before."""

    stage: int
    update: int


def stop_of(context: Context, study: PlannedStudy, arm: PlannedArm) -> Stop | None:
    """Where an arm is stopped; None where it isn't, or as long as that isn't known.

    It is looked at in order, at each moment with all evaluations that `stop` takes of the running arm, by what is
    known of the arm until then and of the others that it names. So it follows from the scores alone, in whatever order
    they came. An arm that is compared with others is itself compared with those before it in the study alone.
    """
    report = _report(context, study)
    if report.stop is None or arm.name == BASE or not arm.stages:
        return None
    if any(context.keys.update(stage.train, stage.end) is None for stage in arm.stages):
        return None
    own = [point for point in report.points if (point.arm, point.seed) == (arm.name, arm.seed)]
    own = [point for point in own if point.eval in set(report.stop.evals.values())]
    done: dict[_Position, set[str]] = defaultdict(set)
    for point in own:
        done[_position(context, arm, point)].add(point.eval)
    looked_at = sorted(position for position, evals in done.items() if watched(report.stop) <= evals)
    for position in looked_at:
        if position == (0, 0) or position >= _end(context, arm):
            continue
        detail = _holds(context, study, report.stop, arm, position, own)
        if detail is None:
            return None
        if detail:
            moments = (point.fires for point in own if _position(context, arm, point) == position)
            at_end = position.update == context.update(*_left(arm, position.stage))
            moment = arm.stages[position.stage].end if at_end else next(moments)
            return Stop(position.stage, position.update, moment, detail)
    return None


def stops_of(context: Context, report: Report) -> dict[str, tuple[int, str]]:
    """By arm, or ARM@SEED where the study of a report step has several: the update of the stage after which it was
    stopped, and why in words."""
    study = _study(context, report)
    found: dict[str, tuple[int, str]] = {}
    several = len({arm.seed for arm in study.arms if arm.seed is not None}) > 1
    for arm in study.arms:
        stop = stop_of(context, study, arm)
        if stop is not None:
            name = f"{arm.name}@{arm.seed}" if several else arm.name
            found[name] = stop.update, words_of(context, study, arm, stop)
    return found


def words_of(context: Context, study: PlannedStudy, arm: PlannedArm, stop: Stop) -> str:
    claim = _report(context, study).stop
    assert claim is not None
    stage = arm.stages[stop.index].name
    return f"after update {stop.update:,} of {stage}, since {claim.text} held: {stop.detail}"


def followed_arm(context: Context, study: PlannedStudy, arm: PlannedArm) -> PlannedArm:
    """An arm as far as a study follows it."""
    stop = stop_of(context, study, arm)
    if stop is None:
        return arm
    last = arm.stages[stop.index].model_copy(update={"end": stop.moment})
    return arm.model_copy(update={"stages": (*arm.stages[: stop.index], last)})


def followed_points(context: Context, study: PlannedStudy) -> list[PlannedPoint]:
    """The evaluations of a study but for those that its stops leave out; of a stopped arm, the end is where it stopped,
    and is there whether or not something else is evaluated at that moment."""
    order = list(dict.fromkeys(point.eval for point in _report(context, study).points))
    points = (sorted(_followed(context, study, arm), key=lambda point: order.index(point.eval)) for arm in study.arms)
    return [point for of_arm in points for point in of_arm]


def followed(context: Context, report: Report) -> tuple[PlannedStudy, Report]:
    """A study and its report step without what its stops leave out."""
    study = _study(context, report)
    arms = tuple(followed_arm(context, study, arm) for arm in study.arms)
    points = tuple(followed_points(context, study))
    return study.model_copy(update={"arms": arms}), report.model_copy(update={"points": points})


def unneeded(context: Context) -> set[str]:
    """Steps of the plan that nobody wants, since the arms that wanted them were stopped before."""
    plan = context.keys.plan
    reports = [_report(context, study) for study in plan.studies]
    if all(report.stop is None for report in reports):
        return set()
    followed = [followed_arm(context, study, arm) for study in plan.studies for arm in study.arms]
    wanted = {stage.train for arm in (*followed, *plan.models) for stage in arm.stages}
    wanted |= {point.score for study in plan.studies for point in followed_points(context, study)}
    asked = {point.score for report in reports for point in (*report.points, *report.ends)}
    asked |= {stage.train for study in plan.studies for arm in study.arms for stage in arm.stages}
    takers: dict[str, list[str]] = defaultdict(list)
    for description, step in plan.steps.items():
        for each in () if isinstance(step, Report) else step.inputs:
            takers[each].append(description)
    found: set[str] = set()
    for description in reversed(plan.steps):
        idle = (description in asked or description in takers) and found.issuperset(takers[description])
        if idle and description not in wanted:
            found.add(description)
    return found


def _followed(context: Context, study: PlannedStudy, arm: PlannedArm) -> Iterator[PlannedPoint]:
    report, stop = _report(context, study), stop_of(context, study, arm)
    own = [point for point in report.points if (point.arm, point.seed) == (arm.name, arm.seed)]
    if stop is None:
        yield from own
        return
    trains = [stage.train for stage in arm.stages]
    for point in own:
        assert point.train is not None
        begins = trains.index(point.train) > stop.index  # the input of a stage that never runs
        if not begins and _position(context, arm, point) <= (stop.index, stop.update):
            yield point
    told: set[str] = set()
    for point in report.ends:
        here = (point.arm, point.seed, point.train) == (arm.name, arm.seed, trains[stop.index])
        if here and point.eval not in told and _position(context, arm, point) == (stop.index, stop.update):
            told.add(point.eval)  # two moments may be one update
            yield point


def _holds(
    context: Context,
    study: PlannedStudy,
    stop: PlannedClaim,
    arm: PlannedArm,
    position: _Position,
    own: list[PlannedPoint],
) -> str | None:
    """What `stop` is judged by where it holds at a position, "" where it doesn't; None as long as that isn't known."""
    from runtime.evals.claims import Claim, judge

    report = _report(context, study)
    until = [point for point in own if _position(context, arm, point) <= position]
    beside = _beside(context, study, stop, arm)
    points = [_scored_point(context, point) for point in until]
    others = [_scored_point(context, point) for point in beside]
    known = [point for point in (*others, *points) if point is not None]
    if len(known) < len(points) + len(others):
        return None
    name = f"{study.report}/{arm.name}/{arm.seed}/{position}"
    if name not in context.judged:
        here = [
            replace(point, moment=END, last=True)
            for planned, point in zip(until, points, strict=True)
            if point is not None and _position(context, arm, planned) == position
        ]
        claim = Claim(stop.text, comparison_of(stop), stop.evals)
        judgement = judge(claim, [*known, *here], report.levels, arm.name)
        context.judged[name] = judgement.detail if judgement.outcome == "held" else ""
    return context.judged[name]


def _beside(context: Context, study: PlannedStudy, stop: PlannedClaim, arm: PlannedArm) -> list[PlannedPoint]:
    """The points of the arms that a running one is compared with, with its seed."""
    order = [each.name for each in study.arms]
    names = compared(comparison_of(stop), _report(context, study).levels)
    if arm.name in names:
        names = {name for name in names if order.index(name) < order.index(arm.name)}
    others = [each for each in study.arms if each.name in names and each.seed in (arm.seed, None)]
    points = (point for other in others for point in _followed(context, study, other))
    return [point for point in points if point.eval in set(stop.evals.values())]


def _scored_point(context: Context, planned: PlannedPoint) -> Point | None:
    """A point with its score, None where that isn't there yet."""
    from runtime.evals.points import Point

    scored = _scored(context, planned.score)
    if scored is None:
        return None
    return Point(
        arm=planned.arm,
        eval=planned.eval,
        stage=planned.stage,
        seed=planned.seed,
        step=0,
        tokens=0,
        scored=scored,
        moment=planned.moment,
        last=planned.last,
    )


def _scored(context: Context, score: str) -> Scored | None:
    from runtime.steps.evaluations import scored_of

    key = context.keys.of(score, context.files.digests)
    if key is None:
        return None
    if key not in context.scores:
        if context.store.find(key) is None:
            return None
        context.scores[key] = scored_of(context, score)
    return context.scores[key]


def _position(context: Context, arm: PlannedArm, point: PlannedPoint) -> _Position:
    assert point.train is not None
    index = next(index for index, stage in enumerate(arm.stages) if stage.train == point.train)
    if point.moment == START and index > 0:
        return _Position(index - 1, context.update(*_left(arm, index - 1)))
    return _Position(index, context.update(point.train, point.fires))


def _end(context: Context, arm: PlannedArm) -> _Position:
    return _Position(len(arm.stages) - 1, context.update(*_left(arm, -1)))


def _left(arm: PlannedArm, index: int) -> tuple[str, Moment]:
    """Where an arm leaves a stage: the train step and the moment of its run."""
    return arm.stages[index].train, arm.stages[index].end


def _study(context: Context, report: Report) -> PlannedStudy:
    return next(each for each in context.keys.plan.studies if _report(context, each) == report)


def _report(context: Context, study: PlannedStudy) -> Report:
    step = context.keys.plan.steps[study.report]
    assert isinstance(step, Report)
    return step
