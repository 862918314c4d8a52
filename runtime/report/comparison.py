"""Several studies side by side: the same evaluations, equally named arms, and what differs in what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runtime.evals.points import AT_END, Point, at_place, cells
from runtime.evals.scale import Scale, scale
from runtime.evals.score import is_rate
from runtime.evals.statistics import LEVEL, Interval, difference, estimate
from runtime.report.results import BASE
from runtime.report.study_report import StudyReport


@dataclass(frozen=True)
class Side:
    """One study."""

    report: StudyReport
    points: Sequence[Point]
    measures: Mapping[str, Mapping[str, str]]
    """How each evaluation measures, in words, by what of it: its metric, its items, its judge."""

    @property
    def name(self) -> str:
        return self.report.results.study


@dataclass(frozen=True)
class ComparedArm:
    """An arm that at least two studies have, at its end, over all seeds."""

    arm: str
    values: tuple[Interval | None, ...]
    """A study each; None where it has no such arm."""
    differences: tuple[Interval | None, ...]
    """Every further study less the first, paired by item; None where they can't be compared."""


@dataclass(frozen=True)
class ComparedEval:
    """An evaluation that at least two studies have."""

    eval: str
    metric: str
    """Of the first that has it."""
    arms: tuple[ComparedArm, ...]
    problems: tuple[str, ...]
    """Why values of two studies don't mean the same, in words."""
    scale: Scale
    difference_scale: Scale


@dataclass(frozen=True)
class Changed:
    """Something that the studies rest on and that isn't the same in all."""

    what: str
    values: tuple[str | None, ...]
    """A study each; None where it hasn't got it."""


@dataclass(frozen=True)
class Comparison:
    """Studies in the order in which they were named."""

    studies: tuple[str, ...]
    questions: tuple[str | None, ...]
    evals: tuple[ComparedEval, ...]
    alone: tuple[str, ...]
    """Evaluations and arms that only one study has, in words."""
    changed: tuple[Changed, ...]


def compare(sides: Sequence[Side]) -> Comparison:
    """Compares the studies with the first of them."""
    evals = dict.fromkeys(point.eval for side in sides for point in side.points)
    shared = [eval for eval in evals if sum(_has(side, eval) for side in sides) > 1]
    return Comparison(
        studies=tuple(side.name for side in sides),
        questions=tuple(side.report.question for side in sides),
        evals=tuple(_eval(sides, eval) for eval in shared),
        alone=tuple(_alone(sides, [eval for eval in evals if eval not in shared])),
        changed=tuple(_changed(sides)),
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Intervals are at `level`; `differences` are of every further study less the first."""
    return {
        "studies": list(comparison.studies),
        "level": LEVEL,
        "evals": [
            {
                "eval": each.eval,
                "metric": each.metric,
                "comparable": not each.problems,
                "problems": list(each.problems),
                "arms": [
                    {
                        "arm": arm.arm,
                        "values": [one and asdict(one) for one in arm.values],
                        "differences": [one and asdict(one) for one in arm.differences],
                    }
                    for arm in each.arms
                ],
            }
            for each in comparison.evals
        ],
        "alone": list(comparison.alone),
        "changed": [{"what": one.what, "values": list(one.values)} for one in comparison.changed],
    }


def _has(side: Side, eval: str, arm: str | None = None) -> bool:
    return any(point.eval == eval and arm in (None, point.arm) for point in side.points)


def _eval(sides: Sequence[Side], eval: str) -> ComparedEval:
    problems = tuple(_problems(sides, eval))
    arms = sorted(
        dict.fromkeys(point.arm for side in sides for point in side.points if point.eval == eval),
        key=lambda arm: arm != BASE,
    )
    compared = tuple(_arm(sides, eval, arm, comparable=not problems) for arm in arms)
    metric = next(point.scored.metric for side in sides for point in side.points if point.eval == eval)
    values = [one for arm in compared for one in arm.values if one is not None]
    differences = [one for arm in compared for one in arm.differences if one is not None]
    rate = is_rate(metric)
    return ComparedEval(eval, metric, compared, problems, scale(rate, values), scale(rate, differences))


def _arm(sides: Sequence[Side], eval: str, arm: str, *, comparable: bool) -> ComparedArm:
    ends = [at_place(cells(side.points, arm, eval), AT_END) for side in sides]
    first, *others = ends
    differences = (None if first is None or not comparable else _less(other, first) for other in others)
    return ComparedArm(arm, tuple(cell and estimate(cell) for cell in ends), tuple(differences))


def _less(other: Any, first: Any) -> Interval | None:
    if other is None:
        return None
    interval = difference(other, first)
    return None if interval.value is None else interval


def _problems(sides: Sequence[Side], eval: str) -> list[str]:
    """What of an evaluation another study measures otherwise than the first that has it."""
    first, *others = [side for side in sides if _has(side, eval)]
    return [told for side in others for told in _unlike(first, side, eval)]


def _unlike(first: Side, side: Side, eval: str) -> Iterator[str]:
    ours, theirs = first.measures.get(eval, {}), side.measures.get(eval, {})
    for what in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(what, "none"), theirs.get(what, "none")
        if one != other:
            yield f"another {what} in {side.name}: {other}, in {first.name} {one}"


def _alone(sides: Sequence[Side], evals: Sequence[str]) -> list[str]:
    told = [f"the evaluation {eval} of {side.name}" for eval in evals for side in sides if _has(side, eval)]
    arms = {arm: None for side in sides for arm in (point.arm for point in side.points)}
    for arm in arms:
        having = [side.name for side in sides if any(point.arm == arm for point in side.points)]
        if len(having) == 1:
            told.append(f"the arm {arm} of {having[0]}")
    return told


def _changed(sides: Sequence[Side]) -> list[Changed]:
    """Files, versions and token streams that aren't the same."""
    found: list[Changed] = []
    for of in (_files, _streams, lambda side: dict(side.report.versions)):
        known = [of(side) for side in sides]
        for what in dict.fromkeys(name for each in known for name in each):
            values = tuple(each.get(what) for each in known)
            if len(set(values)) > 1:
                found.append(Changed(what, values))
    return found


def _files(side: Side) -> dict[str, str]:
    return {each.location: ", ".join(file[:12] for file in each.files) for each in side.report.pinned}


def _streams(side: Side) -> dict[str, str]:
    return {
        f"tokens of {mix['name']} in {mix['train']}, seed {mix['seed']}": mix["digest"][:12]
        for mix in side.report.mixes
        if mix["digest"]
    }
