"""What is wanted of each source, added up exactly and only then rounded to rows of its stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from runtime.data.streams import CountUnit, Stream
from runtime.errors import UserError

Wants = dict[int, dict[CountUnit, Fraction]]
"""What is wanted of each source, by the unit in which it was said."""


def add(wants: Wants, more: Wants) -> None:
    """Adds `more` to `wants`, in place."""
    for source, amounts in more.items():
        of_source = wants.setdefault(source, {})
        for unit, amount in amounts.items():
            of_source[unit] = of_source.get(unit, Fraction(0)) + amount


def counts_of(
    streams: Sequence[Stream],
    wants: Wants,
    used: NDArray[np.int64],
    taken: NDArray[np.int64],
    max_epochs: Fraction,
) -> tuple[NDArray[np.int64], dict[int, Short]]:
    """Rows of each source, of which `taken` are taken already, at most `max_epochs` of each; and sources that lack."""
    counts = np.zeros(len(streams), np.int64)
    short: dict[int, Short] = {}
    for source, amounts in wants.items():
        stream, start = streams[source], int(used[source])
        count = _count(stream, start, amounts)
        room = max(floor(max_epochs * len(stream.source)) - int(taken[source]), 0)
        counts[source] = min(count, room)
        if count > room:
            unit, wanted = next(iter(amounts.items())) if len(amounts) == 1 else ("examples", Fraction(count))
            there = stream.amount(start, start + room, unit)
            if wanted - there >= stream.source.longest(unit):
                epochs = ceil(Fraction(int(taken[source]) + count, len(stream.source)))
                short[source] = Short(stream.source.name, wanted, there, unit, epochs)
    return counts, short


def _count(stream: Stream, start: int, amounts: Mapping[CountUnit, Fraction]) -> int:
    """At least one row of whatever is wanted at all: a small share doesn't round to nothing."""
    place = start
    for unit in _UNITS:
        if unit in amounts:
            place += stream.nearest(place, amounts[unit], unit)
    return max(place - start, int(any(amounts.values())))


_UNITS: tuple[CountUnit, ...] = ("examples", "tokens", "trained tokens")


def in_unit(
    streams: Sequence[Stream], wants: Wants, unit: CountUnit, used: NDArray[np.int64]
) -> tuple[Fraction, Fraction]:
    """What is wanted in one unit, and by how much it may differ as other units come in whole rows."""
    held = slack = Fraction(0)
    for source, amounts in wants.items():
        stream, start = streams[source], int(used[source])
        others: dict[CountUnit, Fraction] = {each: amount for each, amount in amounts.items() if each != unit}
        held += amounts.get(unit, Fraction(0))
        if others:
            held += stream.amount(start, start + _count(stream, start, others), unit)
            slack += stream.source.longest(unit)
    return held, slack


@dataclass(frozen=True)
class Short:
    """A source with too few rows: what it was to give, what is there, and the epochs that it would take."""

    name: str
    wanted: Fraction
    available: int
    unit: str
    epochs: int

    def __str__(self) -> str:
        return f"'{self.name}' is to give {number(self.wanted)} {self.unit} and has {number(self.available)}"


def underfilled(short: Sequence[Short], max_epochs: Fraction) -> UserError:
    epochs = max(item.epochs for item in short)
    least = min(item.available / item.wanted for item in short)
    return UserError(
        "; ".join(map(str, short)) + f" (max_epochs: {number(max_epochs)})",
        f"take {float(least):.3g} of the amount or the budget, or repeat rows with `max_epochs: {epochs}` in "
        "the mix or the stage, or write `underfill: allow` in the mix to train on what is there",
    )


def number(value: Fraction | int) -> str:
    """A number for people: whole with thousands marked, else to two digits behind the point."""
    return f"{int(value):,}" if value == int(value) else f"{float(value):,.2f}"
