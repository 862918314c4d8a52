"""The steps gathered so far, and how values of the language are written in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from compiler.keys import description_key, update_at
from compiler.steps import AnyStep, Train
from compiler.values import END, Measure, Moment, Share
from dsl.declarations.base import Declaration, Place
from dsl.values import Amount, Point, Quantity


class UnbuiltError(Exception):
    """A declaration asks for something that the language has and this version doesn't run yet."""

    def __init__(self, what: str, place: Place) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


class NoReaderError(Exception):
    """Tokens are to be counted, and no model is named that would read them."""


@dataclass(frozen=True)
class Consumer:
    """Who reads a source: the tokenizer and chat template of a `weights` step, and the loss that it is read for."""

    weights: str
    loss: str | None
    """None: all tokens of documents, the assistant's of chats."""
    template_args: dict[str, str]
    reasoning: Literal["train", "mask"] = "train"

    def trains(self, format_: str) -> str:
        """The loss for a source of a format."""
        return self.loss or ("all" if format_ == "documents" else "assistant")


@dataclass
class Build:
    """Steps as they are asked for; asking twice for the same gives the same.

    `root` is the folder that locations are written relative to in descriptions. `packed` are the facts of `pack` steps
    known so far, by description key.
    """

    root: Path
    packed: Mapping[str, Mapping[str, Any]]
    steps: dict[str, AnyStep] = field(default_factory=dict[str, AnyStep])
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    """Every place that steps name, by its text."""

    def add(self, step: AnyStep) -> str:
        """The description key of `step`, which is in the plan from now on.

        Who shares a train step shares what it keeps.
        """
        key = description_key(step)
        known = self.steps.setdefault(key, step)
        if isinstance(step, Train) and isinstance(known, Train):
            kept = tuple(dict.fromkeys((*known.checkpoint, *step.checkpoint)))
            self.steps[key] = known.model_copy(update={"checkpoint": kept})
        return key

    def location(self, location: str) -> str:
        """A location as it stands in descriptions: a URI, or a path relative to the root where it lies below it."""
        path = Path(location)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else location

    def place(self, declaration: Declaration, written: str = "") -> str:
        """FILE:LINE:COLUMN of a field, or of its declaration where it isn't written."""
        place = place_of(declaration, written)
        self.places[str(place)] = place
        return str(place)


def place_of(declaration: Declaration, written: str = "") -> Place:
    """Where a field is written, or its declaration where it isn't."""
    return declaration.places.get(written, declaration.place)


def bare(name: str) -> str:
    """A declaration's own name without the alias of its import, which differs from file to file."""
    return name.rsplit(".", 1)[-1] if not name.endswith(".holdout") else ".".join(name.split(".")[-2:])


def measure(quantity: Quantity) -> Measure:
    return Measure(count=str(quantity.count), unit=quantity.unit)


def measure_or_fraction(value: Quantity | Fraction) -> Measure | str:
    return measure(value) if isinstance(value, Quantity) else str(value)


def share(amount: Amount) -> Share:
    return Share(kind=amount.kind, value=None if amount.value is None else measure_or_fraction(amount.value))


def moment(point: Point) -> Moment:
    """A point that fires once. `start` is the fraction 0: the stage's input."""
    match point.kind, point.value:
        case "fraction" | "quantity", Fraction() | Quantity() as value:
            return Moment(kind=point.kind, value=measure_or_fraction(value))
        case "start", _:
            return Moment(kind="fraction", value="0")
        case _:
            return Moment(kind="end")


def moments(build: Build, pack: str, points: Iterable[Point]) -> list[Moment]:
    """The moments of a stage with a given `pack` step. `every` is without the start and with the end; one in steps or
    tokens waits for the data."""
    found: dict[Moment, None] = {}
    for point in points:
        for each in _repeated(build.packed.get(pack), point.value) if point.every else [moment(point)]:
            found[END if each == Moment(kind="fraction", value="1") else each] = None
    return list(found)


def _repeated(facts: Mapping[str, Any] | None, period: Fraction | Quantity | None) -> list[Moment]:
    if isinstance(period, Fraction):
        return [Moment(kind="fraction", value=str(period * number)) for number in range(1, int(1 / period) + 1)] + [END]
    assert isinstance(period, Quantity)
    if facts is None:
        return [END]
    total = facts["updates"] if period.unit == "steps" else facts[period.unit.replace(" ", "_")]
    moments = [
        Moment(kind="quantity", value=Measure(count=str(period.count * number), unit=period.unit))
        for number in range(1, int(total / period.count) + 1)
    ]
    return [each for each in moments if update_at(each, facts) < facts["updates"]] + [END]
