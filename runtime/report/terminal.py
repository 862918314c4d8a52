"""The tables at the end of a run: every arm beside the base, and what became of the claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from runtime.evals.scale import Scale
from runtime.evals.statistics import Interval
from runtime.report.study_report import StudyReport
from runtime.report.tables import Table, differences_are, excludes_zero, intervals_are, tables

_STYLES = {"held": "green", "failed": "red", "undecided": "yellow"}
_NARROW = 76
"""Below so many columns an interval stands under its value."""


def print_report(report: StudyReport, console: Console) -> None:
    """Prints at 60 columns or more; in ASCII, but for the user's words, without a terminal or with NO_COLOR."""
    for part in _parts(report, console):
        console.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))


def _parts(report: StudyReport, console: Console) -> Iterator[RenderableType]:
    title = Text(report.results.study, style="bold")
    if report.question:
        title.append(f": {report.question}", style="not bold")
    yield title
    if not report.results.complete:
        yield Text("The study isn't complete: this is what is known so far.", style="yellow")
    shown = tables(report.results)
    for table in shown:
        yield Text()
        yield Text.assemble((table.eval, "bold"), f", {table.metric}")
        yield _grid(table, console)
        yield Text(intervals_are(table), style="dim")
    yield Text()
    yield Text(differences_are(shown), style="dim")
    if report.results.claims:
        yield Text()
        yield Text("claims", style="bold")
        yield _claims(report)
    for arm, (update, text) in report.results.stops.items():
        yield Text()
        yield Text.assemble((f"{arm} stopped after update {update:,}: ", "bold"), text)
    for judge in report.results.judges:
        if judge.canary or judge.in_doubt:
            doubt = judge.canary or judge.doubt
            yield Text()
            yield Text.assemble((f"the judge {judge.judge} of {judge.eval}: ", "bold yellow"), doubt)
    yield Text()
    if report.page is not None:
        yield _path("report", report.page.as_posix())
    for arm, path in report.checkpoints.items():
        yield _path(f"checkpoint of {arm}", path.as_posix())


def _grid(table: Table, console: Console) -> Grid:
    plain = not console.is_terminal or console.no_color
    between = "\n" if console.width < _NARROW else " "
    grid = Grid(box=None if plain else box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    grid.add_column(Text("arm"), overflow="fold")
    grid.add_column(Text(f"value{between}(95% interval)"), justify="right")
    columns = [_column([row.entry.interval for row in table.rows], table.scale, "", between)]
    if any(row.difference is not None for row in table.rows):
        unit = ", points" if table.scale.percent else ""
        grid.add_column(Text(f"less base{unit}{between}(95% interval)"), justify="right")
        differences = [row.difference and row.difference.interval for row in table.rows]
        columns.append(_column(differences, table.difference_scale, "+", between))
    for row, *cells in zip(table.rows, *columns, strict=True):
        grid.add_row(Text(row.entry.arm), *cells)
    return grid


def _column(intervals: Sequence[Interval | None], scale: Scale, sign: str, between: str) -> list[Text]:
    """Values with their intervals, figures below figures. A difference that isn't zero by its interval is bold."""

    def written(interval: Interval | None) -> tuple[str, str, str]:
        numbers = (interval.low, interval.high, interval.value) if interval else (None, None, None)
        low, high, value = ("" if x is None else scale.bare(x, sign) for x in numbers)
        return low, high, value + ("" if sign or not value else scale.unit)

    rows = [written(interval) for interval in intervals]
    low_width, high_width = (max(len(row[end]) for row in rows) for end in (0, 1))
    cells: list[Text] = []
    for interval, (low, high, value) in zip(intervals, rows, strict=True):
        apart = bool(sign) and interval is not None and excludes_zero(interval)
        if interval is None:
            cells.append(Text())
        elif not value:
            cells.append(Text("nothing readable"))
        elif not low:
            cells.append(Text(f"{value}{between}(no interval)"))
        else:
            ends = f"({low.rjust(low_width)} to {high.rjust(high_width)})"
            cells.append(Text(f"{value}{between}{ends}", style="bold" if apart else ""))
    return cells


def _claims(report: StudyReport) -> RenderableType:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for claim, judgement in report.results.claims:
        grid.add_row(
            Text(judgement.outcome, style=f"bold {_STYLES[judgement.outcome]}"),
            Group(
                Text(claim), *(Text(told, style="dim") for told in (judgement.detail, judgement.would_decide) if told)
            ),
        )
    return Padding(grid, 0)


def _path(label: str, path: str) -> Text:
    """Unwrapped, so that it can be copied."""
    return Text.assemble((f"{label}: ", "dim"), path, no_wrap=True, overflow="ignore")
