"""Tasks of Inspect in installed packages: found by name, made with the arguments that a spec writes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from compiler.evals import InspectTask
from dsl.declarations.inspect_tasks import mend_of, package_of, version_of
from dsl.diagnostics.suggest import nearest
from runtime.errors import UserError

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.model import Model

GRADERS = ("grader_model", "judge_model", "grader", "judge", "scorer_model", "grading_model")
"""Arguments of tasks that say who grades, where a task doesn't ask for the role: given the eval's judge."""


def open_task(task: InspectTask, grader: Model, place: str) -> Task:
    """The task as Inspect has it, with its data.

    Args:
        task: its name, the version that the plan was made with, and its arguments as the spec writes them.
        grader: who grades, where the task has an argument for that which the spec leaves out.
        place: of the evaluation, as the user would name it.

    Raises:
        UserError: the package or the task isn't there, or another version of it; an argument is none of its own, or
            can't be what is written; or the task fails while it is made.
    """
    make = _function(task, place)
    parameters = inspect.signature(make).parameters
    given = {name: _argument(task, make, name, text, place) for name, text in task.args.items()}
    given |= {name: grader for name in GRADERS if name in parameters and name not in given}
    try:
        return make(**given)
    except Exception as error:  # whatever the task's author raises, as a sentence
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"the task {task.name} can't be made: {reason}", "look at its arguments, and at what it needs", place
        ) from error


def _function(task: InspectTask, place: str) -> Callable[..., Task]:
    from inspect_ai._util.registry import registry_find, registry_unqualified_name

    package, _, name = task.name.partition("/")
    offer = package_of(task.name)
    if offer is None:
        raise UserError(f"no installed package has the task {task.name}", mend_of(task.name), place)
    if (installed := version_of(task.name)) != task.version:
        raise UserError(
            f"the plan is made with {task.name} {task.version}, and {installed} is installed here",
            "plan again, or install the same version on every machine",
            place,
        )
    try:
        import_module(offer.target.partition(":")[0])
    except Exception as error:  # of the package's own code
        raise UserError(
            f"the package {offer.package} can't be imported: {' '.join(str(error).split())[:300]}",
            f"mend it: `python -c 'import {offer.target}'` shows what fails",
            place,
        ) from error
    top = offer.target.partition(".")[0]
    tasks: dict[str, Any] = {
        registry_unqualified_name(info): found
        for found in registry_find(lambda info: info.type == "task")
        for info in (_info_of(found),)
        if getattr(found, "__module__", "").partition(".")[0] == top
    }
    if name not in tasks:
        near = nearest(name, list(tasks))
        has = f"did you mean '{package}/{near}'?" if near else f"it has {', '.join(sorted(tasks)[:20]) or 'none'}"
        raise UserError(f"the package {package} has no task '{name}'", has, place)
    return tasks[name]


def _info_of(task: object) -> Any:
    from inspect_ai._util.registry import registry_info

    return registry_info(task)


def _argument(task: InspectTask, make: Callable[..., Task], name: str, text: str, place: str) -> object:
    """What a text stands for, by the type that the task's function gives the argument."""
    parameters = inspect.signature(make).parameters
    if name not in parameters:
        near = nearest(name, list(parameters))
        help = f"did you mean '{near}'?" if near else f"its arguments are {', '.join(parameters) or 'none'}"
        raise UserError(f"the task {task.name} has no argument '{name}'", help, place)
    expected = _hints(make).get(name, _type_of_default(parameters[name].default))
    if expected in (inspect.Parameter.empty, str, Any):
        return text
    try:
        adapter = TypeAdapter[object](expected, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return text
    try:
        return adapter.validate_strings(text)
    except ValidationError as error:
        try:
            return adapter.validate_python(json.loads(text))
        except ValueError:
            reason = error.errors()[0]["msg"]
            raise UserError(
                f"'{text}' can't be the argument '{name}' of {task.name}: {reason}", "write one that it takes", place
            ) from error


def _hints(make: Callable[..., Task]) -> Mapping[str, Any]:
    function = inspect.unwrap(make)
    try:
        return get_type_hints(function)
    except Exception:  # names that exist for type checkers alone; then the default says the type
        return {}


def _type_of_default(default: object) -> Any:
    return type(default) if isinstance(default, bool | int | float) else str
