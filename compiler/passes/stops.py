"""Where a study's `stop` may end an arm, and the steps that then stand for what is evaluated at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from compiler.passes.build import Build
from compiler.passes.points import START
from compiler.plan import PlannedArm
from compiler.steps import PlannedClaim, PlannedPoint, Respond, Score
from compiler.values import END, ModelPoint, Moment
from dsl.flows import eval_references
from dsl.scalars import parse_text
from dsl.values import Compare, EvalReference


def comparison_of(claim: PlannedClaim) -> Compare:
    return cast(Compare, parse_text("claim", claim.text))


def watched(stop: PlannedClaim) -> frozenset[str]:
    """The evaluations of the running arm that it is judged by whenever all of them are done at one moment.

    Those that the claim takes as they are then; where it names a point for each (`margin(at=50%)`), these.
    """
    own = [each for each in eval_references(comparison_of(stop)) if _is_running(each)]
    now = [each for each in own if not each.arguments]
    return frozenset(stop.evals.get(each.name.text, each.name.text) for each in now or own)


def compared(comparison: Compare, levels: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """The arms that a `stop` compares the running one with. `levels` are those of every arm, by factor."""
    found: set[str] = set()
    for each in eval_references(comparison):
        if _is_running(each):
            continue
        arms = {argument.text for argument in each.arguments if argument.path is None}
        chosen = {(argument.path, argument.text) for argument in each.arguments if argument.path not in (None, "at")}
        found |= arms or {arm for arm, of_arm in levels.items() if chosen <= set(of_arm.items())}
    return frozenset(found)


def _is_running(reference: EvalReference) -> bool:
    return all(argument.path == "at" for argument in reference.arguments)


def ends(build: Build, arm: PlannedArm, points: Sequence[PlannedPoint], stop: PlannedClaim) -> list[PlannedPoint]:
    """What stands for the evaluations at an arm's end, at each moment at which `stop` may end it before."""
    at_end = [point for point in points if point.last and point.moment == END]
    return [
        point.model_copy(
            update={
                "stage": arm.stages[index].name,
                "train": arm.stages[index].train,
                "end": when,
                "score": _moved(build, point.score, ModelPoint(step=arm.stages[index].train, at=when)),
            }
        )
        for index, when in dict.fromkeys(_moments(arm, points, watched(stop)))
        for point in at_end
    ]


def _moments(arm: PlannedArm, points: Iterable[PlannedPoint], evals: frozenset[str]) -> Iterator[tuple[int, Moment]]:
    """Indices of stages with moments, from the first one after the arm begins until before its end."""
    trains = [stage.train for stage in arm.stages]
    for point in points:
        if point.train is None or point.eval not in evals:
            continue
        index = trains.index(point.train)
        if point.moment == START and index > 0:
            yield index - 1, arm.stages[index - 1].end
        elif point.moment != START and not (point.last and point.moment == END):
            yield index, point.fires


def _moved(build: Build, score: str, model: ModelPoint) -> str:
    """The same evaluation of another model of the arm."""
    scored = build.steps[score]
    assert isinstance(scored, Score)
    respond = build.steps[scored.respond]
    assert isinstance(respond, Respond)
    if respond.answering is None:
        moved = respond.model_copy(update={"model": model})
    else:
        asked = respond.answering.model.model_copy(update={"point": model})
        moved = respond.model_copy(update={"answering": respond.answering.model_copy(update={"model": asked})})
    return build.add(scored.model_copy(update={"respond": build.add(moved)}))
