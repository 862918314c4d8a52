"""What an arm of a study says: its flow as written, or every field of every stage that it passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from dsl.checks.arms import flows_of, stages_of
from dsl.declarations.models import ModelFlow
from dsl.declarations.shapes import FlowOf
from dsl.declarations.studies import Study
from dsl.declarations.training import Train
from dsl.format import format_source
from dsl.module import Module
from dsl.places import Places
from dsl.show import Row, aligned, rows_of, text_of, written
from dsl.source import SourceFile


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing that a study measures: an arm, a combination of its matrix (`LEVEL.LEVEL`), or `base`."""

    name: str
    study: Study
    flow: ModelFlow


def find_arm(module: Module, name: str) -> Arm | None:
    """The arm that `STUDY.ARM` means, as seen from this file; None where there is none."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        study, arm = module.find(".".join(parts[:count])), ".".join(parts[count:])
        if isinstance(study, Study) and (flow := flows_of(study).get(arm)) is not None:
            return Arm(arm, study, flow)
    return None


def arm_names(module: Module) -> list[str]:
    """The names of all arms of this file and of its imports, as `STUDY.ARM`."""
    studies = [one for name in module.names() if isinstance(one := module.find(name), Study)]
    return [f"{study.name}.{arm}" for study in studies for arm in flows_of(study)]


def show_arm(arm: Arm, *, resolved: bool = False) -> str:
    """An arm's flow above the declarations of its stages, or line by line as `ARM.STAGE.FIELD: VALUE  # FILE:LINE`."""
    if resolved:
        return aligned((row.path, row) for row in rows_of_arm(arm))
    texts = [f"{arm.name}: {_written_flow(arm)}\n"]
    stages = {stage.name: stage for stage in stages_of(arm.flow)}.values()
    texts += [format_source(SourceFile(stage.place.source.path, written(stage)))[0] for stage in stages]
    return "\n".join(texts)


def rows_of_arm(arm: Arm) -> Iterator[Row]:
    """The flow, then every field of its stages in their order; one that it passes twice is `STAGE[0]`, `STAGE[1]`."""
    parts, places = _parts(arm), arm.study.places
    path = parts[0][0] if len(parts) == 1 else "matrix"
    place = places.get(path)
    constant = places.constant(path) if isinstance(places, Places) else None
    yield Row(arm.name, text_of(_FLOW, arm.flow, place), place, constant)
    stages = stages_of(arm.flow)
    often, passed = Counter(stage.name for stage in stages), Counter[str]()
    for stage in stages:
        label = f"{stage.name}[{passed[stage.name]}]" if often[stage.name] > 1 else stage.name
        passed[stage.name] += 1
        yield from (replace(row, path=f"{arm.name}.{label}.{row.path}") for row in rows_of(stage))


_FLOW = FlowOf("model", or_base=True)


def _parts(arm: Arm) -> list[tuple[str, ModelFlow | tuple[Train, ...]]]:
    """Where an arm stands in its study; one of a matrix starts from the base and passes the stages of its levels."""
    if arm.name == "base" or arm.name in arm.study.arms:
        return [("base" if arm.name == "base" else f"arms.{arm.name}", arm.flow)]
    factors = [
        [(f"matrix[{index}].{factor.name}.{level.name}", level) for level in factor.levels]
        for index, factor in enumerate(arm.study.matrix)
    ]
    levels = next(one for one in product(*factors) if ".".join(level.name for _, level in one) == arm.name)
    assert arm.study.base is not None
    return [("base", arm.study.base), *((path, level.stages) for path, level in levels if level.stages)]


def _written_flow(arm: Arm) -> str:
    (path, flow), *levels = _parts(arm)
    start = _written_part(arm, path, flow) if arm.name == "base" or path != "base" else "base"
    return " |> ".join([start, *(_written_part(arm, *level) for level in levels)])


def _written_part(arm: Arm, path: str, flow: ModelFlow | tuple[Train, ...]) -> str:
    """What stands there, on one line; what is written as a mapping is told as a call."""
    places = arm.study.places
    place = places.get(path)
    if place is None or (isinstance(places, Places) and places.key(path) == place):
        return text_of(_FLOW, flow, place)
    return " ".join(place.source.text[place.span.start : place.span.end].split())
