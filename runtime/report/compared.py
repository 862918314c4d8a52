"""A comparison of studies as terminal tables, as Markdown and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from runtime.evals.statistics import Interval
from runtime.report.comparison import ComparedArm, ComparedEval, Comparison
from runtime.report.figure import minus
from runtime.report.html import assets, template
from runtime.report.markdown import code, folded, plain, table
from runtime.report.tables import excludes_zero

CAVEAT = (
    "Each arm at its end, over all seeds, with 95% intervals. Differences are paired by item, over those in common."
)


_COLUMN = 30
"""Columns of the terminal that a value with its interval takes."""


def render(comparison: Comparison) -> str:
    """The page: one file that reads nothing from elsewhere."""
    return template("comparison.html.jinja").render(
        comparison=comparison,
        caveat=CAVEAT,
        heads=[heads(comparison, each) for each in comparison.evals],
        rows=[[(arm.arm, cells(each, arm)) for arm in each.arms] for each in comparison.evals],
        **assets("report.css"),
    )


def heads(comparison: Comparison, each: ComparedEval) -> list[str]:
    """What stands above the columns."""
    first, *others = comparison.studies
    unit = ", points" if each.scale.percent else ""
    return ["arm", *comparison.studies, *(f"{other} less {first}{unit}" for other in others)]


def cells(each: ComparedEval, arm: ComparedArm, between: str = " ") -> list[tuple[str, bool]]:
    """The columns of an arm after its name, and whether a difference isn't zero by its interval.

    `between` stands between a value and its interval.
    """
    values = [(_value(each, one, between), False) for one in arm.values]
    less = [(_difference(each, one, between), one is not None and excludes_zero(one)) for one in arm.differences]
    return values + less


def print_comparison(comparison: Comparison, console: Console) -> None:
    for part in _parts(comparison, console):
        console.print(part)


def to_markdown(comparison: Comparison) -> str:
    """For a pull request."""
    return "\n".join(_lines(comparison)) + "\n"


def _value(each: ComparedEval, interval: Interval | None, between: str) -> str:
    if interval is None:
        return ""
    if interval.value is None:
        return "nothing readable"
    return f"{each.scale.value(interval.value)}{between}({each.scale.interval(interval)})"


def _difference(each: ComparedEval, interval: Interval | None, between: str) -> str:
    if interval is None or interval.value is None:
        return "not comparable" if each.problems else ""
    scale = each.difference_scale
    return f"{scale.bare(interval.value, '+')}{between}({scale.interval(interval, '+')})"


def _parts(comparison: Comparison, console: Console) -> Iterator[RenderableType]:
    plain_box = not console.is_terminal or console.no_color
    between = " " if console.width >= _COLUMN * len(comparison.studies) * 2 else "\n"
    yield Text(" and ".join(comparison.studies), style="bold")
    for each in comparison.evals:
        yield Text()
        yield Text.assemble((each.eval, "bold"), f", {each.metric}")
        for problem in each.problems:
            yield Text(f"not comparable: {problem}", style="yellow")
        grid = Grid(box=None if plain_box else box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
        for number, head in enumerate(heads(comparison, each)):
            grid.add_column(Text(head), justify="right" if number else "left", overflow="fold")
        for arm in each.arms:
            told = (Text(text, style="bold" if apart else "") for text, apart in cells(each, arm, between))
            grid.add_row(Text(arm.arm), *told)
        yield grid
    if not comparison.evals:
        yield Text("\nThey have no evaluation in common.")
    yield Text()
    yield Text(CAVEAT, style="dim")
    for told in comparison.alone:
        yield Text(f"only in one: {told}", style="dim")
    if comparison.changed:
        yield Text()
        yield Text("what differs", style="bold")
        grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
        for head in ("", *comparison.studies):
            grid.add_column(Text(head), overflow="fold")
        for one in comparison.changed:
            grid.add_row(Text(one.what), *(Text(value or "not there") for value in one.values))
        yield grid


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"## {plain(' and '.join(comparison.studies))}"
    for each in comparison.evals:
        yield from ("", f"### {plain(each.eval)}, {plain(each.metric)}")
        for problem in each.problems:
            yield from ("", f"**Not comparable**: {plain(problem)}.")
        columns = [plain(head) for head in heads(comparison, each)]
        rows = [(plain(arm.arm), *_marked(cells(each, arm))) for arm in each.arms]
        yield from ("", *table(columns, rows, right=range(1, len(columns))))
    if not comparison.evals:
        yield from ("", "They have no evaluation in common.")
    yield from ("", f"<sub>{CAVEAT} Bold: the interval lies on one side of zero.</sub>")
    if comparison.alone:
        yield from ("", *(f"- only in one: {plain(told)}" for told in comparison.alone))
    if comparison.changed:
        rows = [(code(one.what), *(plain(value or "not there") for value in one.values)) for one in comparison.changed]
        yield from ("", *folded("What differs", table(("", *map(plain, comparison.studies)), rows)))


def _marked(told: Sequence[tuple[str, bool]]) -> list[str]:
    return [f"**{plain(minus(text))}**" if apart else plain(minus(text)) for text, apart in told]
