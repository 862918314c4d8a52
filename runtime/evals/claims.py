"""Claims registered before the run: held, failed or undecided by the bootstrap of left less right."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, product
from typing import Any, Literal, cast

import numpy as np

from compiler.passes.points import moment
from dsl import values
from dsl.scalars import parse_text
from dsl.values import Arithmetic, Compare, Constant, EvalReference, Expression
from runtime.evals.points import AT_END, Place, Point, at_place, cells, is_untrained
from runtime.evals.scale import plural, scale
from runtime.evals.statistics import LEVEL, Aligned, Cell, Interval, align, band, common_seeds, less, replicates

Outcome = Literal["held", "failed", "undecided"]
_WORST_FIRST: tuple[Outcome, ...] = ("failed", "undecided", "held")


@dataclass(frozen=True)
class Claim:
    """A comparison as written, and parsed."""

    text: str
    comparison: Compare
    evals: Mapping[str, str] = field(default_factory=dict)
    """What the points call an evaluation that the comparison names otherwise."""


@dataclass(frozen=True)
class Judgement:
    """What became of a claim, and why in a sentence."""

    outcome: Outcome
    detail: str


Levels = Mapping[str, Mapping[str, str]]
"""Of each arm of a matrix: the level by factor."""


def judge(claim: Claim, points: Sequence[Point], levels: Levels | None = None, running: str | None = None) -> Judgement:
    """Judges a claim by the two-sided 95% interval of its left side less its right side.

    It held where the whole interval satisfies the comparison, failed where the whole interval contradicts it. All arms
    are resampled together, over the items and seeds that they share. `at=all` asks for all common points at once, by a
    simultaneous band: it fails where the band contradicts the comparison at one of them.

    Args:
        claim: parsed without mistakes, see `dsl.scalars`.
        points: of the whole study.
        levels: for claims that name factors; a factor left out averages over its levels.
        running: in `stop:`, the arm that an evaluation without one is of.
    """
    try:
        sample = _sample(claim, points, levels or {}, running)
    except _NoResult as reason:
        return Judgement("undecided", str(reason))
    values, drawn = (sample.sides(claim.comparison, results) for results in (sample.values, sample.drawn))
    if not all(np.isfinite(side).all() for side in (*values, *drawn)):
        return Judgement("undecided", "it divides by a result that may be zero")
    low, high = band(less(*drawn).T)
    outcomes = [_outcome(claim.comparison.operator, *ends) for ends in zip(low, high, strict=True)]
    outcome: Outcome = next(worst for worst in _WORST_FIRST if worst in outcomes)
    # Told is a point that decides it; where all hold, the one that came closest to not holding.
    told = outcomes.index(outcome) if outcome != "held" else int(np.argmin(np.maximum(low, -high)))
    left, right = (float(side[told, 0]) for side in values)
    gap = Interval(float(less(*values)[told, 0]), float(low[told]), float(high[told]), n=0)
    return Judgement(outcome, _detail(sample, told, (left, right), gap))


def _outcome(comparison: str, low: float, high: float) -> Outcome:
    """What the interval of left less right says of `left COMPARISON right`."""
    match comparison:
        case "<":
            held, failed = high < 0, low >= 0
        case "<=":
            held, failed = high <= 0, low > 0
        case ">":
            held, failed = low > 0, high <= 0
        case ">=":
            held, failed = low >= 0, high < 0
        case "==":
            held, failed = low == high == 0, low > 0 or high < 0
        case _:
            held, failed = low > 0 or high < 0, low == high == 0
    return "held" if held else "failed" if failed else "undecided"


class _NoResult(Exception):  # noqa: N818 (an outcome, not a mistake)
    """There are no results to judge by. The text says which."""


@dataclass(frozen=True)
class _Operand:
    """An evaluation as it stands in a claim."""

    eval: str
    arms: tuple[str, ...]
    """Averaged."""
    place: Place | None
    """None for all."""


_Column = tuple[str, str, Place]
"""Evaluation, arm and place of what is resampled."""


@dataclass(frozen=True)
class _Sample:
    """What a claim refers to, resampled together."""

    operands: Mapping[EvalReference, _Operand]
    places: tuple[Place, ...]
    """Where `at=all` is taken; a single one without."""
    values: Mapping[_Column, np.ndarray]
    """float64 `[1]`."""
    drawn: Mapping[_Column, np.ndarray]
    """float64 `[replicates]`."""
    aligned: Mapping[str, Aligned]
    """By evaluation."""

    def sides(self, comparison: Compare, results: Mapping[_Column, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Left and right, of `values` or of `drawn`: float64 `[places, 1 or replicates]`."""

        def result(reference: EvalReference, place: Place) -> np.ndarray:
            operand = self.operands[reference]
            return np.mean([results[operand.eval, arm, operand.place or place] for arm in operand.arms], axis=0)

        def at(place: Place) -> tuple[np.ndarray, ...]:
            sides = (comparison.left, comparison.right)
            return np.broadcast_arrays(*(_evaluate(side, partial(result, place=place)) for side in sides))

        with np.errstate(divide="ignore", invalid="ignore"):
            left, right = np.stack([at(place) for place in self.places], axis=1)
        return left, right


def _sample(claim: Claim, points: Sequence[Point], levels: Levels, running: str | None) -> _Sample:
    references = dict.fromkeys(chain(*map(_references, (claim.comparison.left, claim.comparison.right))))
    operands = {reference: _operand(reference, claim, levels, running) for reference in references}
    if not operands:
        raise _NoResult("it names no evaluation")
    own = {
        (operand.eval, arm): cells(points, arm, operand.eval) for operand in operands.values() for arm in operand.arms
    }
    for (evaluation, arm), found in own.items():
        if not found:
            raise _NoResult(f"{evaluation} has no result for {arm}")
    places = _places(operands.values(), own)
    needed: dict[str, dict[_Column, Cell]] = {}
    for operand, place in product(operands.values(), places):
        for arm in operand.arms:
            cell = at_place(own[operand.eval, arm], _of_arm(operand.place or place, arm, points))
            if cell is None:
                raise _NoResult(f"{operand.eval} has no result for {arm} at that point")
            needed.setdefault(operand.eval, {})[operand.eval, arm, operand.place or place] = cell
    seeds = common_seeds([cell for of_eval in needed.values() for cell in of_eval.values()])
    aligned = {evaluation: _aligned(evaluation, list(of.values()), seeds) for evaluation, of in needed.items()}
    drawn = {evaluation: replicates(of) for evaluation, of in aligned.items()}
    defined = np.logical_and.reduce([np.isfinite(of).all(axis=1) for of in drawn.values()])
    columns = [(column, index) for of in needed.values() for index, column in enumerate(of)]
    return _Sample(
        operands,
        places,
        values={column: aligned[column[0]].values()[[index]] for column, index in columns},
        drawn={column: drawn[column[0]][defined, index] for column, index in columns},
        aligned=aligned,
    )


def _operand(reference: EvalReference, claim: Claim, levels: Levels, running: str | None) -> _Operand:
    name = reference.name.text
    arguments = {argument.path: argument.text.strip("\"'") for argument in reference.arguments}
    at = arguments.pop("at", "end")
    if None in arguments:
        arms = (arguments[None],)
    elif not arguments and running is not None:
        arms = (running,)
    else:
        arms = tuple(arm for arm, of_arm in levels.items() if arguments.items() <= of_arm.items())
    if not arms:
        raise _NoResult(f"{name} names no arm of this study")
    return _Operand(claim.evals.get(name, name), arms, None if at == "all" else _place(at))


def _place(at: str) -> Place:
    (point,) = cast(tuple[values.Point], parse_text("when", at))
    return Place(point.of, moment(point))


def _of_arm(place: Place, arm: str, points: Sequence[Point]) -> Place:
    """`end of STAGE`, where that stage is the arm's last, is its end."""
    last = {point.stage for point in points if point.arm == arm and point.last}
    return Place(None, place.moment) if place.stage in last else place


def _places(operands: Iterable[_Operand], own: Mapping[tuple[str, str], Mapping[Place, Cell]]) -> tuple[Place, ...]:
    """The points that all operands with `at=all` have in common."""
    everywhere = [
        own[operand.eval, arm]
        for operand in operands
        if operand.place is None
        for arm in operand.arms
        if not is_untrained(own[operand.eval, arm])
    ]
    if not everywhere:
        return (AT_END,)
    common = tuple(place for place in everywhere[0] if all(place in found for found in everywhere))
    if not common:
        raise _NoResult("the arms have no points in common")
    return common


def _aligned(evaluation: str, of: Sequence[Cell], seeds: tuple[int | None, ...]) -> Aligned:
    aligned = align(of, seeds) if seeds else None
    if aligned is None:
        raise _NoResult(f"the arms have no scored items of {evaluation} in common")
    if len(aligned.items) == 1 and not aligned.rate:
        raise _NoResult(f"{evaluation} has a single item: its mean has no interval")
    return aligned


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def _evaluate(side: Expression, result: Callable[[EvalReference], np.ndarray]) -> np.ndarray:
    match side:
        case Constant(value=value):
            return np.array([float(value)])
        case EvalReference():
            return result(side)
        case Arithmetic():
            return _OPERATORS[side.operator](_evaluate(side.left, result), _evaluate(side.right, result))
        case _:
            raise TypeError(f"no claim is made of {type(side).__name__}")


def _references(side: Expression) -> Iterator[EvalReference]:
    match side:
        case EvalReference():
            yield side
        case Arithmetic():
            yield from _references(side.left)
            yield from _references(side.right)
        case _:
            pass


def _detail(sample: _Sample, told: int, sides: tuple[float, float], gap: Interval) -> str:
    aligned = list(sample.aligned.values())
    written = scale(all(of.rate for of in aligned), [gap])
    left, right = map(written.value, sides)
    assert gap.value is not None
    points = " points" if written.percent else ""
    shown = f"{written.bare(gap.value, '+')}{points}, {LEVEL:.0%} interval {written.interval(gap, '+')}"
    items = " and ".join(plural(len(of.items), "item") for of in aligned)
    seeds = plural(len(aligned[0].seeds), "seed")
    which = f"at point {told + 1} of {len(sample.places)}, jointly over all, " if len(sample.places) > 1 else ""
    return f"{which}left is {left}, right {right}; left less right {shown} ({items}, {seeds})"
