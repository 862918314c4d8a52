"""The arms of a study: their flows and stages, and where they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from dsl.checks.finding import Finding
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Level, Study
from dsl.declarations.training import Train
from dsl.hole import HOLE, IncompleteError, known

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Branch:
    """A flow where it is written: the base, an arm, or a level of a matrix, which has stages alone."""

    name: str
    path: str
    flow: ModelFlow | Level

    @property
    def stages(self) -> list[Train]:
        return list(self.flow.stages) if isinstance(self.flow, Level) else stages_of(self.flow)


def each(items: Iterable[_Item], find: Callable[[_Item], Iterable[Finding]]) -> Iterator[Finding]:
    """What is found in each item; a hole in one of them silences that one alone."""
    for item in items:
        try:
            yield from find(item)
        except IncompleteError:
            continue


def arms_of(study: Study) -> dict[str, ModelFlow]:
    """The arms by name; those of a matrix are `LEVEL.LEVEL` and start from the base. One with a mistake is a hole."""
    found = dict(study.arms)
    if not study.matrix or study.base is None:
        return found
    for levels in product(*(factor.levels for factor in study.matrix)):
        found[".".join(level.name for level in levels)] = _combined(study.base, levels)
    return found


def flows_of(study: Study) -> dict[str, ModelFlow]:
    """All that is measured: the base, where there is one, and the arms."""
    base = {} if study.base is None else {"base": study.base}
    return base | arms_of(study)


def branches_of(study: Study) -> Iterator[Branch]:
    """The flows of a study as they are written."""
    if study.base is not None:
        yield Branch("base", "base", study.base)
    for name, flow in study.arms.items():
        yield Branch(name, f"arms.{name}", flow)
    for index, factor in enumerate(study.matrix):
        for level in factor.levels:
            yield Branch(level.name, f"matrix[{index}].{factor.name}.{level.name}", level)


def stages_of(flow: ModelFlow) -> list[Train]:
    """The stages that a flow passes, after those of the model that it starts from."""
    before = stages_of(flow.start.from_) if isinstance(flow.start.from_, ModelFlow) else []
    return [*before, *flow.stages]


def names_of(stage: str) -> tuple[str, str]:
    """What a stage may be called: as seen from the loaded file, which is given, or by its own name."""
    return stage, stage.rpartition(".")[2]


def stage_names(flows: Iterable[ModelFlow]) -> list[str]:
    """What the stages of these flows may be called, the shortest first."""
    return sorted({name for flow in flows for stage in stages_of(flow) for name in names_of(stage.name)}, key=len)


def is_served(model: Model) -> bool:
    """Whether a model answers behind an API. Raises IncompleteError where that is written wrong."""
    return known(model.api) is not None


def _combined(base: ModelFlow, levels: tuple[Level, ...]) -> ModelFlow:
    if base is HOLE or any(level.stages is HOLE for level in levels):
        return HOLE
    stages = tuple(stage for level in levels for stage in level.stages)
    return ModelFlow.model_construct(start=base.start, stages=(*base.stages, *stages))
