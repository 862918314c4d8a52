"""How far an estimate over items and seeds may lie from the truth, by where the spread comes from.

Items and seeds are crossed: the same items are scored with every seed. An estimate is written as a sum of influences,
one for each item with each seed (Taylor linearisation; Särndal, Swensson and Wretman, "Model Assisted Survey
Sampling", 1992, chapter 5). Their sums by item, by seed and by both give its components of variance (Searle, Casella
and McCulloch, "Variance Components", 1992, chapter 4). All functions take many studies at once, as
leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """The variance of an estimate, in parts; arrays have the shape of the leading axes."""

    items: Array
    """What other items, and other answers, with the same seeds would change."""
    answers: Array
    """The part of `items` that more seeds would divide too: what an item does with one seed only."""
    between: Array
    """The variance that seeds show, that of `answers` included; 0 with one seed."""
    item_degrees: Array
    """Degrees of freedom of `items`."""
    third: Array
    """The third moment of the estimate, as items give it."""
    seeds: int

    @property
    def added(self) -> Array:
        """What other seeds would add; 0 where seeds differ no more than answers do."""
        return np.maximum(self.between - self.answers, 0.0)

    @property
    def variance(self) -> Array:
        return self.items + self.added

    @property
    def degrees(self) -> Array:
        """Degrees of freedom of the variance (Satterthwaite, 1946, Biometrics Bulletin 2); infinite where it is 0."""
        uncertain = self.items**2 / self.item_degrees
        if self.seeds > 1:
            uncertain = uncertain + np.where(self.added > 0, self.between, 0.0) ** 2 / (self.seeds - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(uncertain > 0, self.variance**2 / uncertain, np.inf)

    @property
    def skewness(self) -> Array:
        """Of the estimate, 0 where it doesn't vary."""
        scale = self.variance**1.5
        return np.where(scale > 0, self.third / np.where(scale > 0, scale, 1.0), 0.0)


def influences(numerator: Array, denominator: Array) -> tuple[Array, Array]:
    """A ratio of sums over seeds and items, and what each item with each seed adds to it.

    Args:
        numerator, denominator: float64 `[..., seeds, items]`.

    Returns:
        The ratio, float64 `[...]`, and influences, float64 `[..., seeds, items]`, whose sum is 0.
    """
    total = denominator.sum((-1, -2))
    value = numerator.sum((-1, -2)) / total
    return value, (numerator - value[..., None, None] * denominator) / total[..., None, None]


def spread(influences: Sequence[Array], skewed: Sequence[bool]) -> Spread:
    """The spread of a sum of estimates, each over items of its own and all over the same seeds.

    Args:
        influences: of each estimate, float64 `[..., seeds, items]` with two items or more.
        skewed: which estimates' third moments count.
    """
    seeds, shape = influences[0].shape[-2], influences[0].shape[:-2]
    items, answers, uncertain, third, by_seed = (np.zeros(shape) for _ in range(5))
    for each, wanted in zip(influences, skewed, strict=True):
        count = each.shape[-1]
        by_item, of_seed = each.sum(-2), each.sum(-1)
        own = count / (count - 1) * (by_item**2).sum(-1)
        items, uncertain = items + own, uncertain + own**2 / (count - 1)
        third = third + (by_item**3).sum(-1) * wanted
        if seeds > 1:
            rest = each - by_item[..., None, :] / seeds - of_seed[..., None] / count
            answers = answers + seeds / (seeds - 1) * count / (count - 1) * (rest**2).sum((-1, -2))
            by_seed = by_seed + of_seed if by_seed.ndim > len(shape) else of_seed
    between = seeds / (seeds - 1) * (by_seed**2).sum(-1) if seeds > 1 else np.zeros(shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = np.where(uncertain > 0, items**2 / uncertain, min(each.shape[-1] for each in influences) - 1.0)
    return Spread(items, np.minimum(answers, items), between, degrees, third, seeds)
