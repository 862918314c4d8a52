"""The arms of a matrix as grids: one factor down, one across, a grid for each combination of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from runtime.report.tables import Row, Table

SHADES = 5
"""Classes `shade-0` to `shade-4`, from the least value to the greatest."""


@dataclass(frozen=True)
class Cell:
    """One arm."""

    row: Row
    shade: int


@dataclass(frozen=True)
class Grid:
    """Two factors; `given` are the levels of the others."""

    given: Mapping[str, str]
    down: str
    across: str
    """Empty where the matrix has a single factor."""
    columns: tuple[str, ...]
    """Levels of `across`."""
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    """Levels of `down`, each with its cells; None where there is no result."""


def grids(table: Table, levels: Mapping[str, Mapping[str, str]]) -> list[Grid]:
    """The grids of an evaluation; empty where the study has no matrix.

    Args:
        levels: of each arm of the matrix, its level by factor, factors in their order.
    """
    own = {row.entry.arm: row for row in table.rows if row.entry.arm in levels}
    if not own:
        return []
    factors = list(next(iter(levels.values())))
    of_factor = {factor: list(dict.fromkeys(of[factor] for of in levels.values())) for factor in factors}
    down, across, *others = [*factors, ""] if len(factors) == 1 else factors
    by_levels = {tuple(levels[arm].values()): row for arm, row in own.items()}
    known = [row.entry.interval.value for row in own.values() if row.entry.interval.value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)

    def cell(place: Mapping[str, str]) -> Cell | None:
        row = by_levels.get(tuple(place[factor] for factor in factors))
        if row is None:
            return None
        value = row.entry.interval.value
        share = 0.0 if value is None or high == low else (value - low) / (high - low)
        return Cell(row, min(SHADES - 1, int(share * SHADES)))

    columns = tuple(of_factor[across]) if across else ("",)
    found: list[Grid] = []
    for combination in product(*(of_factor[other] for other in others)):
        given = dict(zip(others, combination, strict=True))
        rows = tuple(
            (level, tuple(cell({**given, down: level, across: column}) for column in columns))
            for level in of_factor[down]
        )
        found.append(Grid(given, down, across, columns, rows))
    return found
