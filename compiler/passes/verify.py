"""What only the data can show to be wrong with a plan: too few updates, unequal doses, sequences beyond the model's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, cast

from compiler.keys import Keys, total_of, until, update_at
from compiler.passes.parameters import idle_groups, parameter_paths, trained_parameters
from compiler.plan import Plan, PlannedArm, PlannedMatch
from compiler.program.config import DecoderConfig
from compiler.steps import Pack, Report, Respond, Score, Survey, Train
from compiler.values import END, Measure, Moment
from dsl.declarations.inspect_tasks import mend_of
from dsl.diagnostics.suggest import nearest

LEAST_UPDATES = 20
"""Fewer optimizer updates hardly train: a study of such a stage would measure nothing."""


@dataclass(frozen=True)
class Problem:
    """An error of a plan; `place` is FILE:LINE:COLUMN of the declaration or field."""

    code: str
    message: str
    help: str
    place: str


def verify(plan: Plan, keys: Keys) -> list[Problem]:
    """What is wrong with a plan as far as its data is known; each problem once."""
    found = [
        *_stages(plan, keys),
        *_doses(plan, keys),
        *_moments(plan, keys),
        *_contamination(plan, keys),
        *_tasks(plan),
    ]
    return list(dict.fromkeys(found))


def _stages(plan: Plan, keys: Keys) -> Iterator[Problem]:
    for _, step in plan.of(Train):
        packed = keys.results.get(step.pack)
        if packed is None:
            continue
        pack = plan.steps[step.pack]
        assert isinstance(pack, Pack)
        updates: int = packed.facts["updates"]
        if updates < LEAST_UPDATES:
            yield Problem(
                "MIX0402",
                f"{step.name} makes {updates} updates, fewer than {LEAST_UPDATES}: hardly training",
                "a smaller batch, a larger budget or a longer `for` gives more updates",
                step.place,
            )
        yield from _schedule(step, packed.facts)
        weights = keys.results.get(step.weights)
        if weights is None:
            continue
        context = weights.facts["context"]
        if pack.sequence > context:
            yield Problem(
                "MIX0404",
                f"{step.name} has sequences of {pack.sequence} tokens, and the model was made for {context}",
                f"write `sequence: {context} tokens` or less",
                pack.place,
            )
        if step.groups:
            yield from _groups(step, DecoderConfig(**weights.facts["config"]))


def _schedule(step: Train, facts: dict[str, Any]) -> Iterator[Problem]:
    """A warm-up that is over before the stage is, and a decay that comes after it."""
    warmup, decay = step.schedule.warmup, step.schedule.decay
    if isinstance(warmup, Measure) and _past_end(warmup, facts):
        yield Problem(
            "MIX0403",
            f"the warm-up of {step.name} takes {warmup.count} {warmup.unit}, longer than the stage",
            "shorten the warm-up, or give it in percent",
            step.place,
        )
    elif _part_of(warmup, facts) + _part_of(decay, facts) > 1:
        yield Problem(
            "MIX0403",
            f"the warm-up and the decay of {step.name} are longer than the stage, both together",
            "shorten one of them, or give them in percent",
            step.place,
        )


def _part_of(length: Measure | str, facts: dict[str, Any]) -> Fraction:
    if isinstance(length, str):
        return Fraction(length)
    return Fraction(length.count) / total_of(length.unit, facts)


def _groups(step: Train, config: DecoderConfig) -> Iterator[Problem]:
    """Groups that are of some parameters, and leave some to train."""
    for group in idle_groups(config, step):
        paths = parameter_paths(config)
        near = nearest(group.paths, paths)
        help = f"did you mean '{near}'?" if near else f"the parameters are {', '.join(paths)}"
        if any(fnmatchcase(path, group.paths) for path in paths):
            help = "earlier groups have all that it matches: put it before them, or leave it out"
        yield Problem("MIX0408", f"no parameter belongs to the group '{group.paths}' of {step.name}", help, group.place)
    if not trained_parameters(config, step):
        yield Problem(
            "MIX0408",
            f"the groups of {step.name} freeze every parameter: nothing is trained",
            "leave some to train",
            step.groups[0].place,
        )


def _doses(plan: Plan, keys: Keys) -> Iterator[Problem]:
    for study in plan.studies:
        match = study.match
        if match is None:
            continue
        doses = {arm.name: _dose(plan, keys, arm, match) for arm in study.arms}
        known = {name: dose for name, dose in doses.items() if dose}
        if len(known) < 2:
            continue
        difference = Fraction(max(known.values()) - min(known.values()), max(known.values()))
        if difference > Fraction(match.within):
            unit = match.unit.replace("_", " ")
            told = ", ".join(f"{name} {dose:,}" for name, dose in known.items())
            yield Problem(
                "MIX0405",
                f"doses differ by {float(difference):.1%}, beyond {float(Fraction(match.within)):.1%}: {told} {unit}",
                "give the mixes the same budget, or widen `within`: doses are never trimmed to match",
                match.place,
            )


def _dose(plan: Plan, keys: Keys, arm: PlannedArm, match: PlannedMatch) -> int | None:
    """Tokens over the stages that count; None for an arm without such a stage, or while one isn't known."""
    total = 0
    for stage in arm.stages:
        if match.of is not None and match.of not in (stage.name, stage.factor):
            continue
        train = plan.steps[stage.train]
        assert isinstance(train, Train)
        packed = keys.results.get(train.pack)
        if packed is None:
            return None
        total += until(stage.end, match.unit, packed.facts)
    return total or None


def _moments(plan: Plan, keys: Keys) -> Iterator[Problem]:
    """Evaluations at a point that their stage never reaches, or that an arm leaves it before."""
    for _, report in plan.of(Report):
        for point in report.points:
            train = None if point.train is None else plan.steps[point.train]
            packed = keys.results.get(train.pack) if isinstance(train, Train) else None
            if packed is None or train is None or point.moment == END:
                continue
            left = update_at(point.moment, packed.facts) > update_at(point.end, packed.facts)
            if left or _past_end(point.moment.value, packed.facts):
                score = cast(Score, plan.steps[point.score])
                when = f"{train.name} ends before" if point.end == END else f"{point.arm} leaves {train.name} before"
                yield Problem(
                    "MIX0406",
                    f"{score.name} at {_shown(point.moment)} never happens: {when}",
                    "give an earlier point, or `end`",
                    plan.steps[score.respond].place,
                )


def _shown(moment: Moment) -> str:
    value = moment.value
    return f"{value.count} {value.unit}" if isinstance(value, Measure) else f"{float(Fraction(value or 1)):.4g} of it"


def _contamination(plan: Plan, keys: Keys) -> Iterator[Problem]:
    """Items of an evaluation that are trained on, whole; words that they share with rows are told, and no error."""
    for description, step in plan.of(Survey):
        found = keys.results.get(description)
        overlaps: dict[str, dict[str, Any]] = {} if found is None else found.facts["overlap"]
        for eval, overlap in overlaps.items():
            if overlap["same"]:
                yield Problem(
                    "MIX0407",
                    f"{overlap['same']:,} rows of {step.name} are items of {eval}, which is to measure what is trained",
                    f"leave them out: `apply: [exclude(overlap={eval})]`, or hold rows out for {eval}",
                    step.place,
                )


def _tasks(plan: Plan) -> Iterator[Problem]:
    """Tasks of Inspect that no installed package has: found out before anything is trained for them."""
    for _, step in plan.of(Respond):
        for task in step.tasks:
            if not task.version:
                message = f"no installed package has the task {task.name} of {step.name}"
                yield Problem("MIX0409", message, mend_of(task.name), step.place)


def _past_end(value: Measure | str | None, facts: dict[str, Any]) -> bool:
    """Whether a quantity is more than a stage holds, or a share more than all of it."""
    if isinstance(value, Measure):
        return Fraction(value.count) > total_of(value.unit, facts)
    return value is not None and Fraction(value) > 1
