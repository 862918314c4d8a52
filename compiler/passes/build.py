"""The steps gathered so far, and how values of the language are written in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from compiler.keys import description_key
from compiler.steps import AnyStep, Train
from compiler.values import Measure, Share
from dsl.declarations.base import Declaration, Place
from dsl.values import Amount, Quantity


class UnbuiltError(Exception):
    """A declaration asks for something that the language has and this version doesn't run yet."""

    def __init__(self, what: str, place: Place) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


class NoReaderError(Exception):
    """Tokens are to be counted, and no model is named that would read them."""


@dataclass(frozen=True)
class Consumer:
    """Who reads a source: the tokenizer and chat template of a `weights` step, and the loss that it is read for."""

    weights: str
    loss: str | None
    """None: all tokens of documents, the assistant's of chats."""
    template_args: dict[str, str]
    reasoning: Literal["train", "mask"] = "train"

    def trains(self, format_: str) -> str:
        """The loss for a source of a format. Preferences and prompts are about the answer, whatever is written."""
        if format_ in ("preference", "prompts"):
            return "completion"
        return self.loss or ("all" if format_ == "documents" else "assistant")

    def reasons(self, format_: str) -> Literal["train", "mask"]:
        """What becomes of reasoning in a source of a format. Documents and prompts have none."""
        return "train" if format_ in ("documents", "prompts") else self.reasoning


@dataclass
class Build:
    """Steps as they are asked for; asking twice for the same gives the same.

    `root` is the folder that locations are written relative to in descriptions. `packed` are the facts of `pack` steps
    known so far, by description key.
    """

    root: Path
    packed: Mapping[str, Mapping[str, Any]]
    steps: dict[str, AnyStep] = field(default_factory=dict[str, AnyStep])
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    """Every place that steps name, by its text."""

    def add(self, step: AnyStep) -> str:
        """The description key of `step`, which is in the plan from now on.

        Who shares a train step shares what it keeps, and how far it is trained.
        """
        key = description_key(step)
        known = self.steps.setdefault(key, step)
        if isinstance(step, Train) and isinstance(known, Train):
            kept = tuple(dict.fromkeys((*known.checkpoint, *step.checkpoint)))
            ends = tuple(dict.fromkeys((*known.ends, *step.ends)))
            strictest = "stop" if "stop" in (known.on_spike, step.on_spike) else "warn"
            self.steps[key] = known.model_copy(update={"checkpoint": kept, "ends": ends, "on_spike": strictest})
        return key

    def location(self, location: str) -> str:
        """A location as it stands in descriptions: a URI, or a path relative to the root where it lies below it."""
        path = Path(location)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else location

    def place(self, declaration: Declaration, written: str = "") -> str:
        """FILE:LINE:COLUMN of a field, or of its declaration where it isn't written."""
        place = place_of(declaration, written)
        self.places[str(place)] = place
        return str(place)


def place_of(declaration: Declaration, written: str = "") -> Place:
    """Where a field is written, or its declaration where it isn't."""
    return declaration.places.get(written, declaration.place)


def bare(name: str) -> str:
    """A declaration's own name without the alias of its import, which differs from file to file."""
    return name.rsplit(".", 1)[-1] if not name.endswith(".holdout") else ".".join(name.split(".")[-2:])


def measure(quantity: Quantity) -> Measure:
    return Measure(count=str(quantity.count), unit=quantity.unit)


def measure_or_fraction(value: Quantity | Fraction) -> Measure | str:
    return measure(value) if isinstance(value, Quantity) else str(value)


def share(amount: Amount) -> Share:
    return Share(kind=amount.kind, value=None if amount.value is None else measure_or_fraction(amount.value))
