"""Distances of what arms train on to the items of an evaluation: a step for each arm."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.passes.build import Build, Consumer
from compiler.passes.items import items_of
from compiler.passes.surveys import tokens_of
from compiler.plan import PlannedArm
from compiler.steps import Distance, Taken, Train
from compiler.values import Moment
from dsl.declarations.studies import Study


def distances(build: Build, study: Study, arms: Iterable[PlannedArm]) -> dict[str, str]:
    """By arm the step that measures the distance of its training data, with its first seed.

    Empty where the study asks for none; an arm that isn't trained has none.
    """
    found: dict[str, str] = {}
    if study.distance is None:
        return found
    for arm in arms:
        if arm.stages and arm.name not in found:
            consumer = Consumer(arm.reader, None, arm.template_args)
            found[arm.name] = build.add(
                Distance(
                    name=arm.name,
                    place=build.place(study, "distance"),
                    trained=tuple(_taken(build, stage.train, stage.end) for stage in arm.stages),
                    items=tuple(items_of(build, study.distance.to, consumer)),
                )
            )
    return found


def _taken(build: Build, train: str, end: Moment) -> Taken:
    step = build.steps[train]
    assert isinstance(step, Train)
    rows = (tokens.rows for tokens in tokens_of(build, train))
    return Taken(pack=step.pack, end=end, rows=tuple(dict.fromkeys(rows)))
