"""Claims registered before the run: held, failed or undecided by the interval of left less right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runtime.evals.claim_values import Claim, Levels, NoResult, Sides, sides
from runtime.evals.deciding import would_decide
from runtime.evals.gaps import Gap, joint_levels
from runtime.evals.points import Point
from runtime.evals.scale import Scale, plural, scale
from runtime.evals.spread import Array
from runtime.evals.statistics import LEVEL, Interval

__all__ = ["Claim", "Judgement", "Levels", "Outcome", "judge", "judge_all"]

Outcome = Literal["held", "failed", "undecided"]
_WORST_FIRST: tuple[Outcome, ...] = ("failed", "undecided", "held")
_LEAST = -12.0
"""The logarithm of the smallest p value that is told apart."""


@dataclass(frozen=True)
class Judgement:
    """What became of a claim, and why in a sentence."""

    outcome: Outcome
    detail: str
    p: float | None = None
    """The least share of error at which the claim alone would be decided; None where there is nothing to judge by."""
    level: float = LEVEL
    """Of the interval that decided, or didn't: higher than `LEVEL` among several claims."""
    would_decide: str | None = None
    """What would decide an undecided claim, in a sentence."""


def judge(claim: Claim, points: Sequence[Point], levels: Levels | None = None, running: str | None = None) -> Judgement:
    """Judges a claim on its own, by the two-sided interval at `LEVEL` of its left side less its right side.

    It held where the whole interval satisfies the comparison, failed where the whole interval contradicts it. All arms
    are compared over the items and seeds that they share. `at=all` asks for all common points at once, by intervals
    that hold together: it fails where one of them contradicts the comparison.

    Args:
        claim: parsed without mistakes, see `dsl.scalars`.
        points: of the whole study.
        levels: for claims that name factors; a factor left out averages over its levels.
        running: in `stop:`, the arm that an evaluation without one is of.
    """
    return _judged([_test(claim, points, levels or {}, running)])[0]


def judge_all(claims: Sequence[Claim], points: Sequence[Point], levels: Levels | None = None) -> list[Judgement]:
    """Judges the claims of a study so that with `LEVEL` none of them is decided wrongly (Holm, 1979, SJS 6).

    The claim with the smallest p value must be decided at 1 - (1 - LEVEL) / claims, the next one at one claim less, and
    so on until one isn't; that one and those after it are undecided. Claims that nothing is known of count too: they
    were registered. Arguments are those of `judge`.
    """
    return _judged([_test(claim, points, levels or {}, None) for claim in claims])


@dataclass(frozen=True)
class _Test:
    """A claim that can be judged at any level."""

    operator: str
    sides: list[Sides]
    joint: Array | None
    """See `joint_levels`; None at a single point."""

    def at(self, level: float) -> tuple[Outcome, int, Interval]:
        """The outcome, the point that decides it or comes closest to deciding, and the interval there."""
        intervals = [self._interval(side, self._each(level)) for side in self.sides]
        outcomes = [_outcome(self.operator, of, side) for of, side in zip(intervals, self.sides, strict=True)]
        outcome: Outcome = next(worst for worst in _WORST_FIRST if worst in outcomes)
        told = outcomes.index(outcome)
        if outcome == "held":
            told = int(np.argmin([max(of.low or 0.0, -(of.high or 0.0)) for of in intervals]))
        return outcome, told, intervals[told]

    def p(self) -> float:
        """By bisection: intervals grow with their level."""
        if self.at(1 - 10**_LEAST)[0] != "undecided":
            return 10**_LEAST
        low, high = _LEAST, 0.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if self.at(1 - 10**middle)[0] == "undecided" else (low, middle)
        return 10**high

    def _each(self, level: float) -> float:
        """The level of each point's interval with which all hold together at `level`."""
        if self.joint is None:
            return level
        outside = 1 - level
        return 1 - float(np.clip(np.quantile(self.joint, outside), outside / len(self.sides), outside))

    @staticmethod
    def _interval(side: Sides, level: float) -> Interval:
        ends = side.gap.interval(level)
        low, high = (None, None) if ends is None else ends
        return Interval(side.gap.value, low, high, side.gap.smallest)


def _test(claim: Claim, points: Sequence[Point], levels: Levels, running: str | None) -> _Test | str:
    """The claim as a test, or why there is nothing to judge it by."""
    try:
        found = sides(claim, points, levels, running, LEVEL)
    except NoResult as reason:
        return str(reason)
    joint = joint_levels([side.gap for side in found]) if len(found) > 1 else None
    return _Test(claim.comparison.operator, found, joint)


def _judged(tests: Sequence[_Test | str]) -> list[Judgement]:
    chances = [1.0 if isinstance(test, str) else test.p() for test in tests]
    judgements: dict[int, Judgement] = {}
    open_from: float | None = None
    for rank, index in enumerate(sorted(range(len(tests)), key=lambda index: chances[index])):
        test = tests[index]
        outside = (1 - LEVEL) / (len(tests) - rank) if open_from is None else open_from
        if isinstance(test, str):
            judgements[index] = Judgement("undecided", test, level=1 - outside)
            continue
        outcome, told, interval = test.at(1 - outside)
        if outcome == "undecided" and open_from is None:
            open_from = outside
        detail = _detail(test, told, interval, 1 - outside, chances[index], len(tests))
        gap = test.sides[told].gap
        more = would_decide(gap, test.operator, 1 - outside, _scale(gap, interval)) if outcome == "undecided" else None
        judgements[index] = Judgement(outcome, detail, chances[index], 1 - outside, more)
    return [judgements[index] for index in range(len(tests))]


def _outcome(comparison: str, of: Interval, side: Sides) -> Outcome:
    """What the interval of left less right says of `left COMPARISON right`."""
    if comparison in ("==", "!=") and side.gap.identical:
        return "held" if comparison == "==" else "failed"
    low, high = of.low, of.high
    if low is None or high is None:
        return "undecided"
    match comparison:
        case "<":
            held, failed = high < 0, low >= 0
        case "<=":
            held, failed = high <= 0, low > 0
        case ">":
            held, failed = low > 0, high <= 0
        case ">=":
            held, failed = low >= 0, high < 0
        case "==":
            held, failed = False, low > 0 or high < 0
        case _:
            held, failed = low > 0 or high < 0, False
    return "held" if held else "failed" if failed else "undecided"


def _scale(gap: Gap, interval: Interval) -> Scale:
    return scale(all(part.aligned.rate for part in gap.parts), [interval])


def _detail(test: _Test, told: int, interval: Interval, level: float, chance: float, claims: int) -> str:
    side = test.sides[told]
    written = _scale(side.gap, interval)
    points = " points" if written.percent else ""
    assert interval.value is not None
    shown = f"{written.bare(interval.value, '+')}{points}, "
    if interval.low is None:
        shown += "no interval: every item has the same value"
    else:
        among = f" ({LEVEL:.0%} over the study's {claims} claims)" if claims > 1 else ""
        shown += f"{_percent(level)} interval {written.interval(interval, '+')}{among}, p {_chance(chance)}"
    items = " and ".join(plural(len(part.aligned.items), "item") for part in side.gap.parts)
    which = f"at point {told + 1} of {len(test.sides)}, jointly over all, " if len(test.sides) > 1 else ""
    return (
        f"{which}left is {written.value(side.left)}, right {written.value(side.right)}; left less right {shown} "
        f"({items}, {plural(side.gap.seeds, 'seed')})"
    )


def _percent(level: float) -> str:
    """`95%`, `98.3%`."""
    return f"{100 * level:.1f}".removesuffix(".0") + "%"


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
