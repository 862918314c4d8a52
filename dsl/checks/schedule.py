"""Rules for when a study measures, and whether an eval is measured at a point."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.checks.arms import flows_of, names_of, stage_names, stages_of
from dsl.checks.finding import Finding, at, key_place, title
from dsl.checks.lengths import LENGTH_UNITS
from dsl.checks.training import length_of, quantity
from dsl.declarations.base import Place
from dsl.declarations.models import ModelFlow
from dsl.declarations.studies import Study
from dsl.declarations.training import Train
from dsl.describe import alternatives, known_help
from dsl.hole import HOLE
from dsl.unparse import unparse
from dsl.values import Point, Quantity


def stages_are_there(study: Study) -> Iterator[Finding]:
    """A point `of STAGE` names a stage that an arm has."""
    for point, place, _ in _points(study):
        if point.of is not None and point.of not in (known := stage_names(flows_of(study).values())):
            yield Finding(f"no arm of {title(study)} has a stage '{point.of}'", place, known_help(point.of, known))


def points_come(study: Study) -> Iterator[Finding]:
    """A point in steps or tokens comes in at least one arm."""
    for point, place, name in _points(study):
        lengths = [length_of(stage) for stage in _timed(study, point)] if isinstance(point.value, Quantity) else []
        if not isinstance(point.value, Quantity) or not lengths:
            continue
        known = [one.count for one in lengths if one is not None and one.unit == point.value.unit]
        if len(known) == len(lengths) and max(known) < point.value.count:
            longest = quantity(Quantity(max(known), point.value.unit))
            message = f"{name} is due at {quantity(point.value)}, and no arm is longer than {longest}"
            yield Finding(message, place, "write an earlier point, or a percent")


def points_fit_objective(study: Study) -> Iterator[Finding]:
    """A point is counted in what its stages have: rollouts have no examples, and chats no completions."""
    for point, place, name in _points(study):
        if not isinstance(point.value, Quantity):
            continue
        for stage in _timed(study, point):
            units = LENGTH_UNITS[stage.objective.__class__]
            if point.value.unit not in units:
                message = f"{name} is due at {quantity(point.value)}, and {title(stage)} isn't counted in that"
                yield Finding(message, place, f"count in {alternatives(units)}, or write a percent")
                break


def evals_are_done(study: Study) -> Iterator[Finding]:
    """Each eval of a study is done at least once, at points that models without a stage have."""
    for index, scheduled in enumerate(study.evals):
        if scheduled.when is not HOLE and not scheduled.when:
            path = entry(study, index)
            place = key_place(study, path, "evals")
            help = "write 'end' or other points, or leave it out"
            yield Finding(f"{scheduled.eval.name} in {title(study)} is never done", place, help)
    for point, place, name in _points(study):
        is_along = point.kind in ("fraction", "quantity") and point.of is None
        if is_along and not any(map(stages_of, flows_of(study).values())):
            message = f"{name} is due at '{unparse((point,))}', and nothing in {title(study)} is trained"
            yield Finding(message, place, "write 'end': a model without a stage is measured once")


def entry(study: Study, index: int) -> str:
    """The path of an eval in the places of a study."""
    if f"evals[{index}]" in study.places:
        return f"evals[{index}]"
    keys = [path for path in study.places if path.startswith("evals.") and "[" not in path]
    return keys[index] if len(keys) == len(study.evals) else "evals"


def is_measured(when: tuple[Point, ...], wanted: Point, last: set[str]) -> bool:
    """Whether a point is among those of a schedule; `last` is what the last stage of its arms may be called."""
    ours = _plain(wanted)
    return any(_covers(_plain(one), ours) for one in when if _same_stage(one.of, wanted.of, last))


def _points(study: Study) -> Iterator[tuple[Point, Place, str]]:
    """The points of a study's evals, each with its place and the eval's name."""
    for index, scheduled in enumerate(study.evals):
        if scheduled.eval is HOLE or scheduled.when is HOLE:
            continue
        path = entry(study, index)
        for number, point in enumerate(scheduled.when):
            yield point, at(study, f"{path}[{number}]", path, "evals"), scheduled.eval.name


def _timed(study: Study, point: Point) -> list[Train]:
    """The stages in which a point may come, one an arm: the one that it names, else the last."""
    return [stage for flow in flows_of(study).values() for stage in _stages(flow, point)[-1:]]


def _stages(flow: ModelFlow, point: Point) -> list[Train]:
    return [stage for stage in stages_of(flow) if point.of is None or point.of in names_of(stage.name)]


def _plain(point: Point) -> Point:
    """A point in one form: 100% is the end, 0% the start."""
    if point.kind == "fraction" and not point.every and point.value in (0, 1):
        return Point("end" if point.value else "start", of=point.of)
    return point


def _same_stage(one: str | None, other: str | None, last: set[str]) -> bool:
    if one is None or other is None:
        return one is other or (one or other) in last
    return one.rpartition(".")[2] == other.rpartition(".")[2]


def _covers(done: Point, wanted: Point) -> bool:
    """Whether what is done at one point, or `every` so often, is done at another of the same stage."""
    if not done.every:
        return (done.kind, done.value) == (wanted.kind, wanted.value)
    match done.value, wanted.value:
        case Quantity(period, unit), Quantity(count, other):
            return unit == other and count % period == 0
        case Quantity(), _:
            return wanted.kind == "end"
        case period, None:
            return period is not None and wanted.kind == "end"
        case _, Quantity():
            return False
        case period, share:
            return period is not None and share % period == 0
