"""The lock: what a plan takes from outside its specs, pinned by content, so that another day or machine sees a change.

It lies beside the spec as `FILE.lock`, is JSON with sorted keys, and holds no path of a machine and no time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, ValidationError

from compiler.keys import Keys
from compiler.plan import Plan
from compiler.steps import Pack, Transform, Weights
from compiler.values import Frozen

VERSION = 1


class PinnedFile(Frozen):
    """One file of a location: its name within it, the SHA-256 of its bytes, and how many there are."""

    name: str
    sha256: str
    bytes: int


class PinnedLocation(Frozen):
    """The files at a location of a spec; `revision` is the commit that a name such as `main` stood for."""

    files: tuple[PinnedFile, ...]
    revision: str | None = None


class PinnedRows(Frozen):
    """Rows that a model made: what came out, since a served model can change under its name."""

    name: str
    model: str
    sha256: str
    examples: int


class PinnedModel(Frozen):
    """What a plan must know of weights: the tokenizer with its chat template, and the shape."""

    tokenizer: str
    config: dict[str, Any]


class PinnedStream(Frozen):
    """The tokens that a stage trains on, in their order."""

    name: str
    digest: str
    tokens: int


class Lock(Frozen):
    version: int
    locations: dict[str, PinnedLocation] = Field(default_factory=dict[str, PinnedLocation])
    """By location, as the spec writes it."""
    models: dict[str, PinnedModel] = Field(default_factory=dict[str, PinnedModel])
    """By the location of the weights, or the name of random ones, with that of a tokenizer and a template of their
    own."""
    rows: dict[str, PinnedRows] = Field(default_factory=dict[str, PinnedRows])
    """By the description key of the transform."""
    streams: dict[str, PinnedStream] = Field(default_factory=dict[str, PinnedStream])
    """By the description key of the `pack` step."""


def make_lock(plan: Plan, keys: Keys, locations: Mapping[str, PinnedLocation]) -> Lock:
    """What a plan pins, as far as its data steps are done."""
    models: dict[str, PinnedModel] = {}
    rows: dict[str, PinnedRows] = {}
    streams: dict[str, PinnedStream] = {}
    for description, step in plan.steps.items():
        result = keys.results.get(description)
        if result is None:
            continue
        facts = result.facts
        match step:
            case Weights():
                origin = step.name if step.location is None else step.location
                named = " with ".join(each for each in (origin, step.tokenizer, step.template) if each is not None)
                models[named] = PinnedModel(tokenizer=facts["tokenizer"], config=facts["config"])
            case Transform() if step.asks is not None:
                asked = step.asks.api or step.asks.name
                rows[description] = PinnedRows(
                    name=step.name, model=asked, sha256=result.content, examples=facts["examples"]
                )
            case Pack():
                streams[description] = PinnedStream(name=step.name, digest=facts["digest"], tokens=facts["tokens"])
            case _:
                continue
    return Lock(version=VERSION, locations=dict(locations), models=models, rows=rows, streams=streams)


def to_text(lock: Lock) -> str:
    """The lock as its file holds it."""
    return json.dumps(lock.model_dump(mode="json", exclude_none=True), indent=1, sort_keys=True) + "\n"


def from_text(text: str) -> Lock | None:
    """The lock of a file; None where it isn't one of this version."""
    try:
        lock = Lock.model_validate_json(text)
    except ValidationError:
        return None
    return lock if lock.version == VERSION else None


def differences(locked: Lock, now: Lock, plan: Plan) -> Iterator[str]:
    """What is no longer as it was pinned, a sentence each, in the order in which one thing follows from another.

    What `now` doesn't know yet (rows that a model has still to make, and what rests on them) is no difference.
    """
    yield from _of_locations(locked.locations, now.locations)
    for location, model in now.models.items():
        before = locked.models.get(location)
        if before is None:
            yield f"the model at {location} isn't locked"
        elif before.tokenizer != model.tokenizer:
            yield f"the tokenizer or chat template of {location} has changed"
        elif before.config != model.config:
            yield f"the shape of {location} has changed"
    for key, made in now.rows.items():
        was = locked.rows.get(key)
        if was is None:
            yield f"the rows of {made.name} that {made.model} made aren't locked"
        elif was.sha256 != made.sha256:
            yield f"{made.model} has made other rows of {made.name}: {made.examples:,}, and {was.examples:,} are locked"
    yield from _of_streams(locked, now, plan)
    for key, pinned in locked.rows.items():
        if key not in plan.steps:
            yield f"{pinned.name} is locked as an earlier state of the spec declared it"


def _of_streams(locked: Lock, now: Lock, plan: Plan) -> Iterator[str]:
    stale = {stream.name: stream for key, stream in locked.streams.items() if key not in plan.steps}
    for key, stream in now.streams.items():
        was = locked.streams.get(key)
        if was is not None and was.digest != stream.digest:
            yield f"{stream.name} is another stream of tokens: {stream.tokens:,}, and {was.tokens:,} are locked"
        elif was is None and (before := stale.pop(stream.name, None)) is not None:
            yield f"{stream.name} is declared otherwise: {stream.tokens:,} tokens, and {before.tokens:,} are locked"
        elif was is None:
            yield f"the stream of tokens of {stream.name} isn't locked"
    yield from (f"{name} is locked, and no stage trains on it any more" for name in stale)


def _of_locations(locked: Mapping[str, PinnedLocation], now: Mapping[str, PinnedLocation]) -> Iterator[str]:
    for location, pinned in locked.items():
        found = now.get(location)
        if found is None:
            yield f"{location} is locked, and nothing reads it any more"
        elif found != pinned:
            yield f"{location} has changed: {_changed_files(pinned, found)}"
    for location in now:
        if location not in locked:
            yield f"{location} isn't locked"


def _changed_files(before: PinnedLocation, after: PinnedLocation) -> str:
    old, new = ({file.name: file.sha256 for file in each.files} for each in (before, after))
    told = [
        *(f"{name} has other contents" for name in old if name in new and old[name] != new[name]),
        *(f"{name} is gone" for name in old if name not in new),
        *(f"{name} is new" for name in new if name not in old),
    ]
    if not told:
        return f"its revision is {after.revision}, and was {before.revision}"
    return ", ".join(told[:3]) + (f", and {len(told) - 3} more" if len(told) > 3 else "")
