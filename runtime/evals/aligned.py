"""Cells of one evaluation over the same items and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtime.evals.score import Scored


@dataclass(frozen=True)
class Cell:
    """One arm's scores at one moment, by seed; the seed None stands for every seed."""

    label: str
    """For people."""
    by_seed: Mapping[int | None, Scored]


@dataclass(frozen=True)
class Aligned:
    """Cells over the same items and seeds; an answer that one cell lacks counts in none."""

    items: tuple[str, ...]
    """Sorted identities."""
    seeds: tuple[int | None, ...]
    numerator: np.ndarray
    """float64 `[cells, seeds, items]`: value times weight, summed over an item's answers."""
    denominator: np.ndarray
    """float64 `[cells, seeds, items]`: weight, summed over an item's answers."""
    rate: bool

    def values(self) -> np.ndarray:
        """float64 `[cells]`: weighted means over items and seeds."""
        return self.numerator.sum((1, 2)) / self.denominator.sum((1, 2))


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
        items=tuple(items[index] for index in used.tolist()),
        seeds=seeds,
        numerator=(numerator * everywhere)[:, :, used],
        denominator=(denominator * everywhere)[:, :, used],
        rate=scored[0].is_rate,
    )
