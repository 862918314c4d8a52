"""What only the data can show to be wrong with a plan: too few updates, unequal doses, sequences beyond the model's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from compiler.keys import Keys
from compiler.plan import Plan, PlannedArm, PlannedMatch
from compiler.steps import Pack, Respond, Survey, Train
from compiler.values import Measure

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
    found = [*_stages(plan, keys), *_doses(plan, keys), *_moments(plan, keys), *_contamination(plan, keys)]
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
        warmup = step.schedule.warmup
        if isinstance(warmup, Measure) and _past_end(warmup, packed.facts):
            yield Problem(
                "MIX0403",
                f"the warm-up of {step.name} takes {warmup.count} {warmup.unit}, longer than the stage",
                "shorten the warm-up, or give it in percent",
                step.place,
            )
        weights = keys.results.get(step.weights)
        if weights is not None and pack.sequence > weights.facts["context"]:
            context = weights.facts["context"]
            yield Problem(
                "MIX0404",
                f"{step.name} has sequences of {pack.sequence} tokens, and the model was made for {context}",
                f"write `sequence: {context} tokens` or less",
                pack.place,
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
        total += packed.facts[match.unit]
    return total or None


def _moments(plan: Plan, keys: Keys) -> Iterator[Problem]:
    """Evaluations at a quantity that their stage never reaches."""
    for _, step in plan.of(Respond):
        at = step.model.at
        train = plan.steps[step.model.step]
        if not isinstance(at.value, Measure) or not isinstance(train, Train):
            continue
        packed = keys.results.get(train.pack)
        if packed is not None and _past_end(at.value, packed.facts):
            yield Problem(
                "MIX0406",
                f"{step.name} at {at.value.count} {at.value.unit} never happens: {train.name} ends before",
                "give an earlier point, or `end`",
                step.place,
            )


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


def _past_end(quantity: Measure, facts: dict[str, Any]) -> bool:
    total = facts["updates"] if quantity.unit == "steps" else facts[quantity.unit.replace(" ", "_")]
    return Fraction(quantity.count) > total
