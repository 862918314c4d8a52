"""A study's summary in Markdown, for a pull request: short, and the details folded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from runtime.report.answer import answer
from runtime.report.doses import doses
from runtime.report.figure import minus
from runtime.report.figures import count, scientific
from runtime.report.study_report import StudyReport
from runtime.report.tables import Row, Table, differences_are, excludes_zero, intervals_are, tables
from runtime.report.visible import visible

_ENTITIES = {ord(sign): f"&#{ord(sign)};" for sign in "&<>@#"}
_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|^[-+](?=\s|$)|(?<=^\d)[.)](?=\s|$))")
_SIGNS = {"held": "✓ held", "failed": "✗ failed", "undecided": "? undecided"}


def summary(report: StudyReport) -> str:
    """The whole text. Words of specs and data are escaped: they make no link, mention, markup or table of their own."""
    return "\n".join(_lines(report)) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(visible(text).split()).translate(_ENTITIES))


def code(text: str) -> str:
    """Text as code, on one line, also inside a table."""
    told = " ".join(visible(text).split()).replace("`", "'")
    return "`" + told.replace("|", "\\|") + "`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of a table of cells that are Markdown already; columns with the numbers `right` are aligned right."""
    marks = ["---:" if number in right else "---" for number in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, marks, *rows)]


def _lines(report: StudyReport) -> Iterator[str]:
    results, shown = report.results, tables(report.results)
    yield f"## {plain(results.study)}"
    if report.question:
        yield from ("", plain(report.question))
    for sentence in answer(results, shown):
        yield from ("", f"**{plain(minus(sentence))}**")
    if results.claims:
        rows = [
            (
                _SIGNS[judgement.outcome],
                code(claim),
                plain(minus("; ".join(filter(None, (judgement.detail, judgement.would_decide))))),
            )
            for claim, judgement in results.claims
        ]
        yield from ("", *table(("Outcome", "Claim", "Why"), rows))
    for arm, (update, text) in results.stops.items():
        yield from ("", f"{plain(arm)} was stopped after update {count(update)}: {plain(minus(text))}.")
    for judge in results.judges:
        if judge.canary or judge.in_doubt:
            doubt = judge.canary or judge.doubt
            yield from ("", f"**The judge {plain(judge.judge)} of {plain(judge.eval)}**: {plain(doubt)}.")
    for each in shown:
        yield from ("", f"### {plain(each.eval)}, {plain(each.metric)}", "", *_evaluation(each))
        yield from ("", f"<sub>{plain(intervals_are(each))}.</sub>")
    caveat = differences_are(shown)
    if caveat:
        yield from ("", f"<sub>{plain(caveat)} Bold: the interval lies on one side of zero.</sub>")
    given = doses(results.study, report.trains)
    if given:
        rows = [
            (plain(one.arm), plain(one.stage), plain(one.data), count(one.updates), count(one.tokens),
             count(one.trained_tokens), scientific(one.flops))
            for one in given
        ]  # fmt: skip
        head = ("Arm", "Stage", "Data", "Updates", "Tokens", "Trained tokens", "FLOPs")
        yield from ("", *folded("Dose of each arm", table(head, rows, right=(3, 4, 5, 6))))
    pins = [(plain(name), code(key)) for name, key in report.keys.items()]
    pins += [(plain(name), plain(version)) for name, version in report.versions.items()]
    if pins:
        yield from ("", *folded("What is pinned", table(("What", "Which"), pins)))


def folded(title: str, lines: Sequence[str]) -> list[str]:
    """Lines behind a title that opens them."""
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>"]


def _evaluation(shown: Table) -> list[str]:
    unit = ", points" if shown.scale.percent else ""
    rows = [(plain(row.entry.arm), _value(shown, row), _difference(shown, row)) for row in shown.rows]
    return table(("Arm", "Value (95% interval)", f"Less base{unit} (95% interval)"), rows, right=(1, 2))


def _value(shown: Table, row: Row) -> str:
    interval = row.entry.interval
    if interval.value is None:
        return "nothing readable"
    return minus(f"{shown.scale.value(interval.value)} ({shown.scale.interval(interval)})")


def _difference(shown: Table, row: Row) -> str:
    interval, scale = None if row.difference is None else row.difference.interval, shown.difference_scale
    if interval is None or interval.value is None:
        return ""
    text = minus(f"{scale.bare(interval.value, '+')} ({scale.interval(interval, '+')})")
    return f"**{text}**" if excludes_zero(interval) else text
