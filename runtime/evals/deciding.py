"""How many prompts or seeds would decide a claim that is undecided, by the variance that was seen."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np

from runtime.evals.gaps import Gap
from runtime.evals.intervals import reach
from runtime.evals.scale import Scale

_MOST_ITEMS = 1_000_000
_SEEDS = (*range(2, 21), 25, 30, 40, 50, 70, 100)


def would_decide(gap: Gap, comparison: str, level: float, written: Scale) -> str | None:
    """What would bring the interval's end to zero, if the difference and the variance stay what they are.

    None where there is no interval. Half of such studies would decide it: the difference that they see varies.

    Args:
        gap: left less right.
        comparison: between them; an equality can't be shown by more of anything.
        level: of the interval that has to leave zero out.
        written: how the difference is written.
    """
    ends = gap.interval(level)
    if ends is None:
        return None
    shown = f"{written.bare(gap.value, '+')}{' points' if written.percent else ''}"
    if comparison == "==":
        return f"nothing would show that both sides are equal; that they differ would show if they differ by {shown}"
    if gap.value == 0:
        return "no number of prompts would decide it while both sides are equal"
    choices = [each for each in (_items(gap, ends), _seeds(gap, level)) if each is not None]
    if not choices:
        return f"neither {_MOST_ITEMS:,} prompts nor {_SEEDS[-1]} seeds would decide it if the difference stays {shown}"
    return f"about {', or '.join(choices)} would decide it if the difference stays {shown}"


def _items(gap: Gap, ends: tuple[float, float]) -> str | None:
    """Prompts, with the seeds that there are."""
    found = gap.spread
    end = ends[0] if gap.value > 0 else ends[1]
    wanted = float(found.variance) * (gap.value / (gap.value - end)) ** 2 - float(found.added)
    if wanted <= 0:
        return None
    more = [
        max(_rounded(ceil(len(part.aligned.items) * float(found.items) / wanted)), len(part.aligned.items) + 1)
        for part in gap.parts
    ]
    return " and ".join(f"{count:,}" for count in more) + " prompts" if max(more) <= _MOST_ITEMS else None


def _seeds(gap: Gap, level: float) -> str | None:
    """Seeds, with the prompts that there are; None where a single seed says nothing of how seeds vary."""
    found = gap.spread
    if found.seeds == 1:
        return None
    for seeds in (each for each in _SEEDS if each > found.seeds):
        share = found.seeds / seeds
        answers, between = found.answers * share, found.between * share
        then = replace(
            found, items=found.items - found.answers + answers, answers=answers, between=between, seeds=seeds
        )
        if float(reach(then, level, wary=True) * np.sqrt(then.variance)) < abs(gap.value):
            return f"{seeds} seeds"
    return None


def _rounded(count: int) -> int:
    """Up to two digits: it is an estimate."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return ceil(count / unit) * unit
