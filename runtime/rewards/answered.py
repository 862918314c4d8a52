"""Sampled answers as rewards see them, and what a reward says of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answered:
    """One answer to a prompt.

    Attributes:
        record: the prompt's row: `messages`, and whatever fields it has beside them.
        text: of the answer.
        place: FILE:LINE of the row.
        sample: which answer to this prompt it is, from 0.
    """

    record: Mapping[str, Any]
    text: str
    place: str
    sample: int


@dataclass(frozen=True)
class Worth:
    """What an answer is worth.

    Attributes:
        value: None where a judge's words can't be read.
        terms: of a sum, the value of each reward in it by name, before its weight; of any other, its own.
        unreadable: why there is no value.
    """

    value: float | None
    terms: Mapping[str, float] = field(default_factory=dict[str, float])
    unreadable: str = ""
