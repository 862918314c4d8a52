"""Charts: round ticks, and figures inside their frames."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.report.charts import COLOURS, Effect, Level, Series, curves, forest, ticks


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e6), st.integers(2, 9))
def test_ticks_are_round_few_and_inside(low: float, width: float, at_most: int):
    found = ticks(low, low + width, at_most)
    assert len(found) <= at_most + 1
    slack = 1e-6 * (abs(low) + width)
    assert all(low - slack <= tick <= low + width + slack for tick in found)
    steps = np.diff(found)
    if len(steps):
        assert np.allclose(steps, steps[0])
        assert round(float(steps[0]) / 10.0 ** np.floor(np.log10(steps[0]) + 1e-9)) in (1, 2, 5)


def test_labels_are_escaped():
    effects = [Effect("<b>arm</b>", 0.1, -0.1, 0.3, "0.1"), Effect("sure", 0.2, None, None, "0.2")]
    for svg in (forest(effects, '"><script>', "x & y", str), curves([line("<b>", 1)], "<i>", "x", str, str)):
        assert "<b>" not in svg
        assert "<script>" not in svg
        assert "<i>" not in svg


def line(label: str, style: int, points: int = 3) -> Series:
    x = np.arange(1, points + 1, dtype=np.float64)
    return Series(label, x, x**2, style, x**2 - 1, np.full(points, np.nan))


def test_many_lines_differ_by_more_than_colour():
    svg = curves([line(f"arm {number}", number) for number in range(COLOURS + 1)], "told", "x", str, str)
    assert 'class="series-7"' in svg
    assert 'class="series-8"' not in svg
    assert "stroke-dasharray" in svg


def test_a_single_point_and_a_flat_line_can_be_drawn():
    svg = curves([line("one", 0, points=1)], "told", "x", str, str, Level("base", 1.0, None, None))
    flat = Series("flat", np.array([1.0, 2.0]), np.array([3.0, 3.0]), 0)
    for drawn in (svg, curves([flat], "told", "x", str, str), forest([Effect("a", 0.0, 0.0, 0.0, "0")], "t", "x", str)):
        assert not re.search(r"nan|inf", drawn)
