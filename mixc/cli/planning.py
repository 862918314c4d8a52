"""From a file to a plan with data, as `plan`, `run`, `export` and `chat` need it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from compiler.keys import Keys
from compiler.passes.build import NoReaderError, UnbuiltError
from compiler.passes.source import PlannedSource, Reader, expand_source, readers
from compiler.passes.verify import Problem
from dsl.declarations.data import Source, SourceView
from dsl.declarations.models import Model
from dsl.declarations.studies import Study
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.suggest import nearest
from dsl.module import Module
from mixc.cli.workspace import chosen, error_console, load_checked, print_diagnostics
from runtime.data.ray_engine import ray_engine
from runtime.errors import UserError
from runtime.files import Files
from runtime.planning import Planned, plan_source, plan_with_data
from runtime.progress import Reporter
from runtime.steps.context import Context, Running
from runtime.store import Store


def planned(
    arguments: argparse.Namespace,
    stop: Event | None = None,
    *,
    ask: bool = False,
    running: Callable[[Module, Sequence[Study]], Running] | None = None,
) -> Planned | None:
    """The plan of what the arguments name; None where the file or a declaration has errors, which are printed.

    `stop` ends the work between two steps; with `ask`, models make the rows that are still to be made; `running` says
    how train steps run for these studies.
    Errors that only data shows are in the plan's `errors`; `print_errors` prints them.
    """
    module = load_checked(arguments)
    if module is None:
        return None
    studies, models = chosen(module, arguments.names)
    how = Running() if running is None else running(module, studies)
    contexts = new_contexts(arguments, module, stop or Event(), how)
    try:
        result = plan_with_data(arguments.file, module.root, studies, models, contexts, ask=ask)
    except UnbuiltError as error:
        print_diagnostics([unbuilt(error)])
        return None
    return result


@dataclass(frozen=True)
class SourceAlone:
    """A source whose steps were run as far as they can be without a model."""

    name: str
    planned: PlannedSource
    context: Context
    errors: list[UserError]


def planned_source(arguments: argparse.Namespace) -> SourceAlone | None:
    """The source that the arguments name, for `--model` or the first model that trains on it; None as in `planned`.

    Raises UserError where the file has no such source or model.
    """
    module = load_checked(arguments)
    if module is None:
        return None
    view = _source_of(module, arguments.name)
    reader = next(readers(module.studies(), module.models(), view), None)
    if arguments.model is not None:
        model = module.find(arguments.model)
        if not isinstance(model, Model):
            has = ", ".join(name for name in module.names() if isinstance(module.find(name), Model))
            raise UserError(f"{module.path} has no model '{arguments.model}'", f"it has: {has or 'none'}")
        reader = Reader(model, None if reader is None else reader.stage)
    try:
        planned = expand_source(arguments.file, module.root, view, reader)
    except UnbuiltError as error:
        print_diagnostics([unbuilt(error)])
        return None
    except NoReaderError as error:
        raise UserError(
            f"{error} of '{arguments.name}' counts tokens, and no model of {module.path} trains on it",
            "name a model with `--model NAME`",
        ) from error
    context, errors = plan_source(planned, new_contexts(arguments, module, Event()))
    return SourceAlone(arguments.name, planned, context, errors)


def new_contexts(
    arguments: argparse.Namespace, module: Module, stop: Event, running: Running | None = None
) -> Callable[[Keys], Context]:
    """What makes the context of a plan, with the store and the files that the arguments name."""
    reporter = Reporter(error_console())
    engine, root = None, arguments.store
    if arguments.data_engine == "ray":
        root = root.absolute()  # workers are in other folders
        engine = ray_engine(None, root)
    store = Store(root, reporter.say)

    def new_context(keys: Keys) -> Context:
        files = Files(module.root, allow_outside=arguments.allow_outside)
        return Context(module.root, store, reporter, keys, files, stop, running or Running(), engine=engine)

    return new_context


def _source_of(module: Module, name: str) -> SourceView:
    bare, dot, side = name.rpartition(".")
    is_side = bool(dot) and side == "holdout"
    source = module.find(bare if is_side else name)
    if not isinstance(source, Source):
        names = [name for name in module.names() if isinstance(module.find(name), Source)]
        near = nearest(name, names)
        what = (
            f"{name} of {module.path} is no source" if source is not None else f"{module.path} has no source '{name}'"
        )
        raise UserError(what, f"did you mean '{near}'?" if near else f"it has: {', '.join(names) or 'none'}")
    if is_side and source.holdout is None:
        raise UserError(f"'{bare}' holds nothing out", f"name it alone: {bare}")
    return SourceView.model_construct(source=source, holdout=is_side)


def print_user_errors(errors: Iterable[UserError]) -> None:
    """Each as a sentence with its place."""
    for error in errors:
        where = f"{error.place}: " if error.place else ""
        print(f"error: {where}{error.message}\nhelp: {error.help}\n", file=sys.stderr)


def unbuilt(error: UnbuiltError) -> Diagnostic:
    """What is said of a declaration that this version doesn't run."""
    return Diagnostic(
        code="MIX0401",
        message=f"this version of mixc doesn't run {error.what} yet",
        source=error.place.source,
        span=error.place.span,
        help="`mixc check`, `fmt` and `show` take it; the CHANGELOG says what runs",
    )


def say_differences(planned: Planned, arguments: argparse.Namespace) -> None:
    """Says what is no longer as the lock beside the spec pins it."""
    from runtime.locking import differing, lock_path

    path = lock_path(Path(arguments.file))
    found = differing(planned, path)
    for sentence in found:
        print(f"warning: {sentence}", file=sys.stderr)
    if found:
        print(f"help: {path} pins another state; `mixc lock {arguments.file}` takes this one\n", file=sys.stderr)


def print_errors(planned: Planned) -> None:
    """Prints what only data shows: with the line of the spec where it stands in one, else as a sentence."""
    diagnostics: list[Diagnostic] = []
    for error in planned.errors:
        place = planned.places.get(error.place or "")
        if place is None:
            print_user_errors([UserError(error.message, error.help, error.place)])
        else:
            code = error.code if isinstance(error, Problem) else "MIX0400"
            diagnostics.append(Diagnostic(code, error.message, place.source, place.span, error.help))
    if diagnostics:
        print_diagnostics(diagnostics)
