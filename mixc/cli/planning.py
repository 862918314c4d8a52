"""From a file to a plan with data, as `plan`, `run`, `export` and `chat` need it."""

from __future__ import annotations

import argparse
import sys
from threading import Event

from compiler.passes.build import UnbuiltError
from compiler.passes.verify import Problem
from dsl.diagnostics.diagnostic import Diagnostic
from mixc.cli.workspace import chosen, error_console, load_checked, print_diagnostics
from runtime.planning import Planned, plan_with_data
from runtime.progress import Reporter
from runtime.steps.context import Context
from runtime.store import Store


def planned(arguments: argparse.Namespace, stop: Event | None = None) -> Planned | None:
    """The plan of what the arguments name; None where the file or a declaration has errors, which are printed.

    `stop` ends the work between two steps.
    Errors that only data shows are in the plan's `errors`; `print_errors` prints them.
    """
    module = load_checked(arguments)
    if module is None:
        return None
    studies, models = chosen(module, arguments.names)
    reporter = Reporter(error_console())
    store = Store(arguments.store, reporter.say)
    try:
        result = plan_with_data(
            arguments.file,
            module.root,
            studies,
            models,
            lambda keys, files: Context(module.root, store, reporter, keys, files, stop or Event()),
        )
    except UnbuiltError as error:
        print_diagnostics([_unbuilt(error)])
        return None
    return result


def _unbuilt(error: UnbuiltError) -> Diagnostic:
    return Diagnostic(
        code="MIX0401",
        message=f"this version of mixc doesn't run {error.what} yet",
        source=error.place.source,
        span=error.place.span,
        help="`mixc check`, `fmt` and `show` take it; the CHANGELOG says what runs",
    )


def print_errors(planned: Planned) -> None:
    """Prints what only data shows: with the line of the spec where it stands in one, else as a sentence."""
    diagnostics: list[Diagnostic] = []
    for error in planned.errors:
        place = planned.places.get(error.place or "")
        if place is None:
            where = f"{error.place}: " if error.place else ""
            print(f"error: {where}{error.message}\nhelp: {error.help}\n", file=sys.stderr)
        else:
            code = error.code if isinstance(error, Problem) else "MIX0400"
            diagnostics.append(Diagnostic(code, error.message, place.source, place.span, error.help))
    if diagnostics:
        print_diagnostics(diagnostics)
