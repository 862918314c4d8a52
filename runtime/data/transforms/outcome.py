"""What a transform gives: the rows that stay, and what was left out or changed, counted, with examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.data.rows import Rows

EXAMPLES = 5
"""Rows that are named for each reason."""


@dataclass(frozen=True)
class Example:
    """A row that a reason fits: where it comes from (FILE:LINE), and what of it, in a few words."""

    place: str
    detail: str = ""


@dataclass
class Tally:
    """Rows counted by reason, with the first few of each."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    examples: dict[str, list[Example]] = field(default_factory=dict[str, list[Example]])

    @property
    def total(self) -> int:
        """All rows that were counted."""
        return sum(self.counts.values())

    def add(self, reason: str, place: str, detail: str = "") -> None:
        """Counts one row. `place` is asked for with every row, `Rows.place` is cheap."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(Example(place, detail))


@dataclass(frozen=True)
class Outcome:
    """Rows after a transform.

    Attributes:
        rows: those that stay, changed or not.
        dropped: rows that were left out on purpose, by reason: `filter(...)`, `duplicates`, `overlaps with bait_pairs`.
        set_aside: rows that could not be used, by reason; they count against the 1% that stops.
        notes: sentences for the plan: `12 of 300 rows were cut at 2,048 tokens`.
        facts: further numbers for the plan and the report, as JSON.
    """

    rows: Rows
    dropped: Tally = field(default_factory=Tally)
    set_aside: Tally = field(default_factory=Tally)
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
