"""What an evaluation asks: the steps that read its items."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.passes import data  # as a module: sources may leave out what overlaps with an evaluation
from compiler.passes.build import Build, Consumer, UnbuiltError, place_of
from compiler.steps import Read
from dsl.declarations.evals import Eval


def members(evaluation: Eval) -> Iterator[Eval]:
    """The evaluations of a suite, or the one itself."""
    if evaluation.suite:
        for member in evaluation.suite:
            yield from members(member)
    else:
        yield evaluation


def items_of(build: Build, evaluation: Eval, consumer: Consumer | None) -> Iterator[str]:
    """The steps that give the rows which an evaluation, or each of a suite, asks or measures.

    Raises UnbuiltError for a task of Inspect.
    """
    for member in members(evaluation):
        if member.choice is not None:
            yield _read(build, member, "choice", member.choice)
        elif member.prompts is not None:
            yield _read(build, member, "prompts", member.prompts)
        elif member.inspect is not None:
            raise UnbuiltError("the items of an Inspect task", place_of(member, "inspect"))
        for view in member.loss:
            yield data.rows(build, view, consumer)[0]


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
