"""Declarations of evaluations."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC, SourceView
from dsl.declarations.models import Model
from dsl.declarations.shapes import BuiltIn, ListOf, MappingOf, OneOf, Record, Reference, Typed
from dsl.values import Range


class Rate(Written):
    """The share of items with a label: `rate(aligned)`."""

    label: str = declared("computation", OneOf(), "The label.", positional=True)


class Mean(Written):
    """The mean of a field over items: `mean(margin)`."""

    field: str = declared("computation", OneOf(), "The field.", positional=True)


class Calibration(Written):
    """Hand labels that a judge is measured against before it is believed."""

    labels: str = declared("computation", Typed("location"), "JSONL of rows labelled by hand.")
    agreement: Fraction = declared("computation", Typed("number", 0, 1), "Least agreement.")


METRICS: dict[str, type[Written]] = {"rate": Rate, "mean": Mean}


class Eval(Declaration):
    """What is measured: exactly one of `choice`, `prompts`, `loss`, `inspect` and `suite` says how."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    choice: str | None = declared("computation", Typed("location"), "Pairs of continuations.", default=None)
    prompts: str | None = declared("computation", Typed("location"), "Prompts to answer.", default=None)
    loss: tuple[SourceView, ...] = declared(
        "computation", ListOf(Reference(("source",)), or_one=True), "Sources whose loss is taken.", default=()
    )
    inspect: str | None = declared("computation", Typed("text"), "An Inspect task.", default=None)
    suite: Annotated[tuple[Eval, ...], SkipValidation] = declared(
        "computation", ListOf(Reference(("eval",))), "Several as one assessment.", default=()
    )
    args: dict[str, tuple[str, ...]] = declared(
        "computation", MappingOf(ListOf(Typed("text"), or_one=True)), "Of the Inspect task; lists expand.", default={}
    )
    normalise: Literal["length", "none"] = declared(
        "computation", OneOf(("length", "none")), "Divides log-probabilities by their token count.", default="none"
    )
    judge: Annotated[Model | None, SkipValidation] = declared(
        "computation", Reference(("model",)), "Who judges answers.", default=None
    )
    prompt: str | None = declared("computation", Typed("location"), "What the judge is asked.", default=None)
    answers: tuple[str, ...] = declared("computation", ListOf(OneOf()), "What the judge may answer.", default=())
    scale: Range | None = declared("computation", Typed("range"), "Lowest and highest score.", default=None)
    classify: dict[str, str] = declared(
        "computation", MappingOf(Typed("text")), "Labels with patterns, instead of a judge.", default={}
    )
    samples: int = declared("computation", Typed("count", 1), "Answers a prompt.", default=1)
    temperature: Fraction | None = declared("computation", Typed("number", 0), "0 is greedy.", default=None)
    max_tokens: int | None = declared("computation", Typed("count", 1), "Longest answer.", default=None)
    metric: Annotated[Rate | Mean | None, SkipValidation] = declared(
        "computation", BuiltIn(METRICS), "What is reported.", default=None
    )
    calibrate: Calibration | None = declared(
        "computation", Record(Calibration), "Measures the judge first.", default=None
    )
