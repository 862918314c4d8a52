"""Tokens of a batch of rows in flat arrays: what is made of rows, whatever their format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Loss = Literal["all", "assistant", "last_assistant", "completion"]
"""Which tokens are trained.

all: every token but the first of a row, which has no predecessor.
assistant: what the model has to write itself, in every turn of the assistant.
last_assistant: the same in the assistant's last message alone.
completion: all behind the prompt: what follows the last message of the user or of a tool.
"""
Reasoning = Literal["train", "mask"]
"""Whether the thinking at the start of an assistant's turn is trained with the rest of it."""

ROLES = ("template", "system", "user", "assistant", "tool", "document")
"""Names of the codes in `roles`: the index is the code. What a template writes outside of messages is its own; but
where it writes the first, a system message, ahead of its loop, all that stands there counts as system.
"""
CODES = {name: code for code, name in enumerate(ROLES)}


@dataclass(frozen=True)
class Encoded:
    """Tokens of a batch of rows, one behind the other.

    Attributes:
        kept: int64[n], which of the given rows these are.
        offsets: int64[n + 1], where each begins in the flat arrays.
        tokens: int32[offsets[-1]].
        trained: bool, same length.
        roles: uint8, same length: an index into ROLES.
        set_aside: rows that can't be encoded, by index, with the reason.
        dropped: how many chats hold something that the template leaves out, by what it is: `reasoning`, `tools`.
        seconds: int64[n], of pairs where in each row the second side begins; None where rows have one side.
    """

    kept: NDArray[np.int64]
    offsets: NDArray[np.int64]
    tokens: NDArray[np.int32]
    trained: NDArray[np.bool_]
    roles: NDArray[np.uint8]
    set_aside: Mapping[int, str]
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: NDArray[np.int64] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64[n], tokens of each row."""
        return np.diff(self.offsets)

    @property
    def longest(self) -> NDArray[np.int64]:
        """int64[n], tokens that each row takes of a sequence: all of them, or those of a pair's longer side."""
        return self.lengths if self.seconds is None else np.maximum(self.seconds, self.lengths - self.seconds)

    @property
    def trained_lengths(self) -> NDArray[np.int64]:
        """int64[n], trained tokens of each row."""
        return _counts(self.trained, self.offsets)

    def select(self, keep: NDArray[np.bool_]) -> Encoded:
        """The kept rows that are marked true, bool[n]. The others are in neither list then."""
        if keep.all():
            return self
        of_kept = np.repeat(keep, self.lengths)
        return replace(
            self,
            kept=self.kept[keep],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[keep])]),
            tokens=self.tokens[of_kept],
            trained=self.trained[of_kept],
            roles=self.roles[of_kept],
            seconds=None if self.seconds is None else self.seconds[keep],
        )


def flat(rows: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets, int64[n + 1], and all tokens, int32, one row behind the other."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return offsets, np.concatenate(rows) if rows else np.zeros(0, np.int32)


def without_first_tokens(encoded: Encoded) -> Encoded:
    """With every row's first token untrained: nothing stands before it that it could follow from."""
    trained = encoded.trained.copy()
    trained[encoded.offsets[:-1][encoded.lengths > 0]] = False
    return replace(encoded, trained=trained)


def without_untrained(encoded: Encoded, reason: str) -> Encoded:
    """Masks every row's first token, and sets rows aside of which nothing is trained then."""
    encoded = without_first_tokens(encoded)
    keep = encoded.trained_lengths > 0
    return replace(
        encoded.select(keep),
        set_aside={**encoded.set_aside, **dict.fromkeys(encoded.kept[~keep].tolist(), reason)},
    )


def to_last_trained(encoded: Encoded) -> Encoded:
    """Without what follows the last trained token of each row; every row has one."""
    ends = np.maximum.reduceat(np.where(encoded.trained, np.arange(len(encoded.tokens)), -1), encoded.offsets[:-1]) + 1
    lengths = ends - encoded.offsets[:-1]
    kept = np.arange(len(encoded.tokens)) < np.repeat(ends, encoded.lengths)
    return replace(
        encoded,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        tokens=encoded.tokens[kept],
        trained=encoded.trained[kept],
        roles=encoded.roles[kept],
    )


def paired(chosen: Encoded, rejected: Encoded) -> Encoded:
    """Rows of two sides, one behind the other. Both have the same rows; what was set aside of either is set aside."""
    both = together([chosen, rejected])  # of two equal numbers, the first part's row comes first
    return replace(both, kept=both.kept[::2], offsets=both.offsets[::2], seconds=both.lengths[::2])


def together(parts: Iterable[Encoded]) -> Encoded:
    """Rows of one side that were encoded apart, each with its own number, as one batch in the order of their numbers.

    Of rows with the same number, those of an earlier part come first.
    """
    parts = list(parts)
    kept = np.concatenate([part.kept for part in parts])
    firsts = np.cumsum([0] + [len(part.tokens) for part in parts])
    starts = np.concatenate([part.offsets[:-1] + first for part, first in zip(parts, firsts, strict=False)])
    lengths = np.concatenate([part.lengths for part in parts])
    order = np.argsort(kept, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    places = np.repeat(starts[order] - offsets[:-1], lengths[order]) + np.arange(offsets[-1])
    return Encoded(
        kept=kept[order],
        offsets=offsets,
        tokens=np.concatenate([part.tokens for part in parts])[places],
        trained=np.concatenate([part.trained for part in parts])[places],
        roles=np.concatenate([part.roles for part in parts])[places],
        set_aside={number: reason for part in parts for number, reason in part.set_aside.items()},
        dropped=_sum(part.dropped for part in parts),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for name, number in count.items():
            total[name] = total.get(name, 0) + number
    return total


def _counts(mask: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    before = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
    return before[offsets[1:]] - before[offsets[:-1]]
