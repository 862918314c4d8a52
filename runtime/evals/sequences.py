"""Scores token sequences with a model: sums of log-probabilities, whatever rows the sequences are packed into."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LogProbabilities = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
"""int32 tokens, segments and positions `[rows, length]` to float32 `[rows, length]`.

The natural log of each token's probability given the earlier ones of its segment; 0 for the first token of a segment
and for padding, whose segment is 0.
"""

BATCH_TOKENS = 2048
"""Room of a batch, in tokens, unless one sequence is longer."""
ROW_TOKENS = 512
"""Longest row, in tokens, unless one sequence is longer: the cost of attention grows with it."""


@dataclass(frozen=True)
class TokenSequence:
    """A sequence and which of its tokens count. The first one has nothing before it and never counts."""

    tokens: np.ndarray
    """int32 `[length]`."""
    counted: np.ndarray
    """bool `[length]`."""


@dataclass(frozen=True)
class SequenceScores:
    """In the order of the sequences."""

    log_probability: np.ndarray
    """float64 `[sequences]`: the sum over counted tokens, in nats."""
    count: np.ndarray
    """int64 `[sequences]`: how many tokens counted."""


def score_sequences(
    sequences: Sequence[TokenSequence],
    log_probabilities: LogProbabilities,
    advance: Callable[[int], None] = lambda tokens: None,
    length: int | None = None,
    devices: int = 1,
) -> SequenceScores:
    """The log-probability of each sequence's counted tokens.

    Every batch has the same shape, so the model compiles once. Rows are a multiple of 64 long and hold the longest
    sequence; of such lengths up to `ROW_TOKENS` the one that leaves the least room empty, unless `length` says one. A
    batch has as many rows as make about `BATCH_TOKENS` a device, or fewer where all fit in one.

    Args:
        sequences: none of them empty.
        log_probabilities: the model.
        advance: told after each batch how many tokens of the sequences it held.
        devices: over how many the rows of a batch are spread.
    """
    lengths = np.array([len(sequence.tokens) for sequence in sequences], dtype=np.int64)
    total = np.zeros(len(sequences))
    count = np.array([int(sequence.counted[1:].sum()) for sequence in sequences], dtype=np.int64)
    if not len(sequences):
        return SequenceScores(total, count)
    shortest = -(-int(lengths.max()) // 64) * 64
    rooms = range(shortest, max(shortest, ROW_TOKENS) + 1, 64) if length is None else (length,)
    packings = {room: pack(lengths, room) for room in rooms}
    length = min(packings, key=lambda room: len(packings[room]) * room)
    packed, rows = packings[length], min(max(1, BATCH_TOKENS // length) * devices, len(packings[length]))
    for start in range(0, len(packed), rows):
        members = packed[start : start + rows]
        tokens, segments, positions = (np.zeros((rows, length), dtype=np.int32) for _ in range(3))
        for index, row, first, segment in _places(members, lengths):
            where = row, slice(first, first + lengths[index])
            tokens[where] = sequences[index].tokens
            segments[where] = segment
            positions[where] = np.arange(lengths[index])
        values = np.asarray(log_probabilities(tokens, segments, positions), dtype=np.float64)
        for index, row, first, _ in _places(members, lengths):
            own = values[row, first : first + lengths[index]]
            total[index] = own[1:][sequences[index].counted[1:]].sum()
        advance(int(sum(lengths[index] for row in members for index in row)))
    return SequenceScores(total, count)


def pack(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Best-fit decreasing: each sequence, longest first, goes to the row that it fills most.

    Args:
        lengths: int64 `[sequences]`, none above `room`.
        room: tokens a row.

    Returns:
        Indices of the sequences of each row.
    """
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        best = bisect_left(free, (length, -1))
        if best < len(free):
            left, row = free.pop(best)
            rows[row].append(index)
        else:
            left, row = room, len(rows)
            rows.append([index])
        insort(free, (left - length, row))
    return rows


def _places(members: list[list[int]], lengths: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Index, row, first column and segment number of each sequence in a batch."""
    for row, indices in enumerate(members):
        first = 0
        for segment, index in enumerate(indices, start=1):
            yield index, row, first, segment
            first += int(lengths[index])
