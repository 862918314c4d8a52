"""Turns the amounts of a mix into whole numbers of examples, each source met to within one example.

What each part is to give is worked out exactly, through mixes within mixes, and added up for each source; only then is
it rounded. So nothing depends on the order of parts, and a source that several parts reach is rounded and capped once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dsl.values import Amount, Quantity
from runtime.data.mixed import Mixed, Part, Phase
from runtime.data.proportional import proportional
from runtime.data.streams import CountUnit, Stream
from runtime.data.wants import Short, Wants, add, counts_of, in_unit, number, underfilled
from runtime.errors import UserError


def solve(streams: Sequence[Stream], mixed: Mixed, length: Quantity | None) -> NDArray[np.int64]:
    """How many rows of each source each phase takes from its stream, going on where the phase before stopped.

    Fixed amounts come first, then percents of the phase, then what is left by ratio. Shares count in the unit of the
    budget, else of `length`. Each source gets the number of rows that comes nearest to its amount, and at least one.
    A run of several budgets scales every amount: two epochs of a mix with a budget are two budgets, and phases are
    stretches of the whole run.

    Args:
        streams: one a source.
        length: the stage's `for:` in tokens, trained tokens, examples or epochs. None is one budget, or without a
            budget one pass: each fixed amount once, and all of a part that stands alone.

    Returns:
        int64[phases, sources].

    Raises:
        UserError: a source has too few rows, or the amounts don't make up the whole.
    """
    for stream in streams:
        if not len(stream.source):
            raise UserError(f"'{stream.source.name}' has no rows", "look at what its transforms drop, or take it out")
    max_epochs = mixed.max_epochs
    if max_epochs is None:
        max_epochs = length.count if length is not None and length.unit == "epochs" else Fraction(1)
    run = _Run(streams, {})
    whole = _whole(run, mixed, length)
    counts = np.zeros((len(mixed.phases), len(streams)), np.int64)
    short: list[Short] = []
    for row, phase, total in zip(counts, mixed.phases, _phase_totals(mixed, whole), strict=True):
        used = counts.sum(axis=0)
        row[:], lacking = counts_of(streams, _wants(run, mixed, phase, total, whole, used), used, used, max_epochs)
        short += lacking.values()
    if short and mixed.underfill == "error":
        raise underfilled(short, max_epochs)
    return counts


@dataclass(frozen=True)
class _Run:
    """The sources, and what the parts that are mixes took through all phases; None doesn't cap them."""

    streams: Sequence[Stream]
    taken: dict[Mixed, NDArray[np.int64]] | None


@dataclass(frozen=True)
class _Whole:
    """How much a mix is to give.

    Attributes:
        total: in `unit`, in which shares count; None where fixed amounts alone say.
        times: scales fixed amounts.
        budgeted: the mix says how much it is, so that `all` of a part is a fixed amount even if it stands alone.
    """

    total: Fraction | None
    unit: CountUnit
    times: Fraction
    budgeted: bool


def _whole(run: _Run, mixed: Mixed, length: Quantity | None) -> _Whole:
    budget = mixed.budget
    if length is None or length.unit == "epochs":
        times = Fraction(1) if length is None else length.count
        if budget is None:
            return _Whole(None, "examples", times, False)
        return _Whole(budget.count * times, _count_unit(budget), times, True)
    if budget is None:
        return _Whole(length.count, _count_unit(length), Fraction(1), False)
    if budget.unit == length.unit:
        return _Whole(length.count, _count_unit(length), length.count / budget.count, True)
    held, _ = in_unit(run.streams, _once(run, mixed), _count_unit(length), _none(run))
    times = length.count / held
    return _Whole(budget.count * times, _count_unit(budget), times, True)


def _once(run: _Run, mixed: Mixed) -> Wants:
    """What one epoch of a mix wants, as if every source had rows without end."""
    endless = _Run(run.streams, None)
    whole = _whole(endless, mixed, None)
    wants: Wants = {}
    for phase, total in zip(mixed.phases, _phase_totals(mixed, whole), strict=True):
        add(wants, _wants(endless, mixed, phase, total, whole, _none(run)))
    return wants


def _none(run: _Run) -> NDArray[np.int64]:
    return np.zeros(len(run.streams), np.int64)


def _wants(
    run: _Run, mixed: Mixed, phase: Phase, total: Fraction | None, whole: _Whole, used: NDArray[np.int64]
) -> Wants:
    """What a phase wants of each source, of whose stream `used` places are used before: fixed, percents, ratios."""
    parts = phase.parts if mixed.temperature is None else _by_size(run, phase.parts, mixed.temperature, whole.unit)
    fixed = [_fixed(part.amount, whole, len(parts) == 1) for part in parts]
    wants: Wants = {}
    for part, amount in zip(parts, fixed, strict=True):
        if amount is not None:
            add(wants, _of_part(run, part, amount, used))
    shared = [part for part, amount in zip(parts, fixed, strict=True) if amount is None]
    if total is None:
        if shared:
            raise UserError(
                f"'{_name(run, shared[0])}' is a share, and nothing says of how much",
                "give the mix a `budget:`, or the stage a `for:` in tokens or examples",
            )
        return wants
    held, slack = in_unit(run.streams, wants, whole.unit, used)
    percents = [(part, total * cast(Fraction, part.amount.value)) for part in shared if part.amount.kind == "percent"]
    left = total - held - sum(amount for _, amount in percents)
    ratios = [(part, _weight(part.amount)) for part in shared if part.amount.kind != "percent"]
    if left < -slack or (not ratios and left > slack):
        raise _another_sum(mixed, total - left, total, whole.unit)
    sum_of_weights = sum((weight for _, weight in ratios), Fraction(0))
    for part, amount in [
        *percents,
        *((part, max(left, Fraction(0)) * weight / sum_of_weights) for part, weight in ratios),
    ]:
        add(wants, _of_part(run, part, Quantity(amount, whole.unit), used))
    return wants


def _of_part(run: _Run, part: Part, amount: Quantity, used: NDArray[np.int64]) -> Wants:
    if isinstance(part.of, Mixed):
        return _of_mix(run, part.of, amount, used)
    if amount.unit == "epochs":
        return {part.of: {"examples": amount.count * len(run.streams[part.of].source)}}
    return {part.of: {_count_unit(amount): amount.count}}


def _of_mix(run: _Run, mixed: Mixed, amount: Quantity, used: NDArray[np.int64]) -> Wants:
    """What a mix wants that is to give `amount`, less what its own `max_epochs` forbids."""
    phase, *further = mixed.phases
    if further:
        raise UserError(
            f"'{mixed.name}' has phases and is a part of another mix, whose rows have no such order",
            "give the stage this mix alone, or write its phases in the mix around it",
        )
    whole = _whole(run, mixed, amount)
    (total,) = _phase_totals(mixed, whole)
    wants = _wants(run, mixed, phase, total, whole, used)
    if run.taken is None or mixed.max_epochs is None:
        return wants
    taken = run.taken.setdefault(mixed, _none(run))
    counts, short = counts_of(run.streams, wants, used, taken, mixed.max_epochs)
    if short and mixed.underfill == "error":
        raise underfilled(list(short.values()), mixed.max_epochs)
    taken += counts
    for source in short:
        wants[source] = {"examples": Fraction(int(counts[source]))}
    return wants


def _by_size(run: _Run, parts: Sequence[Part], temperature: Fraction, unit: CountUnit) -> list[Part]:
    """The parts as ratios that follow from their sizes; a mix is as large as one epoch of it."""
    everything = Quantity(Fraction(1), "epochs")
    endless = _Run(run.streams, None)
    sizes = [
        in_unit(run.streams, _of_part(endless, part, everything, _none(run)), unit, _none(run))[0] for part in parts
    ]
    weights = proportional(sizes, temperature)
    return [
        replace(part, amount=Amount("ratio", Fraction(weight))) for part, weight in zip(parts, weights, strict=True)
    ]


def _fixed(amount: Amount, whole: _Whole, alone: bool) -> Quantity | None:
    """An amount that doesn't depend on the whole, in a unit of its own; None for a share."""
    everything = Quantity(whole.times, "epochs")
    match amount.kind, amount.value:
        case "quantity", Quantity() as quantity:
            return Quantity(quantity.count * whole.times, quantity.unit)
        case "all", _:
            return None if alone and whole.total is not None and not whole.budgeted else everything
        case "rest" | "ratio", _:
            return everything if alone and whole.total is None else None
        case _:
            return None


def _weight(amount: Amount) -> Fraction:
    return cast(Fraction, amount.value) if amount.kind == "ratio" else Fraction(1)


def _name(run: _Run, part: Part) -> str:
    return part.of.name if isinstance(part.of, Mixed) else run.streams[part.of].source.name


def _phase_totals(mixed: Mixed, whole: _Whole) -> list[Fraction | None]:
    totals = [_phase_total(phase, whole) for phase in mixed.phases]
    known = [total for total in totals if total is not None]
    if whole.total is not None and sum(known) != whole.total:
        raise UserError(
            f"the phases come to {number(sum(known))} {whole.unit}, and the whole is {number(whole.total)}",
            "make the phases' `for:` add up to 100%",
        )
    return totals


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


def _another_sum(mixed: Mixed, found: Fraction, total: Fraction, unit: CountUnit) -> UserError:
    more = found > total
    of = f" of '{mixed.name}'" if mixed.name else ""
    return UserError(
        f"the parts{of} come to {number(found)} {unit}, {'more' if more else 'less'} than the whole of {number(total)}",
        "lower a fixed amount or a percentage, or raise the budget"
        if more
        else "raise an amount, lower the budget, or make one part the `rest`",
    )


def _count_unit(quantity: Quantity) -> CountUnit:
    if quantity.unit not in ("tokens", "trained tokens", "examples"):
        raise UserError(f"an amount of data can't be in {quantity.unit}", "write tokens, trained tokens or examples")
    return quantity.unit
