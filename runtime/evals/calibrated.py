"""What came of measuring a judge against hand labels, and of asking it its canaries again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Calibrated:
    """A judge as its hand labels show it. Figures that don't fit the kind of judgement are None."""

    eval: str
    judge: str
    """The model, as the spec calls it."""
    n: int
    """Hand-labelled rows that it could be compared on."""
    agreement: float | None
    """Of labels: the share that agrees."""
    kappa: float | None
    """Of labels: Cohen's."""
    correlation: float | None
    """Of scores: of the ranks."""
    low: float | None
    """The 95% interval of what is asked for: the agreement, or the correlation of scores."""
    high: float | None
    asked: float | None
    """The least that the spec asks for; None where it asks for none."""
    canary: str | None = None
    """How the judge's answers to its canaries drifted, in words; None where they are what they were."""
    difference: float | None = None
    """Of scores: how far apart hand and judge are on average."""
    bias: float | None = None
    """Of scores: how much higher the judge's are on average."""
    unreadable: int = 0
    """Judgements of hand-labelled answers that can't be read. They agree with no label; scores are without them."""
    between_readers: float | None = None
    """Of labels: the share of equal ones in all pairs of readers of an answer; of scores: how far apart they are."""
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Of labels: by the hand's, how often the judge gave which."""

    @property
    def measured(self) -> float | None:
        """What `asked`, `low` and `high` are about."""
        return self.correlation if self.agreement is None else self.agreement

    @property
    def in_doubt(self) -> bool:
        """Whether the interval reaches below what is asked for, or too few rows give none."""
        return self.asked is not None and (self.low is None or self.low < self.asked)

    @property
    def doubt(self) -> str:
        """Why it is in doubt."""
        if self.low is None:
            return "too few answers are labelled by hand for an interval"
        return "its interval reaches below the agreement that is asked for"
