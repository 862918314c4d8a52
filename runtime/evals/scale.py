"""How values of a metric are written: percent for rates, as many decimals as the uncertainty leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, isfinite, log10

from runtime.evals.statistics import Interval


@dataclass(frozen=True)
class Scale:
    """Percent or bare numbers, with the same number of decimals wherever they stand together."""

    percent: bool
    decimals: int

    @property
    def unit(self) -> str:
        """Of a value; a difference of rates is in points."""
        return "%" if self.percent else ""

    def value(self, x: float) -> str:
        return self.bare(x) + self.unit

    def bare(self, x: float, sign: str = "") -> str:
        """A number without its unit; `sign="+"` writes the plus too. No minus stands before zeros."""
        text = f"{100 * x if self.percent else x:{sign}.{self.decimals}f}"
        return text if float(text) else text.replace("-", sign)

    def interval(self, interval: Interval, sign: str = "") -> str:
        """`7.1 to 19.8`; says so where it isn't known."""
        if interval.low is None or interval.high is None:
            return "no interval"
        return f"{self.bare(interval.low, sign)} to {self.bare(interval.high, sign)}"


def scale(rate: bool, intervals: Iterable[Interval]) -> Scale:
    """Percent with one decimal for rates; else two digits of the narrowest interval's half width."""
    if rate:
        return Scale(True, 1)
    halves = [(one.high - one.low) / 2 for one in intervals if one.low is not None and one.high is not None]
    narrowest = min((half for half in halves if half > 0 and isfinite(half)), default=0.1)
    return Scale(False, min(6, max(0, 1 - floor(log10(narrowest)))))


def plural(n: int, one: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n:,} {one if n == 1 else one + 's'}"
