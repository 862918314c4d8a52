"""Results and differences with their 95% intervals, over items and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from runtime.evals.aligned import Aligned, Cell, align
from runtime.evals.gaps import Gap, Part
from runtime.evals.intervals import quantile, rate_ends

__all__ = ["LEVEL", "Cell", "Interval", "difference", "estimate", "wilson"]

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval at `LEVEL`; None where nothing, or too little for an interval, is known."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Distinct items that it rests on."""


def estimate(cell: Cell) -> Interval:
    """The metric over all items and seeds.

    A rate has Wilson's interval, with an effective number of answers where several come from one item (seeds, or
    several answers to a prompt); a mean has Student's, corrected for skewness. There is none over a single item,
    however often it was asked, and none for a mean where every item has the same value.
    """
    return _interval(align([cell]), (1.0,), wary=False)


def difference(left: Cell, right: Cell) -> Interval:
    """Left less right, paired over items and seeds; `n` is the number of pairs of items.

    With three seeds or more it is wary of their variance, see `intervals.reach`, as claims are. Two arms that agree on
    every item aren't certainly equal; there is no interval over a single item.
    """
    return _interval(align([left, right]), (1.0, -1.0), wary=True)


def wilson(rate: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a rate over `n` independent answers, see `intervals.rate_ends`."""
    low, high = rate_ends(np.array(rate), np.array(n), level, quantile(level, inf))
    return float(low), float(high)


def _interval(aligned: Aligned | None, coefficients: Sequence[float], wary: bool) -> Interval:
    if aligned is None:
        return Interval(None, None, None, 0)
    part = Part(aligned, np.array(coefficients))
    ends = Gap(part.value, (part,)).interval(LEVEL, wary)
    low, high = (None, None) if ends is None else ends
    return Interval(part.value, low, high, len(aligned.items))
