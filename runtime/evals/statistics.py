"""Intervals for rates, means and differences, by Wilson's method and by the bootstrap over items and seeds.

Items and seeds are crossed: the same items are scored with every seed. A resample draws items with replacement and,
independently, seeds with replacement (Owen, "The pigeonhole bootstrap", 2007, Annals of Applied Statistics 1). Draws
follow from the items' identities and the seeds alone, so all arms of an evaluation are resampled together, and the
same results give the same intervals in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from scipy.stats import rankdata

from compiler.identity import sha256
from runtime.evals.score import Scored

LEVEL = 0.95
RESAMPLES = 10_000

_COUNTS_AT_ONCE = 1_000_000
"""Item counts that are drawn and kept together: 2 MB."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval at `LEVEL`; None where nothing, or too little for an interval, is known."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Distinct items that it rests on."""


@dataclass(frozen=True)
class Cell:
    """One arm's scores at one moment, by seed; the seed None stands for every seed."""

    label: str
    """Tells cells apart: of cells with equal scores too, the noise of `replicates` is independent."""
    by_seed: Mapping[int | None, Scored]


@dataclass(frozen=True)
class Aligned:
    """Cells over the same items and seeds; an answer that one cell lacks counts in none."""

    labels: tuple[str, ...]
    items: tuple[str, ...]
    """Sorted identities."""
    seeds: tuple[int | None, ...]
    numerator: np.ndarray
    """float64 `[cells, seeds, items]`: value times weight, summed over an item's answers."""
    denominator: np.ndarray
    """float64 `[cells, seeds, items]`: weight, summed over an item's answers."""
    answers: int
    """Of the first cell, over seeds."""
    rate: bool

    def values(self) -> np.ndarray:
        """float64 `[cells]`: weighted means over items and seeds."""
        return self.numerator.sum((1, 2)) / self.denominator.sum((1, 2))


def estimate(cell: Cell) -> Interval:
    """The metric over all items and seeds.

    A rate has Wilson's interval, with an effective number of answers where several come from one item (seeds, or
    several answers to a prompt). A mean has the percentile bootstrap's, and none with a single item.
    """
    aligned = align([cell])
    if aligned is None:
        return Interval(None, None, None, 0)
    value, n = float(aligned.values()[0]), len(aligned.items)
    if aligned.rate:
        return Interval(value, *wilson(value, _effective_answers(aligned, value)), n)
    if n == 1:
        return Interval(value, None, None, n)
    low, high = _percentiles(replicates(aligned)[:, 0])
    return Interval(value, low, high, n)


def difference(left: Cell, right: Cell) -> Interval:
    """Left less right, paired over items and seeds, with the percentile bootstrap's interval.

    `n` is the number of pairs of items. A mean has no interval with a single pair.
    """
    aligned = align([left, right])
    if aligned is None:
        return Interval(None, None, None, 0)
    n = len(aligned.items)
    value = float(less(*aligned.values()))
    if n == 1 and not aligned.rate:
        return Interval(value, None, None, n)
    drawn = replicates(aligned)
    low, high = _percentiles(less(drawn[:, 0], drawn[:, 1]))
    return Interval(value, low, high, n)


def less(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`left - right`, and exactly 0 where they differ by rounding only."""
    gap = left - right
    return np.where(np.abs(gap) <= 1e-12 * (np.abs(left) + np.abs(right)), 0.0, gap)


def wilson(rate: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (1927, JASA 22) of a rate over `n` answers, which need not be a whole number.

    For whole numbers it is `scipy.stats.binomtest(...).proportion_ci(level, "wilson")`.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return float(np.clip(centre - half, 0.0, rate)), float(np.clip(centre + half, rate, 1.0))


def common_seeds(cells: Sequence[Cell]) -> tuple[int | None, ...]:
    """Seeds that every cell with seeds has; `(None,)` where no cell has any; empty where they share none."""
    seeded = [set(cell.by_seed) - {None} for cell in cells if set(cell.by_seed) != {None}]
    return tuple(sorted(set.intersection(*seeded), key=str)) if seeded else (None,)


def align(cells: Sequence[Cell], seeds: tuple[int | None, ...] | None = None) -> Aligned | None:
    """Cells of one evaluation over their common items and seeds (or the given seeds); None where they share nothing."""
    seeds = common_seeds(cells) if seeds is None else seeds
    table = [[cell.by_seed.get(seed, cell.by_seed.get(None)) for seed in seeds] for cell in cells]
    scored = [one for row in table for one in row if one is not None]
    items = tuple(sorted({item for one in scored for item in one.items}))
    if not items or len(scored) < len(cells) * len(seeds):
        return None
    place = {item: index for index, item in enumerate(items)}
    numerator, denominator = (np.zeros((len(cells), len(seeds), len(items))) for _ in range(2))
    for row, of_cell in enumerate(table):
        for column, one in enumerate(of_cell):
            assert one is not None
            where = np.array([place[item] for item in one.items], dtype=np.int64)
            numerator[row, column] = np.bincount(where, one.value * one.weight, len(items))
            denominator[row, column] = np.bincount(where, one.weight, len(items))
    everywhere = (denominator > 0).all(axis=0)
    used = np.flatnonzero(everywhere.any(axis=0))
    if not len(used):
        return None
    return Aligned(
        labels=tuple(cell.label for cell in cells),
        items=tuple(items[index] for index in used.tolist()),
        seeds=seeds,
        numerator=(numerator * everywhere)[:, :, used],
        denominator=(denominator * everywhere)[:, :, used],
        answers=sum(len(one.items) for one in table[0] if one is not None),
        rate=scored[0].is_rate,
    )


def replicates(aligned: Aligned) -> np.ndarray:
    """float64 `[RESAMPLES, cells]`: the weighted means of resamples of items and seeds.

    A rate of 0 or 1 has no spread to resample, and yet isn't certain: its replicates are those of a rate with one more
    item that disagrees, `Binomial(n, 1 / (n + 1)) / n`, which gives the rule of three (0 of n: up to 3/n).
    """
    cells, seeds, items = aligned.numerator.shape
    sums = np.concatenate([aligned.numerator, aligned.denominator]).reshape(2 * cells * seeds, items)
    seed_counts = _generator("seeds", list(aligned.seeds)).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    drawn = np.empty((RESAMPLES, 2 * cells))
    first = 0
    for counts in _item_counts(aligned.items):
        rows = slice(first, first + len(counts))
        by_seed = (counts.astype(np.float64) @ sums.T).reshape(-1, 2 * cells, seeds)
        drawn[rows] = np.einsum("rcs,rs->rc", by_seed, seed_counts[rows].astype(np.float64))
        first += len(counts)
    with np.errstate(invalid="ignore"):  # nothing drawn of what there is: no value, and left out of quantiles
        means = drawn[:, :cells] / drawn[:, cells:]
    if aligned.rate:
        for cell, value in enumerate(aligned.values()):
            if value in (0.0, 1.0):
                generator = _generator("unanimous", [aligned.labels[cell], *aligned.items])
                flips = generator.binomial(items, 1 / (items + 1), RESAMPLES) / items
                means[:, cell] = np.abs(value - flips)
    return means


def band(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The percentile band that holds `LEVEL` of the replicates at all points at once.

    With one point it is the percentile interval. (Montiel Olea and Plagborg-Møller, "Simultaneous confidence bands",
    2019, Journal of Applied Econometrics 34, algorithm 3: quantiles calibrated on bootstrap draws.)

    Args:
        drawn: float64 `[replicates, points]`, finite.

    Returns:
        Lower and upper ends, float64 `[points]`.
    """
    if drawn.shape[1] == 1:
        tail = (1 - LEVEL) / 2
    else:
        rank = rankdata(drawn, axis=0)
        depth = np.minimum(rank, len(drawn) + 1 - rank).min(axis=1) / (len(drawn) + 1)
        tail = float(np.quantile(depth, 1 - LEVEL, method="lower"))
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return low, high


def _percentiles(drawn: np.ndarray) -> tuple[float, float]:
    low, high = band(drawn[np.isfinite(drawn)][:, None])
    return float(low[0]), float(high[0])


def _effective_answers(aligned: Aligned, rate: float) -> float:
    """How many independent answers would leave a rate as uncertain as these are.

    The number of answers divided by the design effect (Kish, "Survey Sampling", 1965), whose variance the bootstrap
    gives; at most the number of answers. Where all agree, the number of items.
    """
    items = len(aligned.items)
    if aligned.answers == items or rate in (0.0, 1.0):
        return items
    variance = float(np.nanvar(replicates(aligned)[:, 0]))
    simple = rate * (1 - rate)
    return aligned.answers if variance * aligned.answers <= simple else max(1.0, simple / variance)


def _item_counts(items: tuple[str, ...]) -> Iterator[np.ndarray]:
    """How often each resample holds each item: `[resamples, items]`, in parts that make `RESAMPLES`."""
    key, rows = sha256(list(items)), max(1, _COUNTS_AT_ONCE // len(items))
    for first in range(0, RESAMPLES, rows):
        yield _counts_from(key, first, min(rows, RESAMPLES - first), len(items))


@lru_cache(maxsize=64)
def _counts_from(key: str, first: int, rows: int, items: int) -> np.ndarray:
    drawn = _generator(key, [first]).integers(items, size=(rows, items))
    drawn += items * np.arange(rows)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=rows * items).reshape(rows, items)
    return counts.astype(np.uint16 if items < 2**16 else np.uint32)


def _generator(purpose: str, content: Sequence[str | int | None]) -> np.random.Generator:
    return np.random.default_rng(int(sha256([purpose, *content]), 16))
