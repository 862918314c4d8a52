"""A source as an endless stream of its rows: pass after pass, each a keyed permutation of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
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

    def total(self, unit: CountUnit) -> int:
        """What all rows hold together."""
        return len(self) if unit == "examples" else self._totals[unit]

    def longest(self, unit: CountUnit) -> int:
        """What no row holds more of."""
        return 1 if unit == "examples" else self._longest[unit]

    @cached_property
    def _totals(self) -> dict[str, int]:
        return {"tokens": int(self.tokens.sum()), "trained tokens": int(self.trained.sum())}

    @cached_property
    def _longest(self) -> dict[str, int]:
        return {"tokens": int(self.tokens.max(initial=0)), "trained tokens": int(self.trained.max(initial=0))}


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
        source = self.source
        goal = self._before(start, unit) + wanted
        passes, rest = divmod(goal, source.total(unit))
        count = 0
        lengths = np.empty(0, np.int64)
        while count < len(source) and int(lengths.sum()) < rest:  # a small share needs few rows of the permutation
            count = min(2 * count + 1024 + int(rest * len(source) / source.total(unit)), len(source))
            lengths = source.lengths(unit)[self._rows(int(passes), count)]
        place = nearest_count(lengths, rest)
        return max(int(passes) * len(source) + place - start, 0)

    def held(self, stop: int) -> tuple[int, int]:
        """Tokens and trained tokens of the first `stop` places."""
        passes, rest = divmod(stop, len(self.source))
        rows = self._rows(passes, rest)
        tokens = passes * self.source.total("tokens") + int(self.source.tokens[rows].sum())
        return tokens, passes * self.source.total("trained tokens") + int(self.source.trained[rows].sum())

    def _before(self, stop: int, unit: CountUnit) -> int:
        if unit == "examples":
            return stop
        passes, rest = divmod(stop, len(self.source))
        return passes * self.source.total(unit) + int(self.source.lengths(unit)[self._rows(passes, rest)].sum())

    def _rows(self, number: int, count: int) -> NDArray[np.int64]:
        """The first `count` rows of a pass."""
        if count == 0:
            return np.empty(0, np.int64)
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
