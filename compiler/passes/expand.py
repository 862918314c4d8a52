"""From declarations to a plan: studies to arms and seeds, and all the steps that they want."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from compiler.passes.build import Build, UnbuiltError, place_of
from compiler.passes.evaluations import points
from compiler.passes.flows import arm, untrained
from compiler.passes.items import members
from compiler.passes.surveys import survey
from compiler.plan import Plan, PlannedArm, PlannedMatch, PlannedStudy
from compiler.steps import PlannedClaim, PlannedPoint, Report
from dsl.declarations.base import Place
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Level, Study, TokensDose

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
    for field, value in (("distance", study.distance), ("stop", study.stop)):
        if value is not None:
            raise UnbuiltError(f"{field}: of a study", place_of(study, field))
    arms: list[PlannedArm] = []
    planned: list[PlannedPoint] = []
    for planned_arm in _arms(build, study):  # lazily, so that an arm's evaluations stand right after its training
        arms.append(planned_arm)
        for scheduled in study.evals:
            planned.extend(points(build, planned_arm, scheduled))
    for planned_arm in arms:
        survey(build, planned_arm, [scheduled.eval for scheduled in study.evals])
    claims = tuple(
        PlannedClaim(text=claim.text, evals={name: eval.name for name, eval in claim.evals.items()})
        for claim in study.expect
    )
    report = build.add(
        Report(
            name=study.name,
            place=build.place(study),
            points=tuple(planned),
            claims=claims,
            levels={each.name: each.levels for each in arms if each.levels},
        )
    )
    evaluations = [member for scheduled in study.evals for member in members(scheduled.eval)]
    notes = {each.name: each.doc for each in evaluations if each.doc is not None}
    return PlannedStudy(
        name=study.name,
        question=study.question,
        arms=tuple(arms),
        match=_match(build, study),
        notes=notes,
        report=report,
    )


def _match(build: Build, study: Study) -> PlannedMatch | None:
    if study.match is None:
        return None
    return PlannedMatch(
        unit="tokens" if isinstance(study.match, TokensDose) else "trained_tokens",
        of=study.match.of,
        within=str(study.match.within),
        place=build.place(study, "match"),
    )


def _arms(build: Build, study: Study) -> Iterator[PlannedArm]:
    """The base once, then every arm with every seed; a model without a stage is one arm without a seed."""
    flows: dict[str, tuple[ModelFlow, dict[str, Level]]] = {name: (flow, {}) for name, flow in study.arms.items()}
    if study.base is not None:
        flows = {BASE: (study.base, {}), **flows}
    if study.matrix and study.base is not None:
        for levels in product(*(factor.levels for factor in study.matrix)):
            chosen = {factor.name: level for factor, level in zip(study.matrix, levels, strict=True)}
            stages = (*study.base.stages, *(stage for level in levels for stage in level.stages))
            flow = ModelFlow.model_construct(start=study.base.start, stages=stages)
            flows[".".join(level.name for level in levels)] = flow, chosen
    for name, (flow, chosen) in flows.items():
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
