"""Surveys of what arms train on: every source, beside every evaluation of its study."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.passes.build import Build, Consumer
from compiler.passes.items import items_of, members
from compiler.plan import PlannedArm
from compiler.steps import Order, Pack, Survey, Tokenize, Train, Transform
from dsl.declarations.evals import Eval
from dsl.declarations.inspect_tasks import version_of


def survey(build: Build, arm: PlannedArm, evals: Iterable[Eval]) -> None:
    """Adds a survey of each source that an arm trains on. A task of Inspect is in it if it is installed."""
    if not arm.stages:
        return
    consumer = Consumer(arm.reader, None, arm.template_args)
    against = {
        member.name: tuple(items_of(build, member, consumer))
        for evaluation in evals
        for member in members(evaluation)
        if member.inspect is None or version_of(member.inspect)
    }
    for stage in arm.stages:
        for tokens in tokens_of(build, stage.train):
            build.add(
                Survey(
                    name=tokens.name,
                    place=tokens.place,
                    rows=tokens.rows,
                    format=tokens.format,
                    against=against,
                    made=_is_made(build, tokens.rows),
                )
            )


def _is_made(build: Build, rows: str) -> bool:
    """Whether a model made rows, or what they were made from."""
    step = build.steps[rows]
    return isinstance(step, Transform) and (step.asks is not None or _is_made(build, step.rows))


def tokens_of(build: Build, train: str) -> Iterable[Tokenize]:
    """The `tokenize` steps of what a train step is trained on."""
    step = build.steps[train]
    assert isinstance(step, Train)
    pack = build.steps[step.pack]
    assert isinstance(pack, Pack)
    order = build.steps[pack.order]
    assert isinstance(order, Order)
    for each in order.inputs:
        tokens = build.steps[each]
        assert isinstance(tokens, Tokenize)
        yield tokens
