"""What a claim compares: its left side less its right side, with how it depends on results, at each of its points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import cast

import numpy as np

from compiler.passes.points import moment
from dsl import values
from dsl.scalars import parse_text
from dsl.values import Arithmetic, Compare, Constant, EvalReference, Expression
from runtime.evals.aligned import Aligned, Cell, align, common_seeds
from runtime.evals.gaps import Gap, Part
from runtime.evals.points import AT_END, Place, Point, at_place, cells, is_untrained

Levels = Mapping[str, Mapping[str, str]]
"""Of each arm of a matrix: the level by factor."""


class NoResult(Exception):  # noqa: N818 (an outcome, not a mistake)
    """There are no results to judge by. The text says which."""


@dataclass(frozen=True)
class Claim:
    """A comparison as written, and parsed."""

    text: str
    comparison: Compare
    evals: Mapping[str, str] = field(default_factory=dict)
    """What the points call an evaluation that the comparison names otherwise."""


@dataclass(frozen=True)
class Sides:
    """Both sides of a claim at one point."""

    left: float
    right: float
    gap: Gap
    """Left less right."""


def sides(claim: Claim, points: Sequence[Point], levels: Levels, running: str | None, level: float) -> list[Sides]:
    """What a claim compares: at one point, or with `at=all` at each that its arms have in common.

    Raises NoResult.

    Args:
        claim: parsed without mistakes, see `dsl.scalars`.
        points: of the whole study.
        levels: for claims that name factors; a factor left out averages over its levels.
        running: in `stop:`, the arm that an evaluation without one is of.
        level: of the interval that must not hold zero where something is divided by.
    """
    references = dict.fromkeys(chain(*map(_references, (claim.comparison.left, claim.comparison.right))))
    operands = {reference: _operand(reference, claim, levels, running) for reference in references}
    if not operands:
        raise NoResult("it names no evaluation")
    own = {
        (operand.eval, arm): cells(points, arm, operand.eval) for operand in operands.values() for arm in operand.arms
    }
    for (evaluation, arm), found in own.items():
        if not found:
            raise NoResult(f"{evaluation} has no result for {arm}")
    places = _places(operands.values(), own)
    needed: dict[str, dict[_Column, Cell]] = {}
    for operand, place in product(operands.values(), places):
        for arm in operand.arms:
            cell = at_place(own[operand.eval, arm], _of_arm(operand.place or place, arm, points))
            if cell is None:
                raise NoResult(f"{operand.eval} has no result for {arm} at that point")
            needed.setdefault(operand.eval, {})[operand.eval, arm, operand.place or place] = cell
    seeds = common_seeds([cell for of_eval in needed.values() for cell in of_eval.values()])
    aligned = {evaluation: _aligned(evaluation, list(of.values()), seeds) for evaluation, of in needed.items()}
    results = {
        column: float(aligned[evaluation].values()[index])
        for evaluation, of in needed.items()
        for index, column in enumerate(of)
    }

    def gap(number: _Number) -> Gap:
        parts = (
            Part(of, np.array([number.slopes.get(column, 0.0) for column in needed[evaluation]]))
            for evaluation, of in aligned.items()
        )
        return Gap(number.value, tuple(parts), number.linear)

    def divisible(number: _Number) -> bool:
        ends = gap(number).interval(level) if number.slopes else (number.value, number.value)
        return ends is not None and not ends[0] <= 0 <= ends[1]

    def at(place: Place) -> Sides:
        def result(reference: EvalReference) -> _Number:
            operand = operands[reference]
            columns = [(operand.eval, arm, operand.place or place) for arm in operand.arms]
            share = 1 / len(columns)
            return _Number(sum(results[column] for column in columns) * share, dict.fromkeys(columns, share))

        left, right = (_evaluate(side, result, divisible) for side in (claim.comparison.left, claim.comparison.right))
        return Sides(left.value, right.value, gap(_less(left, right)))

    return [at(place) for place in places]


_Column = tuple[str, str, Place]
"""Evaluation, arm and place of a result."""


@dataclass(frozen=True)
class _Operand:
    """An evaluation as it stands in a claim."""

    eval: str
    arms: tuple[str, ...]
    """Averaged."""
    place: Place | None
    """None for all."""


@dataclass(frozen=True)
class _Number:
    """A number and how it changes with each result."""

    value: float
    slopes: Mapping[_Column, float] = field(default_factory=dict)
    linear: bool = True


def _sum(left: _Number, right: _Number, at_left: float, at_right: float, value: float, linear: bool) -> _Number:
    """What two numbers give whose changes count so much."""
    slopes = {
        column: at_left * left.slopes.get(column, 0.0) + at_right * right.slopes.get(column, 0.0)
        for column in dict.fromkeys((*left.slopes, *right.slopes))
    }
    return _Number(value, slopes, linear and left.linear and right.linear)


def _less(left: _Number, right: _Number) -> _Number:
    """Exactly 0 where they differ by rounding only."""
    value = left.value - right.value
    value = 0.0 if abs(value) <= 1e-12 * (abs(left.value) + abs(right.value)) else value
    return _sum(left, right, 1.0, -1.0, value, True)


def _evaluate(
    side: Expression, result: Callable[[EvalReference], _Number], divisible: Callable[[_Number], bool]
) -> _Number:
    match side:
        case Constant(value=value):
            return _Number(float(value))
        case EvalReference():
            return result(side)
        case Arithmetic():
            left, right = (_evaluate(each, result, divisible) for each in (side.left, side.right))
        case _:
            raise TypeError(f"no claim is made of {type(side).__name__}")
    match side.operator:
        case "+":
            return _sum(left, right, 1.0, 1.0, left.value + right.value, True)
        case "-":
            return _less(left, right)
        case "*":
            one = not left.slopes or not right.slopes
            return _sum(left, right, right.value, left.value, left.value * right.value, one)
        case "/":
            if not divisible(right):
                raise NoResult("it divides by a result that may be zero")
            ratio = left.value / right.value
            return _sum(left, right, 1 / right.value, -ratio / right.value, ratio, not right.slopes)
        case _:
            raise ValueError(f"no operator {side.operator}")


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
        raise NoResult(f"{name} names no arm of this study")
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
        raise NoResult("the arms have no points in common")
    return common


def _aligned(evaluation: str, of: Sequence[Cell], seeds: tuple[int | None, ...]) -> Aligned:
    aligned = align(of, seeds) if seeds else None
    if aligned is None:
        raise NoResult(f"the arms have no scored items of {evaluation} in common")
    if len(aligned.items) == 1:
        raise NoResult(f"{evaluation} has a single item: there is no interval over items, however often it was asked")
    return aligned


def _references(side: Expression) -> Iterator[EvalReference]:
    match side:
        case EvalReference():
            yield side
        case Arithmetic():
            yield from _references(side.left)
            yield from _references(side.right)
        case _:
            pass
