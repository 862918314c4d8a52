"""Points of stages as moments: what a spec counts in epochs or completions is counted in what batches hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

from compiler.keys import total_of, update_at
from compiler.passes.build import Build, UnbuiltError, measure
from compiler.passes.stages import objective as objective_of
from compiler.plan import PlannedStage
from compiler.stages import GRPO, Objective
from compiler.steps import Order, Pack, Train
from compiler.values import END, Measure, Moment
from dsl.declarations.training import Train as Stage
from dsl.values import Point, Quantity

START = Moment(kind="fraction", value="0")


def end_of(build: Build, stage: Stage, pack: str) -> Moment:
    """Where a flow leaves a stage: at its end, or at the point of the same run that `until` names."""
    match stage.until:
        case None:
            return END
        case Fraction():
            point = Point("fraction", stage.until)
        case Quantity():
            point = Point("quantity", stage.until)
    (end,) = moments(build, objective_of(stage), pack, (point,))
    return end


def moments(build: Build, objective: Objective, pack: str, points: Iterable[Point]) -> list[Moment]:
    """The moments of a stage with a given `pack` step. `every` is without the start and with the end; one in steps or
    tokens waits for the data. `start` is the fraction 0: the stage's input."""
    group = objective.group if isinstance(objective, GRPO) else 1
    found: dict[Moment, None] = {}
    for point in points:
        value = _counted(build, pack, group, point.value) if isinstance(point.value, Quantity) else point.value
        counted = replace(point, value=value)
        each = _repeated(build.packed.get(pack), value) if point.every else [moment(counted)]
        found |= dict.fromkeys(each)
    return list(found)


def of_arm(build: Build, stage: PlannedStage, points: Iterable[Point]) -> list[Moment]:
    """The moments of an arm's stage, up to where the arm leaves its run, which is `END` here.

    What comes `every` so often stops there; a point by itself that lies behind stays, for `verify` to find.
    """
    train = build.steps[stage.train]
    assert isinstance(train, Train)
    facts = build.packed.get(train.pack)
    found: dict[Moment, None] = {}
    for point in points:
        for each in moments(build, train.objective, train.pack, (point,)):
            if point.every and each != END and is_past(each, stage.end, facts):
                continue
            found[END if each == stage.end else each] = None
    return list(found)


def is_past(moment: Moment, end: Moment, facts: Mapping[str, Any] | None) -> bool:
    """Whether a moment comes after another, as far as that is known. Without `facts` of the packed data it is known of
    two fractions, and of two quantities of a unit."""
    if facts is not None:
        return update_at(moment, facts) > update_at(end, facts)
    match moment.value, end.value:
        case str(one), str(other):
            return Fraction(one) > Fraction(other)
        case Measure(count=one, unit=unit), Measure(count=other, unit=same) if unit == same:
            return Fraction(one) > Fraction(other)
        case _:
            return False


def moment(point: Point) -> Moment:
    """A point that fires once, as it is written."""
    match point.value:
        case None:
            return START if point.kind == "start" else END
        case Quantity():
            return Moment(kind="quantity", value=measure(point.value))
        case share:
            return END if share == 1 else Moment(kind="fraction", value=str(share))


def _counted(build: Build, pack: str, group: int, quantity: Quantity) -> Fraction | Quantity:
    """A quantity of a stage in what its batches hold: completions by their prompts, epochs by the stage's length."""
    if quantity.unit == "completions":
        return Quantity(Fraction(ceil(quantity.count / group)), "prompts")
    if quantity.unit != "epochs":
        return quantity
    packed = build.steps[pack]
    assert isinstance(packed, Pack)
    order = build.steps[packed.order]
    assert isinstance(order, Order)
    if order.length is None:
        return quantity.count
    if order.length.unit == "epochs":
        return quantity.count / Fraction(order.length.count)
    raise UnbuiltError(
        f"a point in epochs of a stage whose length is in {order.length.unit}", build.places[packed.place]
    )


def _repeated(facts: Mapping[str, Any] | None, period: Fraction | Quantity | None) -> list[Moment]:
    if isinstance(period, Fraction):
        shares = (Point("fraction", period * number) for number in range(1, int(1 / period) + 1))
        return [*(moment(share) for share in shares), END]
    assert isinstance(period, Quantity)
    if facts is None:
        return [END]
    moments = [
        Moment(kind="quantity", value=measure(Quantity(period.count * number, period.unit)))
        for number in range(1, int(total_of(period.unit, facts) / period.count) + 1)
    ]
    return [*(each for each in moments if update_at(each, facts) < facts["updates"]), END]
