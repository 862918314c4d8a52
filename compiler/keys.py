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
from compiler.identity import Json, sha256
from compiler.plan import Plan
from compiler.steps import AnyStep, DataStep, Pack, Read, Respond, Result, Step, Tokenize, Train, Transform, Weights
from compiler.values import EXECUTION, REMARK, RETENTION, Measure, ModelPoint, Moment

REVISIONS = {
    "read": 1,
    "transform": 2,
    "weights": 1,
    "tokenize": 2,
    "survey": 1,
    "order": 2,
    "pack": 2,
    "train": 2,
    "respond": 1,
    "score": 1,
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
        point = asked_point(step)
        if point is not None and isinstance(self.plan.steps[point.step], Train):
            update = self.update(point.step, point.at)
            if update is None:
                return None
            step = _asked_at(step, update)
        body = computation(step)
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
                point = asked_point(step)
                return description == step.weights and (point is None or description != point.step)
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


def asked_point(step: AnyStep) -> ModelPoint | None:
    """The weights that a step asks, without training them."""
    match step:
        case Respond():
            return step.model
        case Transform():
            return None if step.asks is None else step.asks.point
        case _:
            return None


def _asked_at(step: AnyStep, update: int) -> AnyStep:
    """The same step with the point of the model that it asks as an update: `end` and `100%` are one point."""
    at = Moment(kind="quantity", value=Measure(count=str(update), unit="steps"))
    match step:
        case Respond():
            return step.model_copy(update={"model": step.model.model_copy(update={"at": at})})
        case Transform() if step.asks is not None and step.asks.point is not None:
            asked = step.asks.model_copy(update={"point": step.asks.point.model_copy(update={"at": at})})
            return step.model_copy(update={"operation": step.operation.model_copy(update={"model": asked})})
        case _:
            raise AssertionError(f"a {step.kind} step asks no model")


def locations_of(step: AnyStep) -> tuple[str, ...]:
    """The locations of the files that a step reads."""
    match step:
        case Read(files=files):
            return files
        case Weights(location=location, tokenizer=tokenizer, template=template):
            return tuple(each for each in (location, tokenizer, template) if each is not None)
        case Transform(operation=operation):
            return operations.locations_of(operation)
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
    `cumulative_examples`. A quantity past the end gives the end.
    """
    updates: int = packed["updates"]
    match moment.kind, moment.value:
        case "fraction", str(value):
            return ceil(Fraction(value) * updates)
        case "quantity", value if value is not None and not isinstance(value, str):
            count = Fraction(value.count)
            if value.unit == "steps":
                return min(ceil(count), updates)
            totals: list[int] = packed[f"cumulative_{value.unit.replace(' ', '_')}"]
            return next((index + 1 for index, total in enumerate(totals) if total >= count), updates)
        case _:
            return updates
