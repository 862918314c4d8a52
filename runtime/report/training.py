"""Training curves of the stages of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from runtime.report import charts
from runtime.report.figure import Figure, minus
from runtime.report.figures import short
from runtime.report.study_report import Curve

POINTS_OF_A_CURVE = 300
"""A training curve with more updates is averaged to so many points."""


@dataclass(frozen=True)
class Stage:
    """Training curves of one stage."""

    name: str
    loss: Figure
    parts: tuple[Figure, ...]
    """The loss of each part of a mix, a figure an arm."""
    others: tuple[Figure, ...]


def stages(curves: Sequence[Curve]) -> list[Stage]:
    """One for each stage that was trained, in the order of the curves."""
    return [_stage(name, list(of)) for name, of in groupby(_by_stage(curves), lambda curve: curve.stage)]


def _by_stage(curves: Sequence[Curve]) -> list[Curve]:
    stages = list(dict.fromkeys(curve.stage for curve in curves))
    return sorted(curves, key=lambda curve: stages.index(curve.stage))


def _stage(name: str, curves: Sequence[Curve]) -> Stage:
    labels = list(dict.fromkeys(curve.label for curve in curves))
    by_label = {label: [curve for curve in curves if curve.label == label] for label in labels}
    seeds = len({curve.seed for curve in curves})
    legend = tuple((charts.swatch(number, marks=False), label) for number, label in enumerate(labels))

    def figure(what: str, values: Sequence[np.ndarray]) -> Figure:
        series = [
            charts.Series(curve.label, *_averaged(curve.tokens, y), style=labels.index(curve.label), marks=False)
            for curve, y in zip(curves, values, strict=True)
        ]
        caption = f"{what} in {name} along the tokens read" + (", a line a seed" if seeds > 1 else "")
        told = "; ".join(f"{one.label} from {one.y[0]:.3g} to {one.y[-1]:.3g}" for one in series)
        chart = charts.curves(series, f"{caption}: {told}", "tokens read", short, lambda y: minus(f"{y:.4g}"))
        return Figure(chart, f"{caption}.", legend)

    return Stage(
        name,
        figure("Loss (nats a trained token, before each update)", [curve.loss for curve in curves]),
        tuple(_parts(name, label, of) for label, of in by_label.items() if any(len(curve.parts) > 1 for curve in of)),
        (
            figure("Learning rate", [curve.learning_rate for curve in curves]),
            figure("Gradient norm (before clipping)", [curve.gradient_norm for curve in curves]),
        ),
    )


def _parts(stage: str, label: str, curves: Sequence[Curve]) -> Figure:
    """A line a part and seed; parts that a batch holds nothing of are left out there."""
    names = list(dict.fromkeys(name for curve in curves for name in curve.parts))
    series: list[charts.Series] = []
    for curve in curves:
        for name, values in curve.parts.items():
            known = np.isfinite(values)
            if known.any():
                tokens, loss = _averaged(curve.tokens[known], values[known])
                series.append(charts.Series(name, tokens, loss, names.index(name), marks=False))
    caption = f"Loss of each part in {stage}, {label} (nats a trained token)"
    told = "; ".join(f"{one.label} from {one.y[0]:.3g} to {one.y[-1]:.3g}" for one in series)
    return Figure(
        charts.curves(series, f"{caption}: {told}", "tokens read", short, lambda y: minus(f"{y:.4g}")),
        f"{caption}.",
        tuple((charts.swatch(number, marks=False), name) for number, name in enumerate(names)),
    )


def _averaged(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbours, so that at most `POINTS_OF_A_CURVE` are left."""
    parts = min(len(x), POINTS_OF_A_CURVE)

    def means(values: np.ndarray) -> np.ndarray:
        return np.array([part.mean() for part in np.array_split(values.astype(np.float64), parts)])

    return means(x), means(y)
