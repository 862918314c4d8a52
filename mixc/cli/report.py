"""`mixc report`: the table and the page of studies that ran; of several that are named, how they compare."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mixc.cli.workspace import add_store_option, error_console
from runtime.disk import disk_errors, write_atomically
from runtime.errors import UserError
from runtime.progress import Reporter
from runtime.saved import find_study, names_of_studies
from runtime.store import Store

if TYPE_CHECKING:
    from runtime.report.comparison import Comparison
    from runtime.report.study_report import StudyReport

FORMATS = ("text", "json", "csv", "markdown", "html")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("report", help=__doc__, description=__doc__)
    parser.add_argument("studies", metavar="STUDY", nargs="*", help="names of studies; else all that ran, one by one")
    add_store_option(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="how the result is printed (default: text)")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="--format json")
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, help="write there instead of printing")
    parser.add_argument(
        "--transcripts", action="store_true", help="all answers with their verdicts instead (--format json or csv)"
    )


def run(arguments: argparse.Namespace) -> int:
    reporter = Reporter(error_console())
    store = Store(arguments.store, reporter.say)
    names = list(dict.fromkeys(arguments.studies)) or names_of_studies(store)
    if not names:
        raise UserError(
            f"no study ran in {arguments.store}", "run one with `mixc run FILE`, or name its store with --store"
        )
    if arguments.transcripts:
        text = _transcripts(names, store, reporter, arguments.format)
    elif len(arguments.studies) > 1:
        text = _compared(names, store, reporter, arguments)
    else:
        text = _reported(names, store, reporter, arguments)
    if text and arguments.output is None:
        print(text, end="")
    elif text:
        with disk_errors(arguments.output):
            write_atomically(arguments.output, text.encode())
    return 0


def _reported(names: Sequence[str], store: Store, reporter: Reporter, arguments: argparse.Namespace) -> str:
    """What is to be printed of the studies one by one; their folders are filled."""
    from runtime.report.terminal import print_report
    from runtime.steps.reporting import write_study

    reports: list[StudyReport] = []
    for name in names:
        context = find_study(name, store, reporter)
        report = write_study(context, next(study for study in context.keys.plan.studies if study.name == name))
        if not report.results.complete:
            reporter.say(f"the study {name} isn't finished; go on with `mixc run {context.keys.plan.spec}`")
        reports.append(report)
    if arguments.format == "text":
        return _text(arguments.output, [lambda console, of=report: print_report(of, console) for report in reports])
    if arguments.format == "html" and len(reports) > 1:
        raise UserError("a page shows one study", "name the study, or name two to compare them")
    return _FORMATS[arguments.format](reports)


def _compared(names: Sequence[str], store: Store, reporter: Reporter, arguments: argparse.Namespace) -> str:
    """What is to be printed of a comparison; as text, its page is written too."""
    from runtime.report.compared import print_comparison, render, to_markdown
    from runtime.report.comparison import compare, to_json
    from runtime.steps.compared import side_of

    contexts = [(name, find_study(name, store, reporter)) for name in names]
    comparison = compare(
        [
            side_of(context, next(study for study in context.keys.plan.studies if study.name == name))
            for name, context in contexts
        ]
    )
    match arguments.format:
        case "json":
            return json.dumps(to_json(comparison), indent=2) + "\n"
        case "markdown":
            return to_markdown(comparison)
        case "html":
            return render(comparison)
        case "csv":
            raise UserError("a comparison isn't written as CSV", "take --format json, or CSV of each study alone")
        case _:
            page = _comparison_page(store, comparison, render)
            text = _text(arguments.output, [lambda console: print_comparison(comparison, console)])
            reporter.say(f"comparison: {page}")
            return text


def _comparison_page(store: Store, comparison: Comparison, render: Callable[[Comparison], str]) -> Path:
    folder = store.root / "comparisons"
    with disk_errors(store.root):
        folder.mkdir(parents=True, exist_ok=True)
        page = folder / f"{'-'.join(comparison.studies)}.html"
        write_atomically(page, render(comparison).encode())
    return page


def _transcripts(names: Sequence[str], store: Store, reporter: Reporter, format: str) -> str:
    from runtime.report.rows import rows_of, to_csv
    from runtime.steps.reporting import report_of

    if format not in ("json", "csv"):
        raise UserError("transcripts are written as JSON lines or CSV", "add --format json or --format csv")
    rows: list[dict[str, Any]] = []
    for name in names:
        context = find_study(name, store, reporter)
        rows += rows_of(report_of(context, next(each for each in context.keys.plan.studies if each.name == name)))
    if format == "csv":
        return to_csv(rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _text(output: Path | None, parts: Sequence[Callable[[Console], None]]) -> str:
    """Prints to the terminal, or gives the text that goes into a file."""
    if output is None:
        for part in parts:
            part(Console())
        return ""
    console = Console(no_color=True, width=120, record=True, quiet=True)
    with console.capture() as captured:
        for part in parts:
            part(console)
    return captured.get()


def _json(reports: Sequence[StudyReport]) -> str:
    from runtime.report.results import to_json

    results = [to_json(report.results) for report in reports]
    return json.dumps(results[0] if len(results) == 1 else results, indent=2) + "\n"


def _csv(reports: Sequence[StudyReport]) -> str:
    from runtime.report.entries import to_csv

    first, *others = (to_csv(report.results) for report in reports)
    return first + "".join(text.partition("\n")[2] for text in others)


def _markdown(reports: Sequence[StudyReport]) -> str:
    from runtime.report.markdown import summary

    return "\n".join(map(summary, reports))


def _html(reports: Sequence[StudyReport]) -> str:
    from runtime.report.html import render

    return render(reports[0])


_FORMATS: Mapping[str, Callable[[Sequence[StudyReport]], str]] = {
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
    "html": _html,
}
