"""A study's page: one file without scripts, that reads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from runtime.evals.scale import Scale, plural
from runtime.report import charts
from runtime.report.figures import count, scientific, share, short
from runtime.report.results import BASE, Entry, StudyResults
from runtime.report.samples import Sample, moved_most
from runtime.report.study_report import Curve, StudyReport
from runtime.report.tables import Table, counts_of_claims, differences_are, excludes_zero, intervals_are, tables

POINTS_OF_A_CURVE = 300
"""A training curve with more updates is averaged to so many points."""


@dataclass(frozen=True)
class Figure:
    """A chart with its legend and what it shows in words."""

    chart: Markup
    caption: str
    legend: tuple[tuple[Markup, str], ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What the page shows of one evaluation."""

    table: Table
    doc: str | None
    intervals: str
    by_seed: dict[str, str]
    """Of each arm: its value with each seed."""
    forest: Figure | None
    along: Figure | None
    """None where no arm was evaluated more than once."""


@dataclass(frozen=True)
class Stage:
    """Training curves of one stage."""

    name: str
    loss: Figure
    others: tuple[Figure, ...]


def render(report: StudyReport) -> str:
    """The whole page. All that comes from specs, data and models is escaped."""
    shown = tables(report.results)
    return _template().render(
        report=report,
        results=report.results,
        status=_status(report.results, shown),
        differences_are=differences_are(shown),
        evaluations=[_evaluation(report, table) for table in shown],
        stages=[_stage(name, list(of)) for name, of in groupby(_by_stage(report.curves), lambda curve: curve.stage)],
        samples=list(_samples(report)),
        mixes=list(_mixes(report.mixes)),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("runtime.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count, short=short, share=share, scientific=scientific, minus=_minus, sentence=_sentence
    )
    environment.globals.update(plural=plural, excludes_zero=excludes_zero, BASE=BASE)
    return environment.get_template("report.html.jinja")


def _minus(text: str) -> str:
    """Numbers as text with the typographer's minus."""
    return text.replace("-", "\N{MINUS SIGN}")


def _sentence(text: str) -> str:
    """Begins with a capital, ends with a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def _status(results: StudyResults, shown: Sequence[Table]) -> str:
    arms = {entry.arm for entry in results.entries}
    parts = [plural(len(arms - {BASE}), "arm") + (" and the base" if BASE in arms else "")]
    seeds = max((table.seeds for table in shown), default=0)
    parts += [plural(seeds, "seed")] if seeds else []
    parts.append(plural(len(shown), "evaluation"))
    if results.claims:
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in counts_of_claims(results))
        parts.append(f"{plural(len(results.claims), 'claim')}: {outcomes}")
    return " · ".join(parts)


def _evaluation(report: StudyReport, table: Table) -> Evaluation:
    own = [entry for entry in report.results.entries if entry.eval == table.eval]
    by_seed = {
        row.entry.arm: ", ".join(
            _minus(table.scale.bare(entry.interval.value))
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
    )


def _forest(table: Table) -> Figure | None:
    scale = table.difference_scale
    effects = [
        charts.Effect(
            label=row.entry.arm,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            text=_minus(f"{scale.bare(interval.value, '+')} ({scale.interval(interval, '+')})"),
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
        values = np.array([_ends(one) for one in last])
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


def _ends(entry: Entry) -> tuple[float, float, float]:
    interval = entry.interval
    value, low, high = (np.nan if x is None else x for x in (interval.value, interval.low, interval.high))
    return value, low, high


def _tick(scale: Scale, unit: str = "%") -> charts.Write:
    """Ticks are round numbers: as many digits as they have. `unit` is that of percents."""
    return lambda x: _minus(f"{round(100 * x, 6):g}{unit}" if scale.percent else f"{round(x, 9):g}")


def _by_stage(curves: Sequence[Curve]) -> list[Curve]:
    stages = list(dict.fromkeys(curve.stage for curve in curves))
    return sorted(curves, key=lambda curve: stages.index(curve.stage))


def _stage(name: str, curves: Sequence[Curve]) -> Stage:
    labels = list(dict.fromkeys(curve.label for curve in curves))
    seeds = len({curve.seed for curve in curves})
    legend = tuple((charts.swatch(number, marks=False), label) for number, label in enumerate(labels))

    def figure(what: str, values: Sequence[np.ndarray]) -> Figure:
        series = [
            charts.Series(curve.label, *_averaged(curve.tokens, y), style=labels.index(curve.label), marks=False)
            for curve, y in zip(curves, values, strict=True)
        ]
        caption = f"{what} in {name} along the tokens read" + (", a line a seed" if seeds > 1 else "")
        told = "; ".join(f"{one.label} from {one.y[0]:.3g} to {one.y[-1]:.3g}" for one in series)
        chart = charts.curves(series, f"{caption}: {told}", "tokens read", short, lambda y: _minus(f"{y:.4g}"))
        return Figure(chart, f"{caption}.", legend)

    return Stage(
        name,
        figure("Loss (nats a trained token, before each update)", [curve.loss for curve in curves]),
        (
            figure("Learning rate", [curve.learning_rate for curve in curves]),
            figure("Gradient norm (before clipping)", [curve.gradient_norm for curve in curves]),
        ),
    )


def _averaged(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbours, so that at most `POINTS_OF_A_CURVE` are left."""
    parts = min(len(x), POINTS_OF_A_CURVE)

    def means(values: np.ndarray) -> np.ndarray:
        return np.array([part.mean() for part in np.array_split(values.astype(np.float64), parts)])

    return means(x), means(y)


@dataclass(frozen=True)
class ArmSamples:
    """Items of an evaluation that an arm moved most."""

    eval: str
    arm: str
    by_length: bool
    samples: tuple[Sample, ...]


def _samples(report: StudyReport) -> Iterator[ArmSamples]:
    for eval, by_arm in report.responses.items():
        for arm, table in by_arm.items():
            if arm != BASE and BASE in by_arm:
                by_length = eval in report.by_length
                samples = moved_most(by_arm[BASE], table, by_length)
                if samples:
                    yield ArmSamples(eval, arm, by_length, tuple(samples))


def _mixes(mixes: Sequence[Any]) -> Iterator[tuple[Any, list[int]]]:
    """Each mix of each train step once, with the seeds that it is trained with; shown is the first one's."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for mix in mixes:
        found.setdefault((mix["name"], mix["train"], mix["tokenizer"]), []).append(mix)
    for same in found.values():
        yield same[0], sorted({mix["seed"] for mix in same})
