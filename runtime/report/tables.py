"""What the table of an evaluation shows: each arm at its end, beside the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.evals.points import AT_END
from runtime.evals.scale import Scale, plural, scale
from runtime.evals.score import is_rate
from runtime.evals.statistics import Interval
from runtime.report.results import BASE, Difference, Entry, StudyResults


@dataclass(frozen=True)
class Row:
    """An arm at its end, over all seeds."""

    entry: Entry
    difference: Difference | None
    """None for the base, and where there is none to compare with."""


@dataclass(frozen=True)
class Table:
    """One evaluation."""

    eval: str
    metric: str
    rows: tuple[Row, ...]
    """The base first."""
    scale: Scale
    """Of values."""
    difference_scale: Scale
    seeds: int
    """The most that an arm has; 0 where nothing was trained."""
    items: int
    """The most that an arm has."""
    unreadable: int
    """Answers, over arms."""


def tables(results: StudyResults) -> list[Table]:
    """One for each evaluation, in the study's order."""
    return [_table(results, eval) for eval in dict.fromkeys(entry.eval for entry in results.entries)]


def _table(results: StudyResults, eval: str) -> Table:
    own = [entry for entry in results.entries if entry.eval == eval]
    pooled = [entry for entry in own if entry.seed is None]
    ends = {entry.arm: entry for entry in pooled}  # the last point, unless one is at the end
    ends.update({entry.arm: entry for entry in pooled if entry.place == AT_END})
    differences = {(one.arm, one.place): one for one in results.differences if one.eval == eval}
    arms = sorted(ends, key=lambda arm: arm != BASE)
    rows = tuple(Row(ends[arm], differences.get((arm, ends[arm].place))) for arm in arms)
    metric = own[0].metric
    rate = is_rate(metric)
    return Table(
        eval=eval,
        metric=metric,
        rows=rows,
        scale=scale(rate, [row.entry.interval for row in rows]),
        difference_scale=scale(rate, [row.difference.interval for row in rows if row.difference is not None]),
        seeds=max(len({entry.seed for entry in own if entry.arm == arm} - {None}) for arm in arms),
        items=max(row.entry.interval.n for row in rows),
        unreadable=sum(row.entry.unreadable for row in rows),
    )


def intervals_are(table: Table) -> str:
    """What the intervals of a table are and what they rest on, without a full stop."""
    how = "95% Wilson intervals" if is_rate(table.metric) else "95% intervals"
    if table.items == 1:
        how = "no intervals, however often it was asked,"
    seeds = f" and {table.seeds} seeds" if table.seeds > 1 else ""
    unreadable = f"; {plural(table.unreadable, 'unreadable answer')} left out" if table.unreadable else ""
    return f"{how} over {plural(table.items, 'item')}{seeds}{unreadable}"


def differences_are(tables: Sequence[Table]) -> str:
    """What the intervals of differences are, and what they can't tell."""
    seeds = max((table.seeds for table in tables), default=0)
    pairs = ""
    if any(row.difference is not None for table in tables for row in table.rows):
        pairs = "Differences are paired by item, with 95% intervals. "
    match seeds:
        case 0:
            caveat = "Nothing was trained."
        case 1:
            caveat = "One seed: this says nothing of how much training itself would vary."
        case 2:
            caveat = "With 2 seeds the intervals hold only part of how much training itself would vary."
        case _:
            caveat = f"The intervals hold how much training itself varies, as far as {seeds} seeds tell."
    return (pairs + caveat).strip()


def excludes_zero(interval: Interval) -> bool:
    return interval.low is not None and interval.high is not None and (interval.low > 0 or interval.high < 0)


def counts_of_claims(results: StudyResults) -> Sequence[tuple[str, int]]:
    """How many claims held, failed and are undecided; outcomes that none has are left out."""
    outcomes = [judgement.outcome for _, judgement in results.claims]
    return [(outcome, outcomes.count(outcome)) for outcome in ("held", "failed", "undecided") if outcome in outcomes]
