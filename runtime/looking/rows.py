"""Rows of a source as they go through its transforms: a few, drawn by what they are, from the file to the last step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.operations import Choosing
from compiler.passes.source import PlannedSource
from compiler.steps import Read, Transform
from runtime.data.keys import key, row_hashes
from runtime.data.rows import Rows
from runtime.looking.words import told
from runtime.steps.context import Context
from runtime.steps.data import rows_of


@dataclass(frozen=True)
class Stage:
    """What one step gave: how many rows, and what it left out or set aside, by reason with the first few of each."""

    what: str
    examples: int
    dropped: dict[str, int]
    shown: dict[str, list[dict[str, str]]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A row after the stage of an index, the first that gave it this record."""

    stage: int
    record: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """One row, from the file (`place`) to the last stage that is done; `row` is it alone, as it is there."""

    place: str
    versions: tuple[Version, ...]
    row: Rows


def stages_of(context: Context, planned: PlannedSource) -> list[Stage]:
    """The stages of a source that are done, in order."""
    stages: list[Stage] = []
    for description, _ in planned.rows:
        result = context.keys.results.get(description)
        if result is None:
            break
        step = planned.plan.steps[description]
        assert isinstance(step, Read | Transform)
        facts = result.facts
        stages.append(
            Stage(
                what=told(step),
                examples=facts["examples"],
                dropped=facts["dropped"],
                shown=facts.get("shown", {}),
                notes=(*_layouts(facts), *_unusual(facts), *facts.get("notes", ())),
            )
        )
    return stages


def draw(context: Context, planned: PlannedSource, count: int) -> list[Seen]:
    """As many rows of the last stage that is done, those with the lowest keyed hash: the same ones every time."""
    done = [description for description, _ in planned.rows if description in context.keys.results]
    if not done:
        return []
    rows = [rows_of(context, description) for description in done]
    last = rows[-1]
    hashes = row_hashes(last.identity, last.occurrence, key(0, "look", "", 0))
    return [_seen(planned, done, rows, int(number)) for number in np.argsort(hashes, kind="stable")[:count]]


def _seen(planned: PlannedSource, done: Sequence[str], rows: Sequence[Rows], number: int) -> Seen:
    last = rows[-1]
    versions: list[Version] = []
    place, row = last.place(number), last.select(np.array([number]))
    for index in range(len(rows) - 1, -1, -1):
        step = planned.plan.steps[done[index]]
        makes = isinstance(step, Transform) and not isinstance(step.operation, Choosing)
        if index == 0 or makes:
            versions.append(Version(index, next(rows[index].records(number, number + 1))))
        if index > 0:
            number = int(rows[index].parents[number]) if makes else _find(rows[index - 1], rows[index], number)
    return Seen(place, tuple(_changed(versions[::-1])), row)


def _changed(versions: Sequence[Version]) -> list[Version]:
    """Without those that are as the one before."""
    kept = list(versions[:1])
    for version in versions[1:]:
        if version.record != kept[-1].record:
            kept.append(version)
    return kept


def _find(before: Rows, after: Rows, number: int) -> int:
    """Where a row that was only chosen stands among the rows before."""
    return before.find(after.identity[number].tobytes(), int(after.occurrence[number]))


def _layouts(facts: dict[str, Any]) -> list[str]:
    return [f"{count:,} records laid out as {layout}" for layout, count in facts.get("layouts", {}).items()]


def _unusual(facts: dict[str, Any]) -> list[str]:
    return [f"{name}: {told_}" for name, told_ in facts.get("unusual", {}).items()]
