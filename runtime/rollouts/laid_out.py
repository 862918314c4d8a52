"""Sampled answers as the arrays of a batch: one a row, behind its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from compiler.program.policy import Advantage, PolicyBatch, answer_weight, denominator_of
from runtime.rollouts.transcripts import Transcript


@dataclass(frozen=True)
class LaidOut:
    """A batch in NumPy's arrays, and what it holds in numbers."""

    batch: PolicyBatch
    tokens: int
    trained_tokens: int
    pairs: int
    """Of a token with itself or an earlier one, which attention looks at."""
    denominator: int


def laid_out(
    prompts: Sequence[Sequence[int]],
    transcripts: Sequence[Transcript],
    rows: int,
    sequence: int,
    kind: Advantage,
    max_tokens: int,
    *,
    truncated: bool,
) -> LaidOut:
    """The answers of groups that count.

    Args:
        prompts: tokens of the update's prompts.
        rows: of the batch; those without an answer are padding.
        sequence: the most tokens of a row. Rows are filled up to a quarter of it, or two, three or all of them: few
            widths, few compilations.
        truncated: whether answers that were cut off have a loss. Without, they count as answers all the same.
    """
    kept = [each for each in transcripts if not each.dropped]
    lengths = [len(prompts[each.prompt]) + len(each.tokens) for each in kept]
    quarter = -(-sequence // 4)
    width = min(max(-(-max(lengths, default=1) // quarter), 1) * quarter, sequence)
    shape = rows, width
    tokens, segments, positions = (np.zeros(shape, np.int32) for _ in range(3))
    weights, advantages, sampled = (np.zeros(shape, np.float32) for _ in range(3))
    for row, (each, length) in enumerate(zip(kept, lengths, strict=True)):
        prompt = prompts[each.prompt]
        answer = slice(len(prompt), length)
        tokens[row, :length] = [*prompt, *each.tokens]
        segments[row, :length] = 1
        positions[row, :length] = np.arange(length)
        sampled[row, answer] = each.log_probabilities
        advantages[row, answer] = each.advantage
        if truncated or each.finish == "stop":
            weights[row, answer] = answer_weight(kind, len(each.tokens))
    return LaidOut(
        PolicyBatch(*cast(Any, (tokens, segments, positions, weights, advantages, sampled))),
        tokens=sum(lengths),
        trained_tokens=int(np.count_nonzero(weights)),
        pairs=sum(length * (length + 1) // 2 for length in lengths),
        denominator=denominator_of(kind, len(kept), max_tokens),
    )


def rows_part(batch: PolicyBatch, rows: slice) -> PolicyBatch:
    """Some of the rows."""

    def part(array: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if array is None else array[rows]

    return PolicyBatch(*cast(Any, (part(cast(Any, array)) for array in batch)))
