"""Scores token sequences as branches of trees: what several of them begin with is read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.program.branches import Forest
from runtime.evals.sequences import BATCH_TOKENS, ROW_TOKENS, SequenceScores, TokenSequence

BranchModel = Callable[[Forest], Any]
"""A forest of int32 arrays to float32 `[rows, targets]`: the natural log of each target's probability."""

_OPEN = 256
"""Rows that a sequence may still go to: finding one doesn't take longer the more there are."""
_TARGETS = 128
"""A row has room for a multiple of so many targets: few shapes are compiled."""


def score_branches(
    sequences: Sequence[TokenSequence],
    model: BranchModel,
    advance: Callable[[int], None] = lambda tokens: None,
    devices: int = 1,
) -> SequenceScores:
    """The log-probability of each sequence's counted tokens, to rounding what `sequences.score_sequences` gives.

    Sequences are taken in the order of their tokens, so that those which begin alike come together, and each goes to
    the row where it adds the fewest tokens. The last counted token of a sequence, and what follows, isn't read at all.
    Every batch has the same shape, of about `BATCH_TOKENS` a device, or less where all fit in one.

    Args:
        sequences: none of them empty.
        model: see there.
        advance: told after each batch how many tokens were read or looked for, those that are shared once a sequence.
        devices: over how many the rows of a batch are spread.
    """
    total = np.zeros(len(sequences))
    count = np.array([int(each.counted[1:].sum()) for each in sequences], dtype=np.int64)
    trees = planted(sequences)
    advance(sum(len(each.tokens) for each, counted in zip(sequences, count.tolist(), strict=True) if not counted))
    if not trees:
        return SequenceScores(total, count)
    length = room_for(sequences)
    rows = min(max(1, BATCH_TOKENS // length) * devices, len(trees))
    targets = -(-max(len(tree.targets) for tree in trees) // _TARGETS) * _TARGETS
    for start in range(0, len(trees), rows):
        batch = trees[start : start + rows]
        values = np.asarray(model(_forest(batch, rows, length, targets)), dtype=np.float64)
        for tree, found in zip(batch, values, strict=False):
            np.add.at(total, tree.owners, found[: len(tree.owners)])
        advance(sum(len(sequences[index].tokens) for tree in batch for index in tree.sequences))
    return SequenceScores(total, count)


@dataclass
class Tree:
    """A row in the making: trees side by side, laid out depth first."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """See `compiler.program.blocked.Branches`; of the tokens on `path`, once the row is full."""
    places: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """Of each target, the number of its sequence."""
    sequences: list[int] = field(default_factory=list)
    path: list[int] = field(default_factory=list)
    """The places of the tokens that the last sequence went along."""

    def add(self, index: int, sequence: TokenSequence, shared: int) -> None:
        """Puts in a sequence that goes the first `shared` tokens along with the last one."""
        self._close(shared)
        read = _read(sequence)
        first = len(self.tokens)
        self.tokens.extend(sequence.tokens[shared:read].tolist())
        self.positions.extend(range(shared, read))
        self.ends.extend([0] * (read - shared))
        self.path[shared:] = range(first, len(self.tokens))
        wanted = np.flatnonzero(sequence.counted[1:]) + 1
        self.places.extend(self.path[number - 1] for number in wanted.tolist())
        self.targets.extend(sequence.tokens[wanted].tolist())
        self.owners.extend([index] * len(wanted))
        self.sequences.append(index)

    def _close(self, shared: int) -> None:
        """Nothing goes on from tokens of the path after so many."""
        for place in self.path[shared:]:
            self.ends[place] = len(self.tokens)

    def finished(self) -> Tree:
        self._close(0)
        return self


def planted(sequences: Sequence[TokenSequence]) -> list[Tree]:
    """All sequences that count a token, in rows of `room_for` them."""
    order = sorted((n for n, each in enumerate(sequences) if each.counted[1:].any()), key=lambda n: _key(sequences[n]))
    if not order:
        return []
    texts = [sequences[index].tokens[: _read(sequences[index])] for index in order]
    room = room_for(sequences)
    trees: list[Tree] = []
    left, free, shared = (np.zeros(0, np.int64) for _ in range(3))
    """Of the last `_OPEN` rows: room for tokens and targets, and how much of the next sequence they have already."""
    for number, index in enumerate(order):
        if number:
            shared = np.minimum(shared, _common(texts[number - 1], texts[number]))
        cost, wanted = len(texts[number]) - shared, int(sequences[index].counted[1:].sum())
        fitting = np.flatnonzero((cost <= left) & (wanted <= free))
        if len(fitting):
            # Where it adds least; of such rows the one that it fills most.
            row = int(fitting[np.lexsort((left[fitting], cost[fitting]))[0]])
        else:
            trees.append(Tree())
            cost, left, free, shared = (
                np.append(each, new)[-_OPEN:]
                for each, new in ((cost, len(texts[number])), (left, room), (free, room), (shared, 0))
            )
            row = len(left) - 1
        trees[row - len(left)].add(index, sequences[index], int(shared[row]))
        left[row] -= cost[row]
        free[row] -= wanted
        shared[row] = len(texts[number])
    return [tree.finished() for tree in trees]


def room_for(sequences: Sequence[TokenSequence]) -> int:
    """Tokens a row: `ROW_TOKENS`, or so many times two that the longest sequence has room."""
    longest = max((_read(each) for each in sequences), default=0)
    room = ROW_TOKENS
    while room < longest:
        room *= 2
    return room


def _read(sequence: TokenSequence) -> int:
    """How many of a sequence's tokens are read: those before the last that counts."""
    counted = np.flatnonzero(sequence.counted)
    return int(counted[-1]) if len(counted) else 0


def _key(sequence: TokenSequence) -> bytes:
    """Sorts as the tokens that are read do."""
    return sequence.tokens[: _read(sequence)].astype(">u4").tobytes()


def _common(before: NDArray[np.int32], after: NDArray[np.int32]) -> int:
    """With how many tokens two texts begin alike."""
    length = min(len(before), len(after))
    differ = np.flatnonzero(before[:length] != after[:length])
    return int(differ[0]) if len(differ) else length


def _forest(trees: Sequence[Tree], rows: int, length: int, targets: int) -> Forest:
    shapes = {"tokens": length, "positions": length, "ends": length, "places": targets, "targets": targets}
    arrays: dict[str, NDArray[np.int32]] = {name: np.zeros((rows, size), np.int32) for name, size in shapes.items()}
    arrays["ends"][:] = np.arange(1, length + 1, dtype=np.int32)  # padding sees itself
    for row, tree in enumerate(trees):
        for name, array in arrays.items():
            values = getattr(tree, name)
            array[row, : len(values)] = values
    made: Any = arrays
    return Forest(**made)
