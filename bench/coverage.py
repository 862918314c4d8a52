"""How often 95% intervals cover the truth, and how often a claim holds without an effect, over simulated studies.

    python bench/coverage.py [--studies 10000] [--groups 0 1 …]

Items and seeds are crossed, as in a study: what an item is worth to every model, what a seed does to a model, and the
drawing of answers each add to the logarithm of the odds (for means, to the score). The peer is the percentile bootstrap
over items and seeds, on fewer studies, since it draws. A row averages over its cells; the lowest is told beside, of
rates near 0 and 1 too.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A script's folder comes first in the search path, and a module in it would hide one of the standard library.
sys.path[0] = str(Path(__file__).parent.parent)

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from bench.record import record
from runtime.evals.gaps import smoothed
from runtime.evals.intervals import rate_interval, spread_interval
from runtime.evals.spread import Array, influences, spread

LEVEL = 0.95
SMALL, LARGE = (5, 10, 20, 50), (100, 200, 500)
EVEN = (0.002, 0.062, 0.125, 0.187, 0.25, 0.312, 0.375, 0.437, 0.5)
"""Up to a half: a rate's interval is the mirror image of that of one less the rate."""
NEAR = (0.002, 0.005, 0.01, 0.02, 0.05)
EQUAL = (0.002, 0.05, 0.2, 0.5)
AT_ONCE = 4_000_000
"""Numbers that are drawn at once."""
RESAMPLES, RESAMPLED_STUDIES = 1000, 200


@dataclass(frozen=True)
class Design:
    """How a study is made. Standard deviations are on the logarithm of the odds for rates, of the score for means."""

    answers: int = 1
    seeds: int = 1
    items: float = 1.5
    """Standard deviation of what an item is worth to every model."""
    own: float = 0.5
    """Of what it is worth to one."""
    seed: float = 0.0
    """Of what a seed does to a model."""


GROUPS = {
    "one seed": (Design(), Design(answers=4)),
    "two seeds that differ by chance only": (Design(seeds=2),),
    "two seeds that differ": (Design(seeds=2, seed=0.3),),
    "three or five seeds": (
        Design(seeds=3),
        Design(seeds=3, seed=0.3),
        Design(seeds=5, seed=0.3),
        Design(answers=4, seeds=3, seed=0.3),
    ),
}


def rates(draw: np.random.Generator, design: Design, cells: int, rate: float, studies: int, items: int) -> Array:
    """Agreeing answers of models with the same rate: float64 `[studies, cells, seeds, items]`."""
    spreads = (design.items, design.own, design.seed)
    shapes = ((1, 1, items), (cells, 1, items), (cells, design.seeds, 1))
    parts = (of * draw.standard_normal((studies, *shape)) for of, shape in zip(spreads, shapes, strict=True))
    odds = _centre(rate, math.hypot(*spreads)) + sum(parts)
    chance = np.broadcast_to(expit(odds), (studies, cells, design.seeds, items))
    found = np.zeros(chance.shape)
    for _ in range(design.answers):
        found += draw.random(chance.shape) < chance
    return found


def means(draw: np.random.Generator, design: Design, cells: int, skewed: bool, studies: int, items: int) -> Array:
    """Scores whose mean is 0: normal, or exponential ones."""

    def drawn(*shape: int) -> Array:
        return draw.standard_exponential(shape) - 1 if skewed else draw.standard_normal(shape)

    return (
        design.items * drawn(studies, 1, 1, items)
        + design.own * drawn(studies, cells, design.seeds, items)
        + design.seed * draw.standard_normal((studies, cells, design.seeds, 1))
    )


@cache
def _centre(rate: float, deviation: float) -> float:
    """The mean logarithm of the odds with which so spread ones give a rate."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    return cast(float, brentq(lambda centre: (expit(centre + deviation * nodes) * weights).sum() - rate, -60, 60))


@dataclass
class Tally:
    """Intervals above, around and below the truth."""

    low: int = 0
    high: int = 0
    studies: int = 0

    @property
    def coverage(self) -> float:
        return 1 - (self.low + self.high) / self.studies

    @property
    def held(self) -> float:
        """How often the worse of the two one-sided claims held."""
        return max(self.low, self.high) / self.studies

    def count(self, ends: tuple[Array, Array], truth: float) -> None:
        self.low += int((ends[0] > truth).sum())
        self.high += int((ends[1] < truth).sum())
        self.studies += len(ends[0])


def of_a_rate(numerator: Array, answers: int) -> tuple[Array, Array]:
    return rate_interval(numerator[:, 0], np.full_like(numerator[:, 0], answers), LEVEL)


def of_a_mean(scores: Array) -> tuple[Array, Array]:
    value, influence = influences(scores[:, 0], np.ones_like(scores[:, 0]))
    return spread_interval(value, spread([influence], [True]), LEVEL, wary=False)


def of_rates(numerator: Array, answers: int) -> tuple[Array, Array]:
    """The first less the second."""
    value, influence = influences(numerator, np.full_like(numerator, answers))
    gap, of = smoothed(value[:, 0] - value[:, 1], influence[:, 0] - influence[:, 1], (-1.0, 1.0))
    return spread_interval(gap, spread([of], [False]), LEVEL, wary=True)


def of_means(scores: Array) -> tuple[Array, Array]:
    value, influence = influences(scores, np.ones_like(scores))
    of = influence[:, 0] - influence[:, 1]
    return spread_interval(value[:, 0] - value[:, 1], spread([of], [True]), LEVEL, wary=True)


def bootstrapped(draw: np.random.Generator, values: Array) -> tuple[Array, Array]:
    """The percentile bootstrap's ends over items and seeds, of values `[studies, seeds, items]`."""
    _, seeds, items = values.shape
    by_item = draw.multinomial(items, np.full(items, 1 / items), RESAMPLES) / items
    by_seed = draw.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    drawn = np.einsum("nsi,ri,rs->nr", values, by_item, by_seed, optimize=True)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return low, high


def chunks(studies: int, numbers: int) -> Iterator[int]:
    """Studies at once."""
    each = max(1, min(studies, AT_ONCE // numbers))
    for first in range(0, studies, each):
        yield min(each, studies - first)


Found = list[tuple[Tally, Tally]]
"""Of each cell, ours and the bootstrap's."""
Simulated = Callable[[np.random.Generator, int, int], tuple[Array, Array, Array]]
"""From a generator, a number of studies and one of items: ends, and the values that a bootstrap resamples."""


def tally(simulated: Simulated, design: Design, items: int, studies: int, truth: float) -> tuple[Tally, Tally]:
    """Ours and the bootstrap's."""
    draw = np.random.default_rng([items, design.seeds, design.answers, studies])
    ours, peer = Tally(), Tally()
    for count in chunks(studies, 2 * design.seeds * items):
        low, high, values = simulated(draw, count, items)
        ours.count((low, high), truth)
        rest = min(count, RESAMPLED_STUDIES - peer.studies)
        if rest > 0:
            peer.count(bootstrapped(draw, values[:rest]), truth)
    return ours, peer


def a_rate(design: Design, rate: float) -> Simulated:
    def simulated(draw: np.random.Generator, studies: int, items: int) -> tuple[Array, Array, Array]:
        numerator = rates(draw, design, 1, rate, studies, items)
        return *of_a_rate(numerator, design.answers), numerator[:, 0] / design.answers

    return simulated


def two_rates(design: Design, rate: float) -> Simulated:
    def simulated(draw: np.random.Generator, studies: int, items: int) -> tuple[Array, Array, Array]:
        numerator = rates(draw, design, 2, rate, studies, items)
        return *of_rates(numerator, design.answers), (numerator[:, 0] - numerator[:, 1]) / design.answers

    return simulated


def a_mean(design: Design, skewed: float) -> Simulated:
    def simulated(draw: np.random.Generator, studies: int, items: int) -> tuple[Array, Array, Array]:
        scores = means(draw, design, 1, bool(skewed), studies, items)
        return *of_a_mean(scores), scores[:, 0]

    return simulated


def two_means(design: Design, skewed: float) -> Simulated:
    def simulated(draw: np.random.Generator, studies: int, items: int) -> tuple[Array, Array, Array]:
        scores = means(draw, design, 2, bool(skewed), studies, items)
        return *of_means(scores), scores[:, 0] - scores[:, 1]

    return simulated


def simulated_over(
    cells: Sequence[tuple[Design, int]],
    studies: int,
    make: Callable[[Design, float], Simulated],
    grid: Sequence[float],
    equal: bool,
) -> Found:
    """Each design with each number of prompts and value of a grid, which is the truth where `equal`; else it is 0."""
    return [
        tally(make(design, each), design, size, studies, each if equal else 0.0)
        for design, size in cells
        for each in grid
    ]


def keep(what: str, found: Found, also: Found | tuple[()], held: bool) -> None:
    """One row: how often intervals cover on average over `found`, and at the worst over `also` too."""
    words = [
        f"{np.mean([each[side].coverage for each in found]):.1%} covered, "
        f"at least {min(each[side].coverage for each in (*found, *also)):.1%}"
        + (f"; a claim held by chance at most {max(each[side].held for each in found):.1%}" if held else "")
        for side in (0, 1)
    ]
    ratio = np.mean([ours.coverage for ours, _ in found]) / np.mean([peer.coverage for _, peer in found])
    work = f"{what}; {len(found) + len(also)} times {found[0][0].studies:,} studies"
    record("coverage", work, words[0], f"percentile bootstrap, {words[1]}", float(ratio), ["numpy", "scipy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000, help="simulated studies in each cell")
    parser.add_argument("--groups", type=int, nargs="*", default=range(len(GROUPS)), help="which numbers of seeds")
    arguments = parser.parse_args()
    studies: int = arguments.studies
    for group in (list(GROUPS)[number] for number in arguments.groups):
        for sizes, named in ((SMALL, "5 to 50 prompts"), (LARGE, "100 to 500 prompts")):
            cells = [(design, size) for design in GROUPS[group] for size in sizes]
            over = partial(simulated_over, cells, studies)
            keep(f"rates, evenly, {named}, {group}", over(a_rate, EVEN, True), over(a_rate, NEAR, True), False)
            keep(f"means, normal and exponential, {named}, {group}", over(a_mean, (0, 1), False), (), False)
            apart = over(two_rates, EQUAL, False) + over(two_means, (0, 1), False)
            keep(f"differences of equal rates and means, {named}, {group}", apart, (), True)


if __name__ == "__main__":
    main()
