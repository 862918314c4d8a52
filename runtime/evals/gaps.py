"""Sums and differences of results, with their intervals at any level: what differences and claims are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np
from scipy.special import ndtr

from runtime.evals.aligned import Aligned
from runtime.evals.intervals import quantile, rate_interval, spread_interval, wilson
from runtime.evals.spread import Array, Spread, influences, spread

_DUST = 1e-12
"""Relative to what is added up, smaller sums are rounding."""


@dataclass(frozen=True)
class Part:
    """What one evaluation adds to a gap: its results times coefficients."""

    aligned: Aligned
    coefficients: Array
    """float64 `[cells]`."""

    @cached_property
    def value(self) -> float:
        """Exactly 0 where results differ by rounding only."""
        each = self.aligned.values() * self.coefficients
        total = float(each.sum())
        return 0.0 if abs(total) <= _DUST * np.abs(each).sum() else total

    @cached_property
    def influence(self) -> Array:
        """float64 `[seeds, items]`, exactly 0 where results differ by rounding only."""
        _, each = influences(self.aligned.numerator, self.aligned.denominator)
        weighted = self.coefficients[:, None, None] * each
        total = weighted.sum(0)
        return np.where(np.abs(total) <= _DUST * np.abs(weighted).sum(0).max(initial=0.0), 0.0, total)

    @property
    def only(self) -> int | None:
        """The cell that alone counts, if there is one."""
        (counting,) = np.nonzero(self.coefficients)
        return int(counting[0]) if len(counting) == 1 else None

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that results of rates could add."""
        return float(np.minimum(self.coefficients, 0).sum()), float(np.maximum(self.coefficients, 0).sum())

    @cached_property
    def smoothed(self) -> tuple[float, Array]:
        value, influence = smoothed(np.array(self.value), self.influence, self.ends)
        return float(value), influence

    @cached_property
    def by_item(self) -> Array:
        """float64 `[cells that count, items]`: what each result is on each item, times its coefficient."""
        (counting,) = np.nonzero(self.coefficients)
        numerator, denominator = (each[counting].sum(1) for each in (self.aligned.numerator, self.aligned.denominator))
        return self.coefficients[counting, None] * numerator / denominator

    @property
    def counted(self) -> bool:
        """Whether results are counts or scores on a scale, whose values repeat among items; measured ones don't."""
        return self.aligned.rate or 2 * len(np.unique(self.by_item)) <= self.by_item.size

    @property
    def range(self) -> float:
        """How far items lie apart, in that of the results where they lie furthest."""
        return float(np.ptp(self.by_item, axis=1).max(initial=0.0))


@dataclass(frozen=True)
class Gap:
    """A number made of results, such as the left side of a claim less its right side."""

    value: float
    parts: tuple[Part, ...]
    """One for each evaluation; all over the same seeds."""
    linear: bool = True
    """Whether it is a sum of results times numbers; else it is taken as one near its value."""

    @property
    def smallest(self) -> int:
        """Items of the evaluation that has the fewest."""
        return min(len(part.aligned.items) for part in self.parts)

    @property
    def seeds(self) -> int:
        return len(self.parts[0].aligned.seeds)

    @cached_property
    def same(self) -> bool:
        """Whether it has the same value on every item with every seed, but for rounding."""
        return not any(part.influence.any() for part in self.parts)

    @property
    def counted(self) -> bool:
        return any(part.counted for part in self.parts)

    @property
    def identical(self) -> bool:
        """Whether both sides are one and the same: measured, and equal on every item to rounding."""
        return self.same and self.value == 0 and not self.counted

    @cached_property
    def spread(self) -> Spread:
        """With the two items more of `Part.smoothed` for rates."""
        each = [part.smoothed[1] if part.aligned.rate else part.influence for part in self.parts]
        return spread(each, [not part.aligned.rate for part in self.parts])

    def interval(self, level: float, wary: bool = True) -> tuple[float, float] | None:
        """Lower and upper end; None where nothing can be said: a single item, or one value wherever one looks.

        `wary` is that of `intervals.reach`.
        """
        if self.smallest < 2:
            return None
        one = self.parts[0]
        if len(self.parts) == 1 and one.aligned.rate and one.only is not None and self.linear:
            return self._of_one_rate(one, one.only, level)
        if self.same and not self.counted:
            return self.value, self.value
        if self.same and not any(part.aligned.rate for part in self.parts):
            return self._of_agreement(level)
        shift = sum(part.smoothed[0] - part.value for part in self.parts if part.aligned.rate)
        low, high = spread_interval(np.asarray(self.value + shift), self.spread, level, wary)
        low, high = min(float(low), self.value), max(float(high), self.value)
        if self.linear and all(part.aligned.rate for part in self.parts):
            rest = self.value - sum(part.value for part in self.parts)
            low = max(low, rest + sum(part.ends[0] for part in self.parts))
            high = min(high, rest + sum(part.ends[1] for part in self.parts))
        return low, high

    def _of_agreement(self, level: float) -> tuple[float, float] | None:
        """Of scores that agree on every item: as many as Wilson's interval leaves open may differ, by their range."""
        apart, n = max(part.range for part in self.parts), self.smallest
        half = apart * float(wilson(np.zeros(()), np.array(n), quantile(level, inf))[1])
        return (self.value - half, self.value + half) if apart else None

    def _of_one_rate(self, part: Part, cell: int, level: float) -> tuple[float, float]:
        factor = float(part.coefficients[cell])
        ends = rate_interval(part.aligned.numerator[cell], part.aligned.denominator[cell], level)
        low, high = sorted(self.value - part.value + factor * float(end) for end in ends)
        return min(low, self.value), max(high, self.value)


def smoothed(value: Array, influence: Array, ends: tuple[float, float]) -> tuple[Array, Array]:
    """A sum of rates with two more items, one as far to either side as can be; so rates that agree aren't surely equal.

    Bonett and Price (2012, Journal of Educational and Behavioral Statistics 37) for paired rates, Agresti and Caffo
    (2000, The American Statistician 54) for two.

    Args:
        value: float64 `[...]`.
        influence: float64 `[..., seeds, items]`.
        ends: the least and the most that the sum can be.

    Returns:
        Value, float64 `[...]`, and influences, float64 `[..., seeds, items + 2]`.
    """
    seeds, items = influence.shape[-2:]
    middle = (items * value + sum(ends)) / (items + 2)
    own = items * influence + ((value - middle) / seeds)[..., None, None]
    shape = (*influence.shape[:-1], 1)
    more = (np.broadcast_to(((end - middle) / seeds)[..., None, None], shape) for end in ends)
    return middle, np.concatenate([own, *more], axis=-1) / (items + 2)


def joint_levels(gaps: Sequence[Gap], draws: int = 4000) -> Array:
    """Of drawn estimates of several gaps at once, how improbable the furthest of each is alone; sorted, `[draws]`.

    The quantile of a level's tail says what level each interval must have so that all of them hold at once (sup-t
    bands; Montiel Olea and Plagborg-Møller, 2019, Journal of Applied Econometrics 34). Draws are correlated as the
    items' influences are.

    Args:
        gaps: of the same evaluations, over the same items.
    """
    by_item = [np.concatenate([part.influence.sum(0) for part in gap.parts]) for gap in gaps]
    scale = np.sqrt([max(float((each**2).sum()), 1e-300) for each in by_item])
    correlation = np.array(by_item) @ np.array(by_item).T / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    root = np.linalg.cholesky(correlation + 1e-9 * np.eye(len(gaps)))
    drawn = np.random.default_rng(0).standard_normal((draws, len(gaps))) @ root.T
    return np.sort(2 * ndtr(-np.abs(drawn).max(axis=1)))
