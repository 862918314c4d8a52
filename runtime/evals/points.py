"""Scored points of a study: which arm, which evaluation, when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler.values import END, Moment
from runtime.evals.score import Scored
from runtime.evals.statistics import Cell


@dataclass(frozen=True)
class Place:
    """Where along an arm something is evaluated, whatever the arm's stages are called."""

    stage: str | None
    """None for the arm's last one."""
    moment: Moment


AT_END = Place(None, END)


@dataclass(frozen=True)
class Point:
    """One evaluation of one arm, with one seed, at one moment of a stage."""

    arm: str
    """`base` for the study's base."""
    eval: str
    stage: str | None
    """None before any stage: a model that wasn't trained."""
    seed: int | None
    """None where nothing was trained, so that the point stands for every seed."""
    step: int
    """Updates made in the stage."""
    tokens: int
    """Tokens read in the stage."""
    scored: Scored
    moment: Moment = END
    """As planned."""
    last: bool = True
    """Whether `stage` is the arm's last."""

    @property
    def place(self) -> Place:
        return Place(None if self.last else self.stage, self.moment)


def cells(points: Sequence[Point], arm: str, eval: str) -> dict[Place, Cell]:
    """The scores of one arm in one evaluation, seeds together, by place in the order of the points."""
    by_place: dict[Place, dict[int | None, Scored]] = {}
    for point in points:
        if point.arm == arm and point.eval == eval:
            by_place.setdefault(point.place, {})[point.seed] = point.scored
    return {place: Cell(f"{arm} at {place}", by_seed) for place, by_seed in by_place.items()}


def is_untrained(own: Mapping[Place, Cell]) -> bool:
    """Whether these cells are of a model that was never trained."""
    return len(own) == 1 and all(set(cell.by_seed) == {None} for cell in own.values())


def at_place(own: Mapping[Place, Cell], place: Place) -> Cell | None:
    """The cell at a place; the single one of a model that was never trained stands for all places."""
    return next(iter(own.values())) if is_untrained(own) else own.get(place)
