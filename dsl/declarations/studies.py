"""Declarations of studies: which arms are compared, and how."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC
from dsl.declarations.evals import Eval
from dsl.declarations.models import ModelFlow
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    Claimed,
    FlowOf,
    ListOf,
    MappingOf,
    Moments,
    OneKey,
    OneOf,
    Reference,
    Typed,
)
from dsl.declarations.training import Target, Train
from dsl.values import Compare, Name, Point


class Level(Written):
    """One level of a factor: a stage or several, or none."""

    name: str = declared("computation", OneOf(), "Its label.")
    stages: Annotated[tuple[Train, ...], SkipValidation] = declared(
        "computation", ListOf(Reference(("train",))), "Empty for `none`."
    )


class Factor(Written):
    """One factor of a matrix, with its levels."""

    name: str = declared("computation", OneOf(), "Its label.")
    levels: tuple[Level, ...] = declared("computation", MappingOf(FlowOf("train"), entry=Level), "By label.")


class Dose(Written):
    """Equal dose over arms: of a stage or factor, within a share."""

    of: str | None = declared("computation", OneOf(), "A stage or factor; else all stages.", default=None)
    within: Fraction = declared("computation", Typed("percent", 0, 1), "Largest difference.", default=Fraction(0))


class TokensDose(Dose):
    """`tokens(…)`: tokens read."""


class TrainedTokensDose(Dose):
    """`trained_tokens(…)`: tokens with loss."""


class Embedding(Written):
    """Distance of training data to an evaluation in a sentence embedding."""

    to: Annotated[Eval, SkipValidation] = declared("computation", Reference(("eval",)), "The evaluation.")


class ScheduledEval(Written):
    """An evaluation and when it is done."""

    eval: Annotated[Eval, SkipValidation] = declared("computation", Reference(("eval",)), "What is measured.")
    when: tuple[Point, ...] = declared("computation", Moments(), "When.", default=(Point("end"),))


class Claim(Written):
    """A comparison registered before the run. `evals` are the declarations by the names that it uses."""

    comparison: Annotated[Compare, SkipValidation] = declared("computation", Typed("text"), "The comparison.")
    text: str = declared("remark", Typed("text"), "As written.")
    evals: Annotated[dict[str, Eval], SkipValidation] = declared(
        "computation", MappingOf(Reference(("eval",))), "By name."
    )


class Study(Declaration):
    """Arms from a base, compared by evaluations. After resolving, `base` in an arm is the model itself."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    question: str | None = declared("remark", Typed("text"), "What is asked, in a sentence.", default=None)
    base: ModelFlow | None = declared("computation", FlowOf("model"), "What arms are compared with.", default=None)
    arms: dict[str, ModelFlow] = declared(
        "computation", MappingOf(FlowOf("model", or_base=True)), "Models or flows, by label.", default={}
    )
    matrix: tuple[Factor, ...] = declared(
        "computation",
        ListOf(OneKey(MappingOf(FlowOf("train"), entry=Level), Factor)),
        "Factors in stage order.",
        default=(),
    )
    seeds: tuple[int, ...] = declared("computation", ListOf(Typed("count", 0)), "One run each.", default=(0,))
    vary: tuple[Literal["order", "sampling", "initialisation"], ...] = declared(
        "computation",
        ListOf(OneOf(("order", "sampling", "initialisation"))),
        "What follows the seed.",
        default=("order", "sampling", "initialisation"),
    )
    evals: tuple[ScheduledEval, ...] = declared(
        "computation",
        AnyOf(
            (
                MappingOf(Moments(), keys=("eval",), entry=ScheduledEval),
                ListOf(Reference(("eval",)), entry=ScheduledEval),
            )
        ),
        "Names, or names with when.",
        default=(),
    )
    match: TokensDose | TrainedTokensDose | None = declared(
        "computation",
        BuiltIn({"tokens": TokensDose, "trained_tokens": TrainedTokensDose}),
        "Asserts equal dose.",
        default=None,
    )
    differ: Name | None = declared(
        "computation", Typed("name"), "The only thing that arms may differ in.", default=None
    )
    distance: Embedding | None = declared(
        "computation", BuiltIn({"embedding": Embedding}), "How far data lies from an evaluation.", default=None
    )
    stop: Claim | None = declared("computation", Claimed(Claim), "Ends a run early.", default=None)
    expect: tuple[Claim, ...] = declared("computation", ListOf(Claimed(Claim)), "Claims.", default=())
    target: Target | None = declared("execution", Reference(("target",)), "Where it runs.", default=None)
