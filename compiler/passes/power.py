"""The smallest difference that each claim of a study could show, by its prompts, answers and seeds, before any is run.

A normal approximation of what the report's intervals need. Rates have the variance of one at a half, or at the rate
that the claim names. Nothing is known yet of how alike arms are on a prompt, so they are taken as independent: pairs
that agree need less of a difference. Nor of how alike answers to a prompt are: hence two bounds, all alike and all
independent. What seeds vary by themselves isn't in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, cast

from compiler.keys import Keys
from compiler.passes.stops import comparison_of
from compiler.plan import Plan
from compiler.steps import PlannedClaim, PlannedPoint, Report, Respond, Score
from dsl.flows import eval_references
from dsl.values import Arithmetic, Constant, EvalReference, Expression

LEVEL, POWER = 0.95, 0.8
WORST = 0.5
"""The rate that varies most."""

Slopes = Mapping[EvalReference, float]


@dataclass(frozen=True)
class _Asked:
    """How often an evaluation asks each arm with each seed."""

    prompts: int | None
    """None where the data isn't known yet."""
    samples: int
    rate: bool


def power(plan: Plan, keys: Keys) -> list[dict[str, Any]]:
    """Of each claim: `{study, claim, evals, seeds, level, power, smallest}`.

    `evals` is of each evaluation in it `{prompts, samples}`; `level` is what Holm's correction asks of the claim that
    is decided first. `smallest` is a list of `{rate, low, high}`: at arms' rates of `rate`, differences from `low` on
    (all answers independent) or from `high` on (answers to a prompt alike) are shown with a chance of `power`. It is
    empty where that isn't known: for means, before a first result; for quotients; where data is still to be made; over
    a single prompt, which has no interval.
    """
    return [
        _of_claim(plan, keys, study.name, claim, report)
        for study in plan.studies
        if isinstance(report := plan.steps.get(study.report), Report)
        for claim in report.claims
    ]


def _of_claim(plan: Plan, keys: Keys, study: str, claim: PlannedClaim, report: Report) -> dict[str, Any]:
    comparison = comparison_of(claim)
    references = list(dict.fromkeys(eval_references(comparison)))
    points = {each: list(_points(each, claim, report)) for each in references}
    asked = {each: _asked(plan, keys, of) for each, of in points.items() if of}
    seeds = [seen for of in points.values() if (seen := {point.seed for point in of if point.seed is not None})]
    common = sum(all(seed in seen for seen in seeds) for seed in seeds[0]) if seeds else 0
    level = 1 - (1 - LEVEL) / len(report.claims)
    sides = _slopes(comparison.left), _slopes(comparison.right)
    smallest: list[dict[str, float]] = []
    if None not in sides and asked and len(asked) == len(references):
        (left, shift), (right, against) = cast(tuple[tuple[Slopes, float], tuple[Slopes, float]], sides)
        slopes = {each: left.get(each, 0.0) - right.get(each, 0.0) for each in references}
        rates = [WORST, *_named(slopes, against - shift)]
        smallest = [found for rate in rates if (found := _smallest(slopes, asked, points, rate, common, level))]
    return {
        "study": study,
        "claim": claim.text,
        "evals": {
            of[0].eval: {"prompts": asked[each].prompts, "samples": asked[each].samples}
            for each, of in points.items()
            if of
        },
        "seeds": common,
        "level": level,
        "power": POWER,
        "smallest": smallest,
    }


def _points(reference: EvalReference, claim: PlannedClaim, report: Report) -> Iterator[PlannedPoint]:
    """Those of the arms that a reference names."""
    name = claim.evals.get(reference.name.text, reference.name.text)
    arms = {argument.text.strip("\"'") for argument in reference.arguments if argument.path is None}
    chosen = {
        (argument.path, argument.text.strip("\"'"))
        for argument in reference.arguments
        if argument.path not in (None, "at")
    }
    named = arms or {arm for arm, levels in report.levels.items() if chosen <= set(levels.items())}
    return (point for point in report.points if point.eval == name and point.arm in named)


def _asked(plan: Plan, keys: Keys, points: list[PlannedPoint]) -> _Asked:
    score = plan.steps.get(points[0].score)
    respond = plan.steps.get(score.respond) if isinstance(score, Score) else None
    if not isinstance(score, Score) or not isinstance(respond, Respond):
        return _Asked(None, 1, rate=False)
    samples = 1 if respond.answering is None else respond.answering.samples
    results = [keys.results.get(items) for items in respond.items]
    counts = [None if result is None else result.facts.get("examples") for result in results]
    known = [count for count in counts if count is not None]
    prompts = sum(known) if known and len(known) == len(counts) else None
    return _Asked(prompts, samples, score.metric.startswith("rate("))


def _slopes(side: Expression) -> tuple[Slopes, float] | None:
    """A side as a sum of results times numbers, and a number; None where it is none."""
    match side:
        case Constant(value=value):
            return None if isinstance(value, str) else ({}, float(value))
        case EvalReference():
            return {side: 1.0}, 0.0
        case Arithmetic():
            left, right = _slopes(side.left), _slopes(side.right)
            return None if left is None or right is None else _combined(side.operator, left, right)
        case _:
            return None


def _combined(operator: str, left: tuple[Slopes, float], right: tuple[Slopes, float]) -> tuple[Slopes, float] | None:
    def scaled(side: tuple[Slopes, float], by: float) -> tuple[Slopes, float]:
        return {each: slope * by for each, slope in side[0].items()}, side[1] * by

    match operator:
        case "+" | "-":
            other = scaled(right, 1.0 if operator == "+" else -1.0)
            both = dict.fromkeys((*left[0], *other[0]))
            slopes = {each: left[0].get(each, 0.0) + other[0].get(each, 0.0) for each in both}
            return slopes, left[1] + other[1]
        case "*" if not right[0]:
            return scaled(left, right[1])
        case "*" if not left[0]:
            return scaled(right, left[1])
        case "/" if not right[0] and right[1]:
            return scaled(left, 1 / right[1])
        case _:
            return None


def _named(slopes: Slopes, constant: float) -> list[float]:
    """The rate that a claim holds its only result against."""
    ((slope,),) = (tuple(slopes.values()),) if len(slopes) == 1 else ((0.0,),)
    rate = constant / slope if slope else 0.0
    return [rate] if 0 < rate < 1 and rate != WORST else []


def _smallest(
    slopes: Slopes,
    asked: Mapping[EvalReference, _Asked],
    points: Mapping[EvalReference, list[PlannedPoint]],
    rate: float,
    seeds: int,
    level: float,
) -> dict[str, float] | None:
    alike = independent = 0.0
    for each, slope in slopes.items():
        prompts = asked[each].prompts
        if not asked[each].rate or prompts is None or prompts < 2:
            return None
        arms = len({point.arm for point in points[each]})  # the average of so many
        seeded = any(point.seed is not None for point in points[each])
        variance = slope**2 * rate * (1 - rate) / (prompts * arms)
        alike += variance
        independent += variance / (asked[each].samples * (seeds if seeded else 1))
    reach = NormalDist().inv_cdf((1 + level) / 2) + NormalDist().inv_cdf(POWER)
    return {"rate": rate, "low": reach * sqrt(independent), "high": reach * sqrt(alike)}
