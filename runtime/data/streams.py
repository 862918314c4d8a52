"""A source as an endless stream of its rows: pass after pass, each a keyed permutation of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.data.keys import numbered, subkey
from runtime.data.permutation import permute

CountUnit = Literal["tokens", "trained tokens", "examples"]


@dataclass(frozen=True)
class Source:
    """Lengths of the rows of a source, in the order of row numbers.

    Attributes:
        name: for messages; takes no part in any order.
        content: what the rows are, such as the hash of their store. With the run's key it names the source's random
            stream, so what stands beside a source in a mix changes nothing in which of its rows come first.
        tokens: int64[n], tokens of each row.
        trained: int64[n], trained tokens of each row.
    """

    name: str
    content: str
    tokens: NDArray[np.int64]
    trained: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tokens)

    def lengths(self, unit: CountUnit) -> NDArray[np.int64]:
        match unit:
            case "tokens":
                return self.tokens
            case "trained tokens":
                return self.trained
            case "examples":
                return np.ones(len(self), np.int64)


@dataclass(frozen=True)
class Stream:
    """The rows of `source` without end: place `j` is in pass `j // n`, whose permutation follows from `key`."""

    source: Source
    key: int

    def amount(self, start: int, stop: int, unit: CountUnit) -> int:
        """What the places `start` to `stop` (exclusive) hold."""
        return self._before(stop, unit) - self._before(start, unit)

    def nearest(self, start: int, wanted: Fraction, unit: CountUnit) -> int:
        """How many places from `start` on come nearest to `wanted`; of two that are as near, the fewer."""
        if unit == "examples":
            return ceil(wanted - Fraction(1, 2))
        lengths = self.source.lengths(unit)
        goal = self._before(start, unit) + wanted
        passes, rest = divmod(goal, int(lengths.sum()))
        place = nearest_count(lengths[self._rows(int(passes), len(self.source))], rest)
        return max(int(passes) * len(self.source) + place - start, 0)

    def _before(self, stop: int, unit: CountUnit) -> int:
        if unit == "examples":
            return stop
        passes, rest = divmod(stop, len(self.source))
        lengths = self.source.lengths(unit)
        return passes * int(lengths.sum()) + int(lengths[self._rows(passes, rest)].sum())

    def _rows(self, number: int, count: int) -> NDArray[np.int64]:
        """The first `count` rows of a pass."""
        return stream_rows(
            np.arange(count) + number * len(self.source),
            np.full(1, len(self.source)),
            np.full(1, self.key, np.uint64),
        )


def nearest_count(lengths: NDArray[np.int64], wanted: Fraction) -> int:
    """How many of the first lengths add up to what is nearest to `wanted`; of two that are as near, the fewer."""
    ends = np.concatenate([[0], np.cumsum(lengths)])
    above = min(int(np.searchsorted(ends, ceil(wanted))), len(lengths))
    below = max(above - 1, 0)
    return below if wanted - int(ends[below]) <= abs(int(ends[above]) - wanted) else above


def streams(sources: Sequence[Source], key: int) -> tuple[Stream, ...]:
    """The sources' streams within the random stream `key`."""
    return tuple(Stream(source, subkey(key, "rows", source.content)) for source in sources)


def stream_rows(places: NDArray[np.int64], sizes: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Row numbers at places of streams with the given numbers of rows and keys; all are broadcast."""
    passes, rest = np.divmod(places, sizes)
    return permute(rest, sizes, numbered(keys, passes))
