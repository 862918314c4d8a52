"""Keys of steps: by description from the text alone, and by content once what comes in is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import chain
from math import ceil
from typing import Any, cast

from pydantic import BaseModel

from compiler import operations
from compiler.evals import Judging
from compiler.identity import Json, sha256
from compiler.plan import Plan
from compiler.stages import asked_by, prompts_of
from compiler.steps import (
    AnyStep,
    Calibrate,
    DataStep,
    Pack,
    Read,
    Respond,
    Result,
    Score,
    Step,
    Tokenize,
    Train,
    Transform,
    Weights,
)
from compiler.values import EXECUTION, REMARK, RETENTION, ModelPoint, Moment

REVISIONS = {
    "read": 1,
    "transform": 2,
    "weights": 2,
    "tokenize": 3,
    "survey": 1,
    "order": 2,
    "pack": 3,
    "train": 2,
    "respond": 2,
    "calibrate": 1,
    "score": 1,
    "distance": 1,
    "report": 1,
}
"""What a kind of step computes, counted by hand: raised when the same inputs give another result."""


def computation(step: Step) -> dict[str, Json]:
    """A step as JSON without remarks, what it keeps, and how it runs."""
    return cast(dict[str, Json], _unordered(_computed(step)))


def _computed(value: object) -> Json:
    match value:
        case BaseModel():
            fields = type(value).model_fields
            return {
                name: _computed(getattr(value, name))
                for name, info in fields.items()
                if info.json_schema_extra not in (REMARK, RETENTION, EXECUTION)
            }
        case tuple() | list():
            return [_computed(item) for item in cast(Sequence[object], value)]
        case dict():
            return {str(key): _computed(item) for key, item in cast(dict[object, object], value).items()}
        case _:
            return cast(Json, value)


def _unordered(value: Json) -> Json:
    """`value` with the parts of a mix sorted by what they are and without their names: a mapping has no order."""
    match value:
        case dict():
            inner = {key: _unordered(item) for key, item in value.items()}
            parts = inner.get("parts")
            if isinstance(parts, list):
                bare = [
                    {key: item for key, item in part.items() if key != "name"}
                    for part in parts
                    if isinstance(part, dict)
                ]
                inner["parts"] = sorted(bare, key=lambda part: json.dumps(part, sort_keys=True))  # type: ignore[assignment]
            return inner
        case list():
            return [_unordered(item) for item in value]
        case _:
            return value


def computed(value: BaseModel) -> Json:
    """A part of a step as JSON, in the way in which keys take it."""
    return _unordered(_computed(value))


def description_key(step: AnyStep) -> str:
    """Identity of a step from the text: stable under renaming and documentation, not under moving files."""
    return sha256({"revision": REVISIONS[step.kind], "step": computation(step)})


class Keys:
    """Keys by content, filled as results come in.

    A data step stands in later keys by what came out of it, so a reformatted file or a renamed one reruns nothing; a
    step that trains or asks a model stands by its key, which is known before it runs.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.results: dict[str, Result] = {}
        self.known: dict[str, str] = {}

    def found(self, description: str, result: Result) -> None:
        """Takes note of what a data step gave."""
        self.results[description] = result

    def of_plan(self, plan: Plan) -> Keys:
        """The same knowledge for a plan that holds these steps and more."""
        keys = Keys(plan)
        keys.results = {
            description: result for description, result in self.results.items() if description in plan.steps
        }
        return keys

    def of(self, description: str, files: Mapping[str, tuple[str, ...]]) -> str | None:
        """The key of a step, None while something that comes in is unknown.

        `files` are the SHA-256 of the files at each location.
        """
        if description not in self.known:
            key = self._compute(self.plan.steps[description], files)
            if key is None:
                return None
            self.known[description] = key
        return self.known[description]

    def update(self, train: str, moment: Moment) -> int | None:
        """The update of a train step at which a moment fires: the first at or past it; None where unknown."""
        step = self.plan.steps[train]
        assert isinstance(step, Train)
        packed = self.results.get(step.pack)
        return None if packed is None else update_at(moment, packed.facts)

    def _compute(self, step: AnyStep, files: Mapping[str, tuple[str, ...]]) -> str | None:
        read = locations_of(step)
        if any(location not in files for location in read):
            return None
        replaced = {location: sha256(list(files[location])) for location in read}
        updates: dict[ModelPoint, int] = {}
        for point in points_of(step):
            if isinstance(self.plan.steps[point.step], Train):
                update = self.update(point.step, point.at)
                if update is None:
                    return None
                updates[point] = update
        body = cast(dict[str, Json], _at_updates(computation(step), updates))
        for holder in (body, body.get("operation")):
            if isinstance(holder, dict) and isinstance(named := holder.get("files"), list):
                holder["files"] = cast(list[Json], sorted(chain(*(files[cast(str, each)] for each in named))))
        for description in step.inputs:
            content = self._content(description, files, tokenizer_only=self._tokenizer_only(step, description))
            if content is None:
                return None
            replaced[description] = content
        described = cast(dict[str, Json], _unordered(_replace(body, replaced)))
        if isinstance(step, Pack):
            described["tokens"] = sorted(cast(list[str], described["tokens"]))  # type: ignore[assignment]
        return sha256({"revision": REVISIONS[step.kind], "step": described})

    @staticmethod
    def _tokenizer_only(step: AnyStep, description: str) -> bool:
        """Whether an input `weights` step counts for a step by its tokenizer and chat template alone."""
        match step:
            case Tokenize():
                return description == step.weights
            case Transform() | Respond():
                return description == step.weights and all(point.step != description for point in points_of(step))
            case _:
                return False

    def _content(self, description: str, files: Mapping[str, tuple[str, ...]], *, tokenizer_only: bool) -> str | None:
        step = self.plan.steps[description]
        if not isinstance(step, DataStep):
            return self.of(description, files)
        result = self.results.get(description)
        if result is None:
            return None
        return result.facts["tokenizer"] if tokenizer_only else result.content


def points_of(step: AnyStep) -> tuple[ModelPoint, ...]:
    """The weights that a step takes: what it asks, trains on or scores with."""
    match step:
        case Respond():
            return () if step.asks is None else (step.asks,)
        case Score():
            return () if step.judge is None or step.judge.point is None else (step.judge.point,)
        case Calibrate():
            return () if step.judging.model.point is None else (step.judging.model.point,)
        case Transform():
            return () if step.asks is None or step.asks.point is None else (step.asks.point,)
        case Train():
            judges = () if step.reward is None else (asked.point for asked in asked_by(step.reward))
            return tuple(point for point in (step.model, step.base, *judges) if point is not None)
        case _:
            return ()


def _at_updates(value: Json, updates: Mapping[ModelPoint, int]) -> Json:
    """`value` with the points of models as updates: `end` and `100%` are one point."""
    if not updates:
        return value
    match value:
        case dict() if value.keys() == ModelPoint.model_fields.keys():
            update = updates.get(ModelPoint.model_validate(value))
            return value if update is None else {"step": value["step"], "at": update}
        case dict():
            return {key: _at_updates(item, updates) for key, item in value.items()}
        case list():
            return [_at_updates(item, updates) for item in value]
        case _:
            return value


def locations_of(step: AnyStep) -> tuple[str, ...]:
    """The locations of the files that a step reads."""
    match step:
        case Read(files=files):
            return files
        case Weights(location=location, tokenizer=tokenizer, template=template):
            return tuple(each for each in (location, tokenizer, template) if each is not None)
        case Transform(operation=operation):
            return operations.locations_of(operation)
        case Train(reward=reward) if reward is not None:
            return tuple(dict.fromkeys(prompts_of(reward)))
        case Score(grader=Judging(prompt=prompt)):
            return () if prompt is None else (prompt,)
        case Calibrate(judging=Judging(prompt=prompt), calibration=calibration):
            return tuple(each for each in (prompt, calibration.labels) if each is not None)
        case _:
            return ()


def _replace(value: Json, contents: Mapping[str, str]) -> Json:
    """`value` with description keys of inputs replaced by the contents of what they stand for."""
    match value:
        case str():
            return contents.get(value, value)
        case list():
            return [_replace(item, contents) for item in value]
        case dict():
            return {key: _replace(item, contents) for key, item in value.items()}
        case _:
            return value


def update_at(moment: Moment, packed: Mapping[str, Any]) -> int:
    """The first update at or past a moment, of a stage with the facts of its `pack` step.

    `packed` holds `updates` and, by update, the running totals `cumulative_tokens`, `cumulative_trained_tokens` and
    `cumulative_examples`, of examples that begin there. A quantity past the end gives the end.
    """
    updates: int = packed["updates"]
    match moment.kind, moment.value:
        case "fraction", str(value):
            return min(ceil(Fraction(value) * updates), updates)
        case "quantity", value if value is not None and not isinstance(value, str):
            count = Fraction(value.count)
            if value.unit == "steps":
                return min(ceil(count), updates)
            totals: list[int] = packed[f"cumulative_{_named(value.unit)}"]
            return next((index + 1 for index, total in enumerate(totals) if total >= count), updates)
        case _:
            return updates


def until(moment: Moment, unit: str, packed: Mapping[str, Any]) -> int:
    """What a stage holds up to a moment, in tokens, trained tokens or examples."""
    update = update_at(moment, packed)
    if update == packed["updates"]:
        return total_of(unit, packed)
    return packed[f"cumulative_{_named(unit)}"][update - 1] if update else 0


def total_of(unit: str, packed: Mapping[str, Any]) -> int:
    """What a stage holds in all, with the facts of its `pack` step."""
    return packed["updates" if unit == "steps" else _named(unit)]


def _named(unit: str) -> str:
    """What facts call a unit. Who counts prompts counts examples."""
    return "examples" if unit == "prompts" else unit.replace(" ", "_")
