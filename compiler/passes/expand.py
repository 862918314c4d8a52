"""From declarations to a plan: studies to arms and seeds, and all the steps that they want."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from compiler.passes import stops
from compiler.passes.build import Build
from compiler.passes.distances import distances
from compiler.passes.evaluations import points
from compiler.passes.flows import arm, untrained
from compiler.passes.items import named_members
from compiler.passes.surveys import survey
from compiler.plan import Plan, PlannedArm, PlannedMatch, PlannedStudy
from compiler.steps import PlannedClaim, PlannedPoint, Report
from dsl.declarations.base import Place
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Claim, Level, Study, TokensDose

BASE = "base"
"""The arm that stands for a study's base in plans and results."""


def expand(
    spec: str,
    root: Path,
    studies: Sequence[Study],
    models: Sequence[Model],
    packed: Mapping[str, Mapping[str, Any]],
) -> tuple[Plan, dict[str, Place]]:
    """The plan of studies and models, from the text and what is known of the data, and the places that it names.

    Args:
        spec: the file, as it is shown.
        root: the folder that locations are written relative to in descriptions.
        packed: facts of `pack` steps known so far, by description key. Evaluations `every` so many steps or tokens
            stand in the plan once these are there.

    Raises:
        UnbuiltError: a declaration asks for what this version doesn't run.
    """
    build = Build(root, packed)
    planned_models = tuple(arm(build, model.name, untrained(model), 0, ("order",)) for model in models)
    planned_studies = tuple(_study(build, study) for study in studies)
    return Plan(
        spec=spec, root=str(root), steps=build.steps, studies=planned_studies, models=planned_models
    ), build.places


def _study(build: Build, study: Study) -> PlannedStudy:
    named = [each for scheduled in study.evals for each in named_members(scheduled.eval)]
    called = {evaluation.name: name for name, evaluation in named}
    stop = None if study.stop is None else _claim(study.stop, called)
    flows = _flows(study)
    arms: list[PlannedArm] = []
    planned: list[PlannedPoint] = []
    ends: list[PlannedPoint] = []
    for planned_arm in _arms(build, study, flows):  # lazily, so that an arm's evaluations stand after its training
        arms.append(planned_arm)
        own = [point for scheduled in study.evals for point in points(build, planned_arm, scheduled)]
        planned.extend(own)
        if stop is not None and planned_arm.name != BASE:  # others start from the base, and are compared with it
            ends.extend(stops.ends(build, planned_arm, own, stop))
    written = list(flows)
    arms.sort(key=lambda each: written.index(each.name))
    planned.sort(key=lambda each: written.index(each.arm))
    for planned_arm in arms:
        survey(build, planned_arm, [scheduled.eval for scheduled in study.evals])
    report = build.add(
        Report(
            name=study.name,
            place=build.place(study),
            points=tuple(planned),
            claims=tuple(_claim(each, called) for each in study.expect),
            levels={each.name: each.levels for each in arms if each.levels},
            stop=stop,
            ends=tuple(ends),
            distances=distances(build, study, arms),
            distance_to=None if study.distance is None else called.get(study.distance.to.name, study.distance.to.name),
        )
    )
    notes = {name: each.doc for name, each in named if each.doc is not None}
    return PlannedStudy(
        name=study.name,
        question=study.question,
        arms=tuple(arms),
        match=_match(build, study),
        notes=notes,
        report=report,
    )


def _claim(claim: Claim, called: Mapping[str, str]) -> PlannedClaim:
    """`called` is what results call each evaluation."""
    return PlannedClaim(text=claim.text, evals={name: called[eval.name] for name, eval in claim.evals.items()})


def _match(build: Build, study: Study) -> PlannedMatch | None:
    if study.match is None:
        return None
    return PlannedMatch(
        unit="tokens" if isinstance(study.match, TokensDose) else "trained_tokens",
        of=study.match.of,
        within=str(study.match.within),
        place=build.place(study, "match"),
    )


_Flow: TypeAlias = tuple[ModelFlow, dict[str, Level]]
"""A flow, and of an arm of a matrix the level by factor."""


def _flows(study: Study) -> dict[str, _Flow]:
    """The base and every arm by name."""
    flows: dict[str, _Flow] = {name: (flow, {}) for name, flow in study.arms.items()}
    if study.base is not None:
        flows = {BASE: (study.base, {}), **flows}
    if study.matrix and study.base is not None:
        for levels in product(*(factor.levels for factor in study.matrix)):
            chosen = {factor.name: level for factor, level in zip(study.matrix, levels, strict=True)}
            stages = (*study.base.stages, *(stage for level in levels for stage in level.stages))
            flow = ModelFlow.model_construct(start=study.base.start, stages=stages)
            flows[".".join(level.name for level in levels)] = flow, chosen
    return flows


def _arms(build: Build, study: Study, flows: Mapping[str, _Flow]) -> Iterator[PlannedArm]:
    """The base once, then every arm with every seed; a model without a stage is one arm without a seed.

    Arms that `stop` compares others with come first: it judges by what is known while the others run.
    """
    first: frozenset[str] = frozenset()
    if study.stop is not None:
        levels = {name: {factor: level.name for factor, level in of.items()} for name, (_, of) in flows.items()}
        first = stops.compared(study.stop.comparison, levels)
    for name, (flow, chosen) in sorted(flows.items(), key=lambda each: each[0] != BASE and each[0] not in first):
        for seed in study.seeds:
            planned = _with_levels(arm(build, name, flow, seed, study.vary), chosen)
            yield planned
            if planned.seed is None:
                break


def _with_levels(planned: PlannedArm, levels: dict[str, Level]) -> PlannedArm:
    """An arm of a matrix with its levels; its last stages are theirs, in order."""
    factors = [name for name, level in levels.items() for _ in level.stages]
    before = len(planned.stages) - len(factors)
    stages = tuple(
        stage if index < before else stage.model_copy(update={"factor": factors[index - before]})
        for index, stage in enumerate(planned.stages)
    )
    return planned.model_copy(update={"levels": {name: level.name for name, level in levels.items()}, "stages": stages})
