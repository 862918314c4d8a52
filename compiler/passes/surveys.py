"""Surveys of what arms train on: every source, beside every evaluation of its study."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.passes.build import Build, Consumer
from compiler.passes.items import items_of, members
from compiler.plan import PlannedArm
from compiler.steps import Order, Pack, Survey, Tokenize, Train, Transform
from dsl.declarations.evals import Eval


def survey(build: Build, arm: PlannedArm, evals: Iterable[Eval]) -> None:
    """Adds a survey of each source that an arm trains on. A task of Inspect has its items elsewhere and isn't in it."""
    consumer = Consumer(arm.weights, None, arm.template_args)
    against = {
        member.name: tuple(items_of(build, member, consumer))
        for evaluation in evals
        for member in members(evaluation)
        if member.inspect is None
    }
    for stage in arm.stages:
        for tokens in _tokens(build, stage.train):
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


def _tokens(build: Build, train: str) -> Iterable[Tokenize]:
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
