"""What commands that plan have in common: a file read and checked, a store, a context, and stopping in good order."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import FrameType

from rich.console import Console

from dsl.check import load_checked as load
from dsl.declarations.models import Model
from dsl.declarations.studies import Study
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.render import render
from dsl.module import Module
from mixc.cli.check import wants_colour
from mixc.cli.sets import add_set_option
from runtime.errors import UserError


def add_planning_options(parser: argparse.ArgumentParser) -> None:
    """FILE, NAME…, and the options of `add_file_options`, as every command that plans takes them."""
    parser.add_argument("file", metavar="FILE", help="a .mix file")
    parser.add_argument("names", metavar="NAME", nargs="*", help="studies or models of the file; else all its studies")
    add_file_options(parser)


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """--set, --store, --allow-outside and --data-engine."""
    add_set_option(parser)
    add_store_option(parser)
    parser.add_argument("--allow-outside", action="store_true", help="imports may leave the project's folder")
    parser.add_argument(
        "--data-engine",
        choices=("local", "ray"),
        default="local",
        help="where rows are worked on; ray: on the Ray cluster that RAY_ADDRESS names (HOST:PORT), which must see the"
        " store's folder at the same path; without RAY_ADDRESS, Ray on this machine (default: local)",
    )


def add_store_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", metavar="DIR", type=Path, default=Path("runs"), help="where results lie (default: runs)"
    )


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """--format text|json, and --json for the latter."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how the result is printed")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="--format json")


def error_console() -> Console:
    """Where progress and errors go: standard error, so that results can be piped."""
    return Console(stderr=True, highlight=False)


def print_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    print(render(diagnostics, colour=wants_colour(sys.stderr)), file=sys.stderr, end="")


def load_checked(arguments: argparse.Namespace) -> Module | None:
    """The module of FILE; None where it has errors, which are printed."""
    loaded = load(Path(arguments.file), sets=dict(arguments.sets), allow_outside=arguments.allow_outside)
    if loaded.diagnostics:
        print_diagnostics(loaded.diagnostics)
    failed = any(each.severity == "error" for each in loaded.diagnostics)
    return None if failed else loaded.module


def chosen(module: Module, names: Sequence[str]) -> tuple[list[Study], list[Model]]:
    """The studies and models that were named, or all studies of the file."""
    if not names:
        studies = list(module.studies())
        if not studies:
            raise UserError(f"{module.path} has no study", "name a model to plan or run it alone, or declare a study")
        return studies, []
    found = [(name, module.find(name)) for name in names]
    for name, declaration in found:
        if not isinstance(declaration, Study | Model):
            has = ", ".join(each.name for each in (*module.studies(), *module.models()))
            raise UserError(f"{module.path} has no study or model '{name}'", f"it has: {has or 'none'}")
        if isinstance(declaration, Model) and declaration.api is not None:
            raise UserError(f"{name} is a served model: nothing of it is run by itself", "name a study that asks it")
    return (
        [declaration for _, declaration in found if isinstance(declaration, Study)],
        [declaration for _, declaration in found if isinstance(declaration, Model)],
    )


@dataclass
class Signals:
    """Set once SIGINT or SIGTERM came; a second one ends the process at once."""

    stop: Event
    received: int | None = None

    def told(self) -> None:
        """Another process that runs with this one was asked to stop: as if this one had been, by SIGTERM."""
        self.received = self.received or signal.SIGTERM

    @property
    def exit_code(self) -> int:
        return 128 + (self.received or signal.SIGINT)


@contextmanager
def stoppable() -> Iterator[Signals]:
    """While inside, Ctrl-C and SIGTERM ask long work to save and stop."""
    signals = Signals(Event())

    def ask(number: int, frame: FrameType | None) -> None:
        if signals.received is not None:
            os._exit(128 + number)
        signals.received = number
        signals.stop.set()
        print("\nstopping: saving what is done (once more to stop at once)", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
