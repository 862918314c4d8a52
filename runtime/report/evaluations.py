"""What the page shows of an evaluation: its table, differences, curves along tokens, and grids of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.evals.scale import Scale
from runtime.evals.statistics import Interval
from runtime.report import charts
from runtime.report.figure import Figure, minus
from runtime.report.figures import short
from runtime.report.matrix import Grid, grids
from runtime.report.results import Entry
from runtime.report.study_report import StudyReport
from runtime.report.tables import Table, intervals_are


@dataclass(frozen=True)
class Evaluation:
    """One evaluation."""

    table: Table
    doc: str | None
    intervals: str
    by_seed: dict[str, str]
    """Of each arm: its value with each seed."""
    forest: Figure | None
    along: Figure | None
    """None where no arm was evaluated more than once."""
    grids: list[Grid]
    """Of the arms of a matrix."""
    distances: Figure | None
    """Where the study measures distances to this evaluation or to another one."""


def evaluation(report: StudyReport, table: Table) -> Evaluation:
    own = [entry for entry in report.results.entries if entry.eval == table.eval]
    by_seed = {
        row.entry.arm: ", ".join(
            minus(table.scale.bare(entry.interval.value))
            for entry in own
            if (entry.arm, entry.place) == (row.entry.arm, row.entry.place)
            and entry.seed is not None
            and entry.interval.value is not None
        )
        for row in table.rows
    }
    return Evaluation(
        table=table,
        doc=report.docs.get(table.eval),
        intervals=intervals_are(table),
        by_seed=by_seed,
        forest=_forest(table),
        along=_along(table, [entry for entry in own if entry.seed is None]),
        grids=grids(table, report.levels),
        distances=_distances(report, table),
    )


def _forest(table: Table) -> Figure | None:
    scale = table.difference_scale
    effects = [
        charts.Effect(
            label=row.entry.arm,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            text=minus(f"{scale.bare(interval.value, '+')} ({scale.interval(interval, '+')})"),
        )
        for row in table.rows
        if row.difference is not None and (interval := row.difference.interval).value is not None
    ]
    if not effects:
        return None
    unit = ", percentage points" if scale.percent else ""
    told = "; ".join(f"{one.label} {one.text}" for one in effects)
    description = f"Difference to the base in {table.metric}: {told}"
    return Figure(
        charts.forest(effects, description, f"arm less base{unit}", _tick(scale, unit="")),
        f"Each arm less the base at the end, with its 95% interval{unit.replace(',', ', in')}.",
    )


def _along(table: Table, pooled: Sequence[Entry]) -> Figure | None:
    """Curves of the arms in their last stage, along its tokens."""
    curves: list[charts.Series] = []
    level = None
    for arm in (row.entry.arm for row in table.rows):
        own = [entry for entry in pooled if entry.arm == arm and entry.interval.value is not None]
        if not own:
            continue
        if len(own) == 1 and own[0].stage is None:
            interval = own[0].interval
            assert interval.value is not None
            level = charts.Level(arm, interval.value, interval.low, interval.high)
            continue
        last = sorted((entry for entry in own if entry.place.stage is None), key=lambda entry: entry.tokens)
        if not last:
            continue  # it hasn't got there yet
        values = np.array([_of(one.interval) for one in last])
        tokens = np.array([one.tokens for one in last], dtype=np.float64)
        curves.append(charts.Series(arm, tokens, values[:, 0], len(curves), values[:, 1], values[:, 2]))
    if all(len(one.x) < 2 for one in curves):
        return None
    told = "; ".join(
        f"{one.label} from {table.scale.value(one.y[0])} to {table.scale.value(one.y[-1])}" for one in curves
    )
    caption = f"{table.metric} along the tokens read in the last stage, over all seeds, with 95% intervals"
    if level is not None:
        caption += f"; the line is the {level.label}, the band its interval"
    return Figure(
        charts.curves(curves, f"{caption}: {told}", "tokens read", short, _tick(table.scale), level),
        caption + ".",
        tuple((charts.swatch(one.style), one.label) for one in curves),
    )


def _tick(scale: Scale, unit: str = "%") -> charts.Write:
    """Ticks are round numbers: as many digits as they have. `unit` is that of percents."""
    return lambda x: minus(f"{round(100 * x, 6):g}{unit}" if scale.percent else f"{round(x, 9):g}")


def _distances(report: StudyReport, table: Table) -> Figure | None:
    """Each arm's effect against how far its training data lies from an evaluation."""
    distances, scale = report.results.distances, table.difference_scale
    spots = [
        charts.Spot(
            row.entry.arm,
            _of(distances[row.entry.arm]),
            _of(row.difference.interval),
            number,
        )
        for number, row in enumerate(table.rows)
        if row.difference is not None
        and row.difference.interval.value is not None
        and row.entry.arm in distances
        and distances[row.entry.arm].value is not None
    ]
    if not spots:
        return None
    unit = " in percentage points" if scale.percent else ""
    to = report.distance_to or "the evaluation"
    caption = f"Each arm less the base{unit} against the distance of its training data to {to}, with 95% intervals"
    told = "; ".join(f"{one.label} at {one.x[0]:.3g}: {minus(scale.bare(one.y[0], '+'))}" for one in spots)
    return Figure(
        charts.scatter(spots, f"{caption}: {told}", f"distance to {to}", lambda x: f"{x:.3g}", _tick(scale, unit="")),
        f"{caption}. So few arms show a pattern, if any, and no cause.",
        tuple((charts.swatch(one.style, line=False), one.label) for one in spots),
    )


def _of(interval: Interval) -> tuple[float, float, float]:
    """Value, low and high, NaN where they aren't known."""
    value, low, high = (np.nan if x is None else x for x in (interval.value, interval.low, interval.high))
    return value, low, high
