"""Ends of intervals at any level: Wilson's for rates, Student's for the rest, corrected for skewness and few seeds.

All functions take many studies at once, as leading axes. What was tried is in docs/decisions/0010-intervals.md.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, gammaincinv, ndtri, stdtr, stdtrit

from runtime.evals.spread import Array, Spread, influences, spread

Ends = tuple[Array, Array]
"""Lower and upper."""

_FEW = 3.0
"""With so many successes or fewer the lower end is a Poisson count's, and so the upper one with so few failures."""
_NODES = 48
"""At how many quantiles the variance of seeds is looked at."""


def quantile(level: float, degrees: Array | float) -> Array:
    """Student's quantile with `(1 - level) / 2` above it; the normal one where the degrees of freedom are infinite."""
    upper, finite = (1 + level) / 2, np.isfinite(degrees)
    return np.where(finite, stdtrit(np.maximum(np.where(finite, degrees, 1.0), 1.0), upper), ndtri(upper))


def wilson(rate: Array, n: Array, z: Array | float) -> Ends:
    """Wilson's score interval (1927, JASA 22) of rates over `n` answers, which need not be whole numbers.

    For whole numbers and a normal quantile `z` it is `scipy.stats.binomtest(...).proportion_ci(level, "wilson")`.
    """
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0.0, rate), np.clip(centre + half, rate, 1.0)


def rate_ends(rate: Array, n: Array, level: float, z: Array | float) -> Ends:
    """Wilson's interval, moved outwards where next to nothing was seen.

    Wilson's alone covers 84% where about a sixth of a success is expected. Up to three successes the lower end is at
    most that of a Poisson count, and so for failures (Brown, Cai and DasGupta, 2001, Statistical Science 16).
    """
    low, high = wilson(rate, n, z)
    seen, missed = (np.where((count > 0) & (count <= _FEW), count, np.nan) for count in (rate * n, (1 - rate) * n))
    least, most = (gammaincinv(count, 1 - level) / n for count in (seen, missed))
    return np.fmin(low, least), np.fmax(high, 1 - most)


def effective_answers(numerator: Array, denominator: Array) -> tuple[Array, Array]:
    """How many independent answers would leave a rate as uncertain as these are, and with what degrees of freedom.

    The number of answers divided by the design effect (Kish, "Survey Sampling", 1965), at most the number of answers;
    degrees of freedom are infinite where every item has one answer. Where all answers agree, the number of items.

    Args:
        numerator, denominator: float64 `[..., seeds, items]`: agreeing answers, answers; two items or more.
    """
    items = numerator.shape[-1]
    rate, influence = influences(numerator, denominator)
    found = spread([influence], [False])
    answers = denominator.sum((-1, -2))
    simple = rate * (1 - rate) / np.maximum(answers - 1, 1)
    design = np.maximum(found.variance / np.where(simple > 0, simple, 1.0), 1.0)
    single = (simple <= 0) | (answers <= items)
    return np.where(simple > 0, answers / design, items), np.where(single, np.inf, found.degrees)


def rate_interval(numerator: Array, denominator: Array, level: float) -> Ends:
    """Of a rate over items and seeds: Wilson's with the effective number of answers and Student's quantile."""
    n, degrees = effective_answers(numerator, denominator)
    rate = numerator.sum((-1, -2)) / denominator.sum((-1, -2))
    return rate_ends(rate, n, level, quantile(level, degrees))


def spread_interval(value: Array, found: Spread, level: float, wary: bool) -> Ends:
    """Of any other estimate: as many standard errors to either side as `reach` says, corrected for skewness.

    The correction is Hall's monotone transformation of Student's statistic (1992, Journal of the Royal Statistical
    Society B 54), which does what the studentised bootstrap does, without drawing. `wary` takes the wider of each end
    with and without it: where tails are heavy on both sides, the skewness of few items is chance.
    """
    error, far = np.sqrt(found.variance), reach(found, level, wary)
    low, high = (value - error * _unskewed(side, found.skewness) for side in (far, -far))
    if wary:
        return np.minimum(low, value - error * far), np.maximum(high, value + error * far)
    return low, high


def reach(found: Spread, level: float, wary: bool) -> Array:
    """How many standard errors the interval of an estimate without skewness reaches to either side.

    Student's quantile; with `wary` and three seeds or more it is that of a generalised pivot (Weerahandi, 1993, JASA
    88): the variance of seeds is taken as everything that so few seeds leave possible, not as what they showed. So the
    interval covers what it promises whatever that variance is; it is wider where there is none.
    """
    if not wary or found.seeds < 3:
        return quantile(level, found.degrees)
    factors, weights = _variances(found.seeds)
    more = np.maximum(found.between[..., None] * factors - found.answers[..., None], 0.0)
    errors = np.sqrt(found.items[..., None] + more)
    degrees = np.maximum(found.item_degrees, 1.0)[..., None]
    widest = quantile(level, np.maximum(found.item_degrees, 1.0)) * errors.max(-1)
    low, high = np.zeros_like(widest), widest
    for _ in range(26):
        middle = (low + high) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            outside = 2 * stdtr(degrees, -middle[..., None] / np.where(errors > 0, errors, np.nan))
        short = np.nansum(outside * weights, -1) > 1 - level
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    error = np.sqrt(found.variance)
    return np.where(error > 0, high / np.where(error > 0, error, 1.0), 0.0)


def _unskewed(far: Array, skewness: Array) -> Array:
    """Student's statistic whose transformed value is `far`."""
    flat = np.abs(skewness) < 1e-9
    bent = np.where(flat, 1.0, skewness)
    return np.where(flat, far, 3 / bent * (np.cbrt(1 + bent * (far - bent / 6)) - 1))


@lru_cache(maxsize=16)
def _variances(seeds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors by which the true variance of seeds may exceed the one seen, with their weights; the largest finest."""
    edges = np.linspace(0, 1, _NODES + 1) ** 3
    middles = (edges[1:] + edges[:-1]) / 2
    return (seeds - 1) / chdtri(seeds - 1, 1 - middles), np.diff(edges)
