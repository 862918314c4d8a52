"""What the training loop takes for an update: a batch, what it holds in numbers, and who makes both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from compiler.program.step import TrainState


@dataclass(frozen=True)
class Prepared:
    """The batch of one update. Numbers are of the whole batch, whichever process holds which of its rows."""

    batch: Any
    """A pytree of NumPy's or JAX's arrays with rows on axis 0: this process's rows (see `Placement.rows`)."""
    rows: int
    """Of the whole batch."""
    places: int
    """Where a token can stand: tokens and padding."""
    tokens: int
    trained_tokens: int
    """That the loss takes."""
    denominator: int
    """What the loss is divided by: trained tokens, pairs, answers. Zero where nothing is trained."""
    flops: int | None = None
    """Floating-point operations of the update, None where nobody counts them."""
    told: Mapping[str, float] = field(default_factory=dict[str, float])
    """What else is known before the update, for telemetry: rewards, say."""


class Batches(Protocol):
    """The batches of a stage, by update from 1."""

    @property
    def ahead(self) -> bool:
        """Whether a batch can be made while the update before is under way.

        If not, it is asked for after that update's checkpoint and after a look at whether to stop; it may raise
        `Stopped` itself: then the state before it is saved.
        """
        ...

    def prepare(self, update: int, state: TrainState) -> Prepared:
        """The batch of an update. Deterministic: a resumed run reads on from any update.

        `state` is that before the update, or, with `ahead`, of no use. Its arrays may still be computed; they go to
        the update afterwards, so nothing may hold on to them.
        """
        ...

    def places(self, update: int) -> str:
        """The rows of an update's batch in words (FILE:LINE, …), for messages."""
        ...
