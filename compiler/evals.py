"""How an evaluation asks and judges, as values that travel as JSON. Numbers are exact, as decimals or fractions."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from compiler.operations import Asked
from compiler.values import Frozen


class Answering(Frozen):
    """Answers that are sampled."""

    model: Asked
    """Who answers, and how it samples."""
    samples: int
    """Answers to each prompt."""
    seed: int
    """Of the sampling; 0 where nothing is drawn."""


class InspectTask(Frozen):
    """One task of Inspect with its arguments: a combination of those that the evaluation lists."""

    name: str
    """As the spec writes it: `inspect_evals/agentic_misalignment`."""
    version: str
    """Of the package that has the task."""
    args: dict[str, str]


class Labels(Frozen):
    """Labels of an answer: each whose RE2 pattern is found in it."""

    kind: Literal["labels"] = "labels"
    patterns: tuple[tuple[str, str], ...]
    """By label, sorted: a mapping has no order."""


class Calibration(Frozen):
    """Hand labels that a judge is measured against before it is believed."""

    labels: str
    """The location of a JSONL file."""
    agreement: str
    """The least that is asked for: the share of equal labels, or the rank correlation of scores."""


class Judging(Frozen):
    """What a model says of an answer: one of `answers`, or a score from `low` to `high`."""

    kind: Literal["judging"] = "judging"
    model: Asked
    prompt: str | None
    """The location of the file with what the judge is asked; None for a task of Inspect, whose scorer asks."""
    answers: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None


Grader: TypeAlias = Annotated[Labels | Judging, Field(discriminator="kind")]
