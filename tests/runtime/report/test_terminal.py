"""The tables at the end of a run, at several widths, on a terminal and in a log."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from example_study import points
from rich.console import Console

from runtime.evals.claims import Judgement
from runtime.evals.points import AT_END
from runtime.evals.statistics import Interval
from runtime.report.results import Entry, StudyResults, study_results
from runtime.report.study_report import StudyReport
from runtime.report.terminal import print_report


def printed(report: StudyReport, width: int, **more) -> str:
    file = io.StringIO()
    print_report(report, Console(file=file, width=width, **more))
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_log_is_ascii_and_fits(report: StudyReport, width: int):
    text = printed(report, width)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= width
    for words in ("reasons", "base", "actions", "held", "failed", "undecided", "runs/studies/reasons/report.html"):
        assert words in text
    assert "checkpoint of reasons: runs/steps/cd34/weights" in text


def test_figures_stand_beside_the_base(report: StudyReport):
    lines = printed(report, 80).splitlines()
    assert "arm      value (95% interval)  less base, points (95% interval)" in lines
    assert any(re.fullmatch(r"base     38\.3% \(\d\d\.\d to \d\d\.\d\)", line.rstrip()) for line in lines)
    (row,) = [line for line in lines if line.startswith("reasons") and "%" in line]
    figures = r"69\.4% \(\d\d\.\d to \d\d\.\d\) \+31\.1 \(\+\d\d\.\d to \+\d\d\.\d\)"
    assert re.fullmatch(figures, " ".join(row.split()[1:]))


def test_no_color_prints_no_escapes(report: StudyReport, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(report, 80, force_terminal=True)
    assert text.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "").isascii()


def test_words_of_specs_are_not_markup(report: StudyReport):
    assert "[red]Is it?[/red]" in printed(replace(report, question="[red]Is it?[/red]"), 80)


def test_what_is_not_known_is_said():
    def entry(arm: str, interval: Interval) -> Entry:
        return Entry(arm, "margin", "mean(margin)", AT_END, None, None, 0, 0, interval, 0)

    results = StudyResults(
        "tiny",
        (entry("base", Interval(1.5, None, None, 1)), entry("arm", Interval(None, None, None, 0))),
        (),
        (("margin(arm) > 0", Judgement("undecided", "margin has no result for arm")),),
    )
    text = printed(StudyReport(None, results), 80)
    assert "1.50 (no interval)" in text
    assert "nothing readable" in text
    assert "margin has no result for arm" in text


def test_one_seed_says_nothing_of_training(report: StudyReport):
    once = study_results("reasons", [point for point in points() if point.seed in (None, 0)])
    assert "One seed: this says nothing of how much training itself would vary." in " ".join(
        printed(replace(report, results=once), 80).split()
    )
