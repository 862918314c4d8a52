"""Runs the report step of a study: its results, and the page and tables made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from compiler.plan import PlannedStudy
from compiler.steps import Report, Result, Train
from compiler.values import Moment
from dsl.scalars import parse_text
from dsl.values import Compare
from runtime.disk import disk_errors, write_atomically
from runtime.evals.claims import Claim
from runtime.evals.points import Point
from runtime.report.entries import to_csv
from runtime.report.html import render
from runtime.report.markdown import summary
from runtime.report.results import StudyResults, study_results, to_text
from runtime.report.study_report import StudyReport
from runtime.saved import save_plan, spec_of
from runtime.steps.context import Context
from runtime.steps.distances import distances_of
from runtime.steps.evaluations import scored_of
from runtime.steps.followed import followed, stops_of
from runtime.steps.judges import judges_of
from runtime.steps.reported import study_report

RESULTS = "results.json"


def run_report(context: Context, description: str, step: Report, folder: Path) -> Result:
    """Writes results.json."""
    (folder / RESULTS).write_text(to_text(results_of(context, step)))
    key = context.key(description)
    return Result(key=key, content=key)


def results_of(context: Context, step: Report) -> StudyResults:
    """The results of a study, of all its scores that are there: not complete where some aren't."""
    stops = stops_of(context, step)
    _, step = followed(context, step)
    points = points_of(context, step)
    claims = [Claim(each.text, cast(Compare, parse_text("claim", each.text)), each.evals) for each in step.claims]
    return replace(
        study_results(step.name, points, claims, step.levels),
        complete=len(points) == len(step.points),
        stops=stops,
        judges=judges_of(context, step),
        distances=distances_of(context, step),
    )


def points_of(context: Context, step: Report) -> list[Point]:
    """The points of a study that are scored."""
    scored = [planned for planned in step.points if context.store.find(context.key(planned.score)) is not None]
    return [
        Point(
            arm=planned.arm,
            eval=planned.eval,
            stage=planned.stage,
            seed=planned.seed,
            step=0 if planned.train is None else context.update(planned.train, planned.fires),
            tokens=_tokens(context, planned.train, planned.fires),
            scored=scored_of(context, planned.score),
            moment=planned.moment,
            last=planned.last,
        )
        for planned in scored
    ]


def write_study(context: Context, study: PlannedStudy) -> StudyReport:
    """Fills `studies/NAME`: plan, results as JSON and CSV, page and summary; returns what the page shows.

    Of a study that isn't complete, what is known so far. Each file is replaced whole, so that whoever watches reads no
    half of one.
    """
    folder = context.store.study(study.name)
    report = report_of(context, study)
    before = spec_of(folder)
    if before not in (None, context.keys.plan.spec):
        context.reporter.say(f"{folder} held the study of the same name in {before}, and is now that of this file")
    save_plan(context, folder)
    written = {
        RESULTS: to_text(report.results),
        "results.csv": to_csv(report.results),
        "summary.md": summary(report),
        "report.html": render(report),
    }
    with disk_errors(folder):
        for name, text in written.items():
            write_atomically(folder / name, text.encode())
    return report


def report_of(context: Context, study: PlannedStudy) -> StudyReport:
    """What a study's page shows, as far as it is known."""
    step = context.keys.plan.steps[study.report]
    assert isinstance(step, Report)
    page = context.store.root / "studies" / study.name / "report.html"
    return study_report(context, study, results_of(context, step), page)


def _tokens(context: Context, train: str | None, moment: Moment) -> int:
    """Tokens read in a stage until a moment."""
    if train is None:
        return 0
    step = context.keys.plan.steps[train]
    assert isinstance(step, Train)
    update = context.update(train, moment)
    return 0 if update == 0 else context.keys.results[step.pack].facts["cumulative_tokens"][update - 1]
