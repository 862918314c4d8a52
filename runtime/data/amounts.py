"""Turns the amounts of a mix into whole numbers of examples, each part met to within one example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from dsl.values import Amount, Quantity
from runtime.data.streams import CountUnit, Stream
from runtime.errors import UserError

Underfill = Literal["error", "allow"]


@dataclass(frozen=True)
class Part:
    """`amount` of the rows of the source with index `source`."""

    source: int
    amount: Amount


@dataclass(frozen=True)
class Phase:
    """A stretch of a run. `length` is a fraction of the whole, or a quantity; None is all of it."""

    length: Fraction | Quantity | None
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class _Short:
    """A part with too few rows: what it was to give, what is there, and the epochs that it would take."""

    name: str
    wanted: Fraction
    available: int
    unit: str
    epochs: int

    def __str__(self) -> str:
        return f"'{self.name}' is to give {number(self.wanted)} {self.unit} and has {number(self.available)}"


@dataclass(frozen=True)
class _Whole:
    """How much a run is.

    Attributes:
        total: in `unit`, in which shares count; None where fixed amounts alone say.
        times: scales fixed amounts.
        budgeted: the mix says how much it is, so that `all` of a part is a fixed amount even if it stands alone.
    """

    total: Fraction | None
    unit: CountUnit
    times: Fraction
    budgeted: bool


def solve(
    streams: Sequence[Stream],
    phases: Sequence[Phase],
    budget: Quantity | None,
    length: Quantity | None,
    max_epochs: Fraction | None,
    underfill: Underfill,
) -> NDArray[np.int64]:
    """How many rows of each source each phase takes from its stream, going on where the phase before stopped.

    Fixed amounts come first, then percents of the phase, then what is left by ratio. Shares count in the unit of
    `budget`, else of `length`. Each part gets the number of rows that comes nearest to its amount, and at least one.
    A run of several budgets scales every amount: two epochs of a mix with a budget are two budgets, and phases are
    stretches of the whole run.

    Args:
        streams: one a source.
        budget: the mix's.
        length: the stage's `for:` in tokens, trained tokens, examples or epochs. None is one budget, or without a
            budget one pass: each fixed amount once, and all of a part that stands alone.
        max_epochs: hard cap on how often a row is used in the stage. None: `length` where it is in epochs, else 1.
        underfill: what happens where a part has too few rows: an error, or as many as there are.

    Returns:
        int64[phases, sources].

    Raises:
        UserError: a part has too few rows, or the amounts don't make up the whole.
    """
    if max_epochs is None:
        max_epochs = length.count if length is not None and length.unit == "epochs" else Fraction(1)
    counts, short = _fill(streams, phases, _whole(streams, phases, budget, length), max_epochs)
    if short and underfill == "error":
        raise _underfilled(short, max_epochs)
    return counts


def _whole(
    streams: Sequence[Stream], phases: Sequence[Phase], budget: Quantity | None, length: Quantity | None
) -> _Whole:
    if length is None or length.unit == "epochs":
        times = Fraction(1) if length is None else length.count
        if budget is None:
            return _Whole(None, "examples", times, False)
        return _Whole(budget.count * times, _count_unit(budget), times, True)
    if budget is None:
        return _Whole(length.count, _count_unit(length), Fraction(1), False)
    if budget.unit == length.unit:
        return _Whole(length.count, _count_unit(length), length.count / budget.count, True)
    unit = _count_unit(length)
    once, _ = _fill(streams, phases, _Whole(budget.count, _count_unit(budget), Fraction(1), True), None)
    held = sum(stream.amount(0, int(count), unit) for stream, count in zip(streams, once.sum(axis=0), strict=True))
    times = length.count / held
    return _Whole(budget.count * times, _count_unit(budget), times, True)


def _fill(
    streams: Sequence[Stream], phases: Sequence[Phase], whole: _Whole, max_epochs: Fraction | None
) -> tuple[NDArray[np.int64], list[_Short]]:
    """Counts as `solve` gives them; without `max_epochs` as if every part had rows without end."""
    totals = [_phase_total(phase, whole) for phase in phases]
    _check_phases(totals, whole)
    counts = np.zeros((len(phases), len(streams)), np.int64)
    short: list[_Short] = []
    for row, phase, total in zip(counts, phases, totals, strict=True):
        for part, wanted, unit in _wanted(streams, phase, total, whole, counts.sum(axis=0)):
            stream = streams[part.source]
            start = int(counts[:, part.source].sum())
            count = _nearest(stream, start, wanted, unit)
            if max_epochs is not None:
                room = floor(max_epochs * len(stream.source)) - start
                if count > room:
                    there = stream.amount(start, start + room, unit)
                    if wanted - there >= int(stream.source.lengths(unit).max()):
                        whole_pass = stream.amount(0, len(stream.source), unit)
                        epochs = ceil((stream.amount(0, start, unit) + wanted) / whole_pass)
                        short.append(_Short(stream.source.name, wanted, there, unit, epochs))
                    count = room
            row[part.source] += count
    return counts, short


def _wanted(
    streams: Sequence[Stream], phase: Phase, total: Fraction | None, whole: _Whole, used: NDArray[np.int64]
) -> list[tuple[Part, Fraction, CountUnit]]:
    """What each part is to give, and in which unit: fixed amounts, percents, ratios."""
    fixed = [
        _fixed(part.amount, len(streams[part.source].source), whole, len(phase.parts) == 1) for part in phase.parts
    ]
    used = used.copy()
    wanted: list[tuple[Part, Fraction, CountUnit]] = []
    left, slack = total, 0
    for part, (amount, unit) in ((part, item) for part, item in zip(phase.parts, fixed, strict=True) if item):
        wanted.append((part, amount, unit))
        if left is not None:
            stream, start = streams[part.source], int(used[part.source])
            used[part.source] += _nearest(stream, start, amount, unit)
            left -= stream.amount(start, int(used[part.source]), whole.unit)
            slack += int(stream.source.lengths(whole.unit).max())
    shared = [part for part, item in zip(phase.parts, fixed, strict=True) if item is None]
    if total is None or left is None:
        if shared:
            raise UserError(
                f"'{streams[shared[0].source].source.name}' is a share, and nothing says of how much",
                "give the mix a `budget:`, or the stage a `for:` in tokens or examples",
            )
        return wanted
    percents = [(part, total * cast(Fraction, part.amount.value)) for part in shared if part.amount.kind == "percent"]
    wanted.extend((part, amount, whole.unit) for part, amount in percents)
    left -= sum(amount for _, amount in percents)
    if left < -slack:
        raise UserError(
            f"the parts come to {number(total - left)} {whole.unit}, more than the whole of {number(total)}",
            "lower a fixed amount or a percentage, or raise the budget",
        )
    ratios = [(part, _weight(part.amount)) for part in shared if part.amount.kind != "percent"]
    if ratios:
        sum_of_weights = sum((weight for _, weight in ratios), Fraction(0))
        return wanted + [
            (part, max(left, Fraction(0)) * weight / sum_of_weights, whole.unit) for part, weight in ratios
        ]
    if left > slack:
        raise UserError(
            f"the parts come to {number(total - left)} {whole.unit}, less than the whole of {number(total)}",
            "raise an amount, lower the budget, or make one part the `rest`",
        )
    return wanted


def _nearest(stream: Stream, start: int, wanted: Fraction, unit: CountUnit) -> int:
    """At least one row of whatever is wanted at all: a small share doesn't round to nothing."""
    return max(stream.nearest(start, wanted, unit), 1) if wanted else 0


def _fixed(amount: Amount, rows: int, whole: _Whole, alone: bool) -> tuple[Fraction, CountUnit] | None:
    """An amount that doesn't depend on the whole, in a unit of its own; None for a share."""
    everything = (rows * whole.times, cast(CountUnit, "examples"))
    match amount.kind, amount.value:
        case "quantity", Quantity(count=count, unit="epochs"):
            return count * rows * whole.times, "examples"
        case "quantity", Quantity() as quantity:
            return quantity.count * whole.times, _count_unit(quantity)
        case "all", _:
            return None if alone and whole.total is not None and not whole.budgeted else everything
        case "rest" | "ratio", _:
            return everything if alone and whole.total is None else None
        case _:
            return None


def _weight(amount: Amount) -> Fraction:
    return cast(Fraction, amount.value) if amount.kind == "ratio" else Fraction(1)


def _phase_total(phase: Phase, whole: _Whole) -> Fraction | None:
    match phase.length:
        case None:
            return whole.total
        case Quantity() as quantity if quantity.unit == whole.unit or whole.total is None:
            return quantity.count * whole.times
        case Quantity() as quantity:
            raise UserError(
                f"a phase is in {quantity.unit} and the whole in {whole.unit}", "write both in the same unit"
            )
        case fraction if whole.total is None:
            raise UserError(
                f"a phase is {number(fraction * 100)}% of a run whose length nothing says",
                "give the mix a `budget:`, or the stage a `for:` in tokens or examples",
            )
        case fraction:
            return whole.total * fraction


def _check_phases(totals: Sequence[Fraction | None], whole: _Whole) -> None:
    known = [total for total in totals if total is not None]
    if whole.total is not None and sum(known) != whole.total:
        raise UserError(
            f"the phases come to {number(sum(known))} {whole.unit}, and the whole is {number(whole.total)}",
            "make the phases' `for:` add up to 100%",
        )


def _underfilled(short: Sequence[_Short], max_epochs: Fraction) -> UserError:
    epochs = max(item.epochs for item in short)
    least = min(item.available / item.wanted for item in short)
    return UserError(
        "; ".join(map(str, short)) + f" (max_epochs: {number(max_epochs)})",
        f"take {float(least):.3g} of the amount or the budget, or repeat rows with `max_epochs: {epochs}`, or write "
        "`underfill: allow` to train on what is there",
    )


def _count_unit(quantity: Quantity) -> CountUnit:
    if quantity.unit not in ("tokens", "trained tokens", "examples"):
        raise UserError(f"an amount of data can't be in {quantity.unit}", "write tokens, trained tokens or examples")
    return quantity.unit


def number(value: Fraction | int) -> str:
    """A number for people: whole with thousands marked, else to two digits behind the point."""
    return f"{int(value):,}" if value == int(value) else f"{float(value):,.2f}"
