"""What a stage takes of its sources: parts with amounts, in phases, mixes within mixes."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from dsl.values import Amount, Quantity

Underfill = Literal["error", "allow"]


@dataclass(frozen=True)
class Part:
    """`amount` of the rows of the source with this index, or of a mix."""

    of: int | Mixed
    amount: Amount


@dataclass(frozen=True)
class Phase:
    """A stretch of a run. `length` is a fraction of the whole, or a quantity; None is all of it."""

    length: Fraction | Quantity | None
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Mixed:
    """What a stage takes, or a part of it: a bare source is one phase of one part, all of it.

    As a part, `all` of a mix is its budget once, `2 epochs` are two budgets, and any other amount scales what is fixed
    in it, as a stage's length does.

    Attributes:
        phases: one behind the other; a mix that is a part has one.
        budget: how much one epoch of the mix is. None: its parts are shares of whatever is asked for, or fixed.
        max_epochs: hard cap on how often a row is used in the stage through this mix. None: for a stage's mix, the
            stage's length where it is in epochs, else 1; for a part, what the mix around it says.
        underfill: what happens where that leaves too few rows: an error, or as many as there are.
        temperature: of `shares: proportional(temperature=…)`, which replaces the amounts of parts; see `proportional`.
        name: for messages.
    """

    phases: tuple[Phase, ...]
    budget: Quantity | None = None
    max_epochs: Fraction | None = None
    underfill: Underfill = "error"
    temperature: Fraction | None = None
    name: str = field(default="", compare=False)
