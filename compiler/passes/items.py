"""What an evaluation asks: the steps that read its items."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from compiler.evals import InspectTask
from compiler.passes import data  # as a module: sources may leave out what overlaps with an evaluation
from compiler.passes.build import Build, Consumer, bare
from compiler.steps import Read
from dsl.declarations.evals import Eval
from dsl.declarations.inspect_tasks import version_of


def members(evaluation: Eval) -> Iterator[Eval]:
    """The evaluations of a suite, or the one itself."""
    if evaluation.suite:
        for member in evaluation.suite:
            yield from members(member)
    else:
        yield evaluation


def named_members(evaluation: Eval) -> Iterator[tuple[str, Eval]]:
    """The same, with what each is called in results: by its own name, in a suite `SUITE.EVAL`."""
    if not evaluation.suite:
        yield evaluation.name, evaluation
        return
    short = [bare(member.name) for member in evaluation.suite]
    for member, own in zip(evaluation.suite, short, strict=True):
        called = own if short.count(own) == 1 else member.name
        for name, each in named_members(member):
            yield f"{evaluation.name}.{called}{name.removeprefix(member.name)}", each


def items_of(build: Build, evaluation: Eval, consumer: Consumer | None) -> Iterator[str]:
    """The steps that give the rows which an evaluation, or each of a suite, asks or measures."""
    for member in members(evaluation):
        if member.choice is not None:
            yield _read(build, member, "choice", member.choice)
        elif member.prompts is not None:
            yield _read(build, member, "prompts", member.prompts)
        elif member.inspect is not None:
            yield _inputs(build, member)
        for view in member.loss:
            yield data.rows(build, view, consumer)[0]


def tasks_of(evaluation: Eval) -> tuple[InspectTask, ...]:
    """The task of Inspect with every combination of its arguments."""
    task, arguments = evaluation.inspect, evaluation.args
    assert task is not None
    combined = (dict(zip(arguments, values, strict=True)) for values in product(*arguments.values()))
    return tuple(InspectTask(name=task, version=version_of(task), args=each) for each in combined)


def _inputs(build: Build, evaluation: Eval) -> str:
    """What samples of the tasks begin with."""
    return build.add(
        Read(
            name=evaluation.name,
            place=build.place(evaluation, "inspect"),
            format="inspect",
            files=(),
            fields={},
            tasks=tasks_of(evaluation),
        )
    )


def _read(build: Build, evaluation: Eval, field: str, file: str) -> str:
    return build.add(
        Read(
            name=evaluation.name,
            place=build.place(evaluation, field),
            format=field,
            files=(build.location(file),),
            fields={},
        )
    )
