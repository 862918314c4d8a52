"""Losses and gradients far above what was usual just before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Literal, TypeAlias

from runtime.train.telemetry import Row

Policy: TypeAlias = Literal["warn", "stop", "ignore"]

WINDOW = 64
"""Updates that say what is usual."""
FEWEST = 20
"""Updates without which nothing is unusual."""
DEVIATIONS = 10.0
"""How many deviations above the median is a spike. Losses have a heavy tail: at 6, one in some hundred updates is."""
LEAST = {"loss": 0.1, "gradient_norm": 1.0}
"""The least excess, as a share of the median: where values hardly differ, small steps aren't spikes."""

_NAMES = {"loss": "the loss", "gradient_norm": "the gradient's norm"}
_TO_DEVIATION = 1.4826
"""From the median of distances to the deviation, of a normal distribution."""


class Spikes:
    """Compares each update with the `WINDOW` before it, by median and median distance, which spikes don't move.

    A spike that lasts is told once. `before` are the rows so far: a resumed run judges as one that never stopped.
    """

    def __init__(self, before: Iterable[Row] = ()) -> None:
        self._values = {name: deque[float](maxlen=WINDOW) for name in LEAST}
        self._within = False
        for row in before:
            self.add(row)

    def add(self, row: Row) -> str | None:
        """What is unusual about an update in words, None if nothing or where the one before was so too."""
        found: str | None = None
        for name, values in self._values.items():
            value: float = getattr(row, name)
            usual = _usual(values, LEAST[name])
            if usual is not None and value > usual[1] and found is None:
                before = f"the median of {len(values)} updates before is {usual[0]:.4g}"
                found = f"{_NAMES[name]} jumped to {value:.4g} ({before})"
            values.append(value)
        told, self._within = (None if self._within else found), found is not None
        return told


def _usual(values: deque[float], least: float) -> tuple[float, float] | None:
    """The median, and what is above the usual; None where too little is known."""
    if len(values) < FEWEST:
        return None
    middle = median(values)
    deviation = _TO_DEVIATION * median(abs(value - middle) for value in values)
    return middle, middle + max(DEVIATIONS * deviation, least * abs(middle))
