"""`mixc run`: runs studies or models, and prints the table."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from threading import Event
from typing import Any

from rich.console import Console

from dsl.declarations.studies import Study
from dsl.module import Module
from mixc.cli.plan import print_plan
from mixc.cli.planning import planned, print_errors, say_differences
from mixc.cli.targets import add_target_option, target_of
from mixc.cli.workspace import add_format_options, add_planning_options, stoppable
from runtime.distributed import joined, place_from
from runtime.followers import follow, lead
from runtime.steps.context import Running
from runtime.steps.running import check_here, running_of
from runtime.stopping import Stopped


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("run", help=__doc__, description=__doc__)
    add_planning_options(parser)
    add_format_options(parser)
    add_target_option(parser)
    parser.add_argument("--until", choices=("data",), help="make all rows and tokens, then stop with the plan")


def run(arguments: argparse.Namespace) -> int:
    with stoppable() as signals:
        try:
            with joined(place_from(os.environ), signals.stop, signals.told) as processes:
                if processes.first:
                    return lead(processes, lambda: _run(arguments, signals.stop))
                return follow(processes, arguments.store, signals.stop)
        except Stopped:
            words = shlex.join(["mixc", *sys.argv[1:]])
            print(f"stopped; what is done is kept. To go on: {words}", file=sys.stderr)
            return signals.exit_code


def _run(arguments: argparse.Namespace, stop: Event) -> int:
    """The exit code, when all is done or can't be. Raises Stopped."""

    def running(module: Module, studies: Sequence[Study]) -> Running:
        target = target_of(module, arguments.target, studies)
        if target is None:
            return Running()
        how = running_of(target)
        check_here(target)
        return how

    plan = planned(arguments, stop, running=running)
    if plan is None:
        return 1
    if not plan.errors and plan.waiting:
        plan = planned(arguments, stop, ask=True, running=running)
        assert plan is not None, "it was planned a moment ago"
    if plan.errors:
        print_errors(plan)
        return 1
    say_differences(plan, arguments)
    if arguments.until == "data":
        print_plan(plan, arguments.format)
        return 0
    from runtime.run import run as run_plan

    reports = run_plan(plan.context)
    if arguments.format == "json":
        from runtime.report.results import to_json

        results = [to_json(report.results) for report in reports]
        print(json.dumps(results[0] if len(results) == 1 else results, indent=2))
        return 0
    from runtime.report.terminal import print_report

    console = Console()
    for report in reports:
        print_report(report, console)
    for model in plan.plan.models:
        console.print(f"{model.name}: {plan.context.folder(model.final.step)}", highlight=False)
    return 0
