"""Charts as SVG: forest plots, curves along tokens, scatter plots. Colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from markupsafe import Markup

from runtime.report.visible import visible

WIDTHS = {"wide": 760, "narrow": 340}
"""Each chart is drawn twice, and the style sheet shows the one that fits: text keeps its size."""

_MARKS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",  # circle
    "M-3.6,-3.6h7.2v7.2h-7.2z",  # square
    "M0,-5l5,5l-5,5l-5,-5z",  # diamond
    "M0,-4.8l4.8,8.4h-9.6z",  # triangle
    "M0,4.8l4.8,-8.4h-9.6z",  # triangle, standing on its tip
)
COLOURS = 8
"""Classes `series-0` to `series-7`; further series begin again, with other marks and dashes."""

_LABEL = 30
"""Characters of an arm's name beside a forest plot."""

Write = Callable[[float], str]


@dataclass(frozen=True)
class Effect:
    """One row of a forest plot."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str
    """The figures, as the table writes them."""


@dataclass(frozen=True)
class Series:
    """One line of a chart; all float64 `[points]`."""

    label: str
    x: np.ndarray
    y: np.ndarray
    style: int
    """Number of its colour, mark and dash; see `swatch`."""
    low: np.ndarray | None = None
    """Of whiskers, NaN where there is none."""
    high: np.ndarray | None = None
    marks: bool = True


@dataclass(frozen=True)
class Level:
    """A horizontal line with the band of its interval: a model that was never trained."""

    label: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Spot:
    """One mark of a scatter plot; of each axis value, low and high, the latter two NaN where there is no interval."""

    label: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    style: int


@dataclass(frozen=True)
class Frame:
    """The rectangle that data is drawn in, and its axes."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def forest(effects: Sequence[Effect], description: str, x_label: str, write: Write) -> Markup:
    """Effects with their intervals beside a line at zero, one below the other."""
    return _both(description, lambda width: _forest(effects, x_label, write, width))


def curves(
    series: Sequence[Series],
    description: str,
    x_label: str,
    write_x: Write,
    write_y: Write,
    level: Level | None = None,
) -> Markup:
    """Lines with whiskers; `level` lies behind them."""
    return _both(description, lambda width: _curves(series, level, x_label, write_x, write_y, width))


def scatter(spots: Sequence[Spot], description: str, x_label: str, write_x: Write, write_y: Write) -> Markup:
    """Marks with whiskers both ways, and a line where y is zero."""
    return _both(description, lambda width: _scatter(spots, x_label, write_x, write_y, width))


def bar(share: float) -> Markup:
    """A share of one as a bar; without style attributes, which a page's policy may forbid."""
    svg = Element(
        "svg", {"class": "bar", "viewBox": "0 0 100 10", "preserveAspectRatio": "none", "aria-hidden": "true"}
    )
    SubElement(svg, "rect", {"width": f"{100 * min(max(share, 0.0), 1.0):.1f}", "height": "10"})
    return _markup(svg)


def swatch(style: int, marks: bool = True, line: bool = True) -> Markup:
    """What stands before a series' label in a legend."""
    svg = Element("svg", {"class": "swatch", "width": "28", "height": "12", "aria-hidden": "true"})
    group = SubElement(svg, "g", {"class": f"series-{style % COLOURS}"})
    if line:
        _line(group, 0, 6, 28, 6, "curve", _dash(style))
    if marks:
        _mark(group, style, 14, 6)
    return _markup(svg)


def ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`, both included where they are round."""
    rough = (high - low) / at_most
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _both(description: str, draw: Callable[[int], Element]) -> Markup:
    drawn: list[Markup] = []
    for name, width in WIDTHS.items():
        svg = draw(width)
        svg.set("class", f"chart {name}")
        svg.set("role", "img")
        svg.set("aria-label", visible(description))
        drawn.append(_markup(svg))
    return Markup("").join(drawn)


def _forest(effects: Sequence[Effect], x_label: str, write: Write, width: int) -> Element:
    narrow = width == WIDTHS["narrow"]
    row, top = (46, 18) if narrow else (30, 6)
    longest = max(len(_cut(one.label, _LABEL)) for one in effects)
    left, right = (6, width - 6) if narrow else (7.2 * longest + 24, width - 200)
    bottom = top + row * len(effects)
    ends = [end for one in effects for end in (one.low, one.value, one.high) if end is not None]
    frame = Frame(left, top, right, bottom, _around([0.0, *ends]), (0, 1))
    svg = _svg(width, bottom + 44)
    _x_axis(svg, frame, x_label, write, 4 if narrow else 7)
    _line(svg, frame.x(0), frame.top, frame.x(0), frame.bottom, "zero")
    for number, one in enumerate(effects):
        y = top + row * (number + (0.62 if narrow else 0.5))
        group = SubElement(svg, "g", {"class": "effect"})
        if one.low is not None and one.high is not None:
            _line(group, frame.x(one.low), y, frame.x(one.high), y, "whisker")
            for end in (one.low, one.high):
                _line(group, frame.x(end), y - 4, frame.x(end), y + 4, "whisker")
        _mark(group, 1, frame.x(one.value), y)
        if narrow:
            _text(svg, left, y - 14, one.label, "label")
            _text(svg, right, y - 14, one.text, "figures", "end")
        else:
            _text(svg, left - 12, y + 4.5, _cut(one.label, _LABEL), "label", "end")
            _text(svg, right + 12, y + 4.5, one.text, "figures")
    return svg


def _curves(
    series: Sequence[Series], level: Level | None, x_label: str, write_x: Write, write_y: Write, width: int
) -> Element:
    narrow = width == WIDTHS["narrow"]
    height = 240 if narrow else 300
    xs = np.concatenate([one.x for one in series])
    ys = [end for one in series for ends in (one.y, one.low, one.high) if ends is not None for end in ends.tolist()]
    if level is not None:
        ys += [end for end in (level.low, level.value, level.high) if end is not None]
    y_range = _around([y for y in ys if np.isfinite(y)])
    y_ticks = ticks(*y_range, 5)
    margin = 14 + 7.2 * max(len(write_y(tick)) for tick in y_ticks)
    frame = Frame(margin, 8, width - 12, height - 44, _around(xs.tolist(), 0.02), y_range)
    svg = _svg(width, height)
    _y_axis(svg, frame, y_ticks, write_y)
    _x_axis(svg, frame, x_label, write_x, 3 if narrow else 6)
    if level is not None:
        _level(svg, frame, level)
    for number, one in enumerate(series):
        shift = 0.0 if one.low is None else min(4.0, 24.0 / len(series)) * (number - (len(series) - 1) / 2)
        _one_curve(svg, frame, one, shift)
    return svg


def _scatter(spots: Sequence[Spot], x_label: str, write_x: Write, write_y: Write, width: int) -> Element:
    narrow = width == WIDTHS["narrow"]
    height = 240 if narrow else 300
    xs = [end for one in spots for end in one.x if np.isfinite(end)]
    ys = [end for one in spots for end in one.y if np.isfinite(end)]
    y_range = _around([0.0, *ys])
    y_ticks = ticks(*y_range, 5)
    margin = 14 + 7.2 * max(len(write_y(tick)) for tick in y_ticks)
    frame = Frame(margin, 8, width - 12, height - 44, _around(xs), y_range)
    svg = _svg(width, height)
    _y_axis(svg, frame, y_ticks, write_y)
    _x_axis(svg, frame, x_label, write_x, 3 if narrow else 6)
    _line(svg, frame.left, frame.y(0), frame.right, frame.y(0), "zero")
    for one in spots:
        x, y = frame.x(one.x[0]), frame.y(one.y[0])
        group = SubElement(svg, "g", {"class": f"series-{one.style % COLOURS}"})
        if np.isfinite(one.x).all():
            _line(group, frame.x(one.x[1]), y, frame.x(one.x[2]), y, "whisker")
        if np.isfinite(one.y).all():
            _line(group, x, frame.y(one.y[1]), x, frame.y(one.y[2]), "whisker")
        _mark(group, one.style, x, y)
    return svg


def _level(svg: Element, frame: Frame, level: Level) -> None:
    if level.low is not None and level.high is not None:
        top, bottom = frame.y(level.high), frame.y(level.low)
        box = {"x": frame.left, "y": top, "width": frame.right - frame.left, "height": bottom - top}
        SubElement(svg, "rect", {"class": "band", **{name: f"{value:.1f}" for name, value in box.items()}})
    y = frame.y(level.value)
    _line(svg, frame.left, y, frame.right, y, "level")
    _text(svg, frame.right - 4, y - 5, level.label, "label", "end")


def _one_curve(svg: Element, frame: Frame, series: Series, shift: float) -> None:
    """`shift` moves a curve sideways, in pixels, so that whiskers at the same place don't hide each other."""
    group = SubElement(svg, "g", {"class": f"series-{series.style % COLOURS}"})
    xs = [frame.x(x) + shift for x in series.x.tolist()]
    ys = [frame.y(y) for y in series.y.tolist()]
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    SubElement(group, "path", {"class": "curve", "d": path, **_dash(series.style)})
    if series.low is not None and series.high is not None:
        for x, low, high in zip(xs, series.low.tolist(), series.high.tolist(), strict=True):
            if np.isfinite([low, high]).all():
                _line(group, x, frame.y(low), x, frame.y(high), "whisker")
    if series.marks:
        for x, y in zip(xs, ys, strict=True):
            _mark(group, series.style, x, y)


def _y_axis(svg: Element, frame: Frame, at: Sequence[float], write: Write) -> None:
    for tick in at:
        _line(svg, frame.left, frame.y(tick), frame.right, frame.y(tick), "grid")
        _text(svg, frame.left - 8, frame.y(tick) + 4, write(tick), "tick", "end")


def _x_axis(svg: Element, frame: Frame, label: str, write: Write, at_most: int) -> None:
    _line(svg, frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    for tick in ticks(*frame.x_range, at_most):
        x = frame.x(tick)
        _line(svg, x, frame.bottom, x, frame.bottom + 4, "axis")
        _text(svg, x, frame.bottom + 18, write(tick), "tick", "middle")
    _text(svg, (frame.left + frame.right) / 2, frame.bottom + 38, label, "axis-label", "middle")


def _around(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """A range that holds the values, with a margin on both sides."""
    low, high = min(values), max(values)
    margin = (high - low) * share or max(abs(low) * 0.1, 1e-3)
    return low - margin, high + margin


def _svg(width: float, height: float) -> Element:
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    return Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size})


def _line(
    parent: Element, x1: float, y1: float, x2: float, y2: float, name: str, more: dict[str, str] | None = None
) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    SubElement(parent, "line", {"class": name, **{end: f"{value:.1f}" for end, value in ends.items()}, **(more or {})})


def _text(parent: Element, x: float, y: float, text: str, name: str, anchor: str = "start") -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    SubElement(parent, "text", {"class": name, **place}).text = visible(text)


def _mark(parent: Element, number: int, x: float, y: float) -> None:
    mark = _MARKS[(number + number // COLOURS) % len(_MARKS)]
    SubElement(parent, "path", {"class": "mark", "d": mark, "transform": f"translate({x:.1f},{y:.1f})"})


def _dash(number: int) -> dict[str, str]:
    return {"stroke-dasharray": "6 3"} if number // COLOURS % 2 else {}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _markup(element: Element) -> Markup:
    """Escaped by ElementTree, as the page takes it."""
    return Markup(tostring(element, encoding="unicode"))
