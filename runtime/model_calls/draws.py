"""Numbers for what Inspect asks of a model: from the conversation, the epoch, and how often a sample asked it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from inspect_ai.log import transcript
from inspect_ai.solver._task_state import sample_state  # the public names have no way to a sample's epoch

from runtime.data.rows import canonical_json


@dataclass(frozen=True)
class Drawn:
    """What tells an answer from others.

    Attributes:
        said: SHA-256 of the conversation and the tools, in hexadecimal.
        epoch: of the sample, from 1; 1 outside of an evaluation.
        turn: how often the sample asked just this before.
    """

    said: str
    epoch: int
    turn: int

    @property
    def sample(self) -> int:
        """The number of the answer among those to the conversation: 0 for the first."""
        return number([self.epoch, self.turn]) if (self.epoch, self.turn) != (1, 0) else 0

    def seed(self, of: int) -> int:
        """The random stream of the answer, with the seed `of` a study or configuration."""
        return number([self.said, self.epoch, self.turn, of])


class Draws:
    """Counts, for each sample, what it asks."""

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[Any, Counter[str]] = WeakKeyDictionary()

    def next(self, messages: Sequence[Any], tools: Sequence[Any]) -> Drawn:
        """Of what is asked now, in the context of Inspect's sample; messages and tools in the layout of records."""
        state = sample_state()
        asked = self._asked.setdefault(transcript(), Counter())
        said = hashlib.sha256(canonical_json([messages, tools]).encode()).hexdigest()
        turn = asked[said]
        asked[said] += 1
        return Drawn(said, 1 if state is None else state.epoch, turn)


def in_evaluation() -> bool:
    """Whether a sample of Inspect's asks."""
    return sample_state() is not None


def number(told: Sequence[Any]) -> int:
    """A hash from 0 to 2 ** 63 - 1: Inspect's settings hold no more."""
    return int.from_bytes(hashlib.sha256(canonical_json(list(told)).encode()).digest()[:8], "big") >> 1
