"""`mixc report`: the table and the page of studies that ran."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console

from mixc.cli.workspace import add_format_options, add_store_option, error_console
from runtime.errors import UserError
from runtime.progress import Reporter
from runtime.saved import find_study, names_of_studies
from runtime.store import Store


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("report", help=__doc__, description=__doc__)
    parser.add_argument("studies", metavar="STUDY", nargs="*", help="names of studies; else all that ran")
    add_store_option(parser)
    add_format_options(parser)


def run(arguments: argparse.Namespace) -> int:
    from runtime.report.results import to_json
    from runtime.report.terminal import print_report
    from runtime.steps.reporting import write_study

    reporter = Reporter(error_console())
    store = Store(arguments.store, reporter.say)
    names = arguments.studies or names_of_studies(store)
    if not names:
        raise UserError(
            f"no study ran in {arguments.store}", "run one with `mixc run FILE`, or name its store with --store"
        )
    console = Console()
    results: list[dict[str, Any]] = []
    for name in names:
        context = find_study(name, store, reporter)
        plan = context.keys.plan
        if any(store.find(context.key(study.report)) is None for study in plan.studies if study.name == name):
            raise UserError(f"the study {name} isn't finished", f"go on with `mixc run {plan.spec}`")
        report = write_study(context, next(study for study in plan.studies if study.name == name))
        results.append(to_json(report.results))
        if arguments.format == "text":
            print_report(report, console)
    if arguments.format == "json":
        print(json.dumps(results[0] if len(results) == 1 else results, indent=2))
    return 0
