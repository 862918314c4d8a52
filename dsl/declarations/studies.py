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
from dsl.declarations.targets import Target
from dsl.declarations.training import Train
from dsl.values import Compare, Name, Point


class Level(Written):
    """One level of a factor: a stage or a flow of them, or `none`."""

    name: str = declared("computation", OneOf(), "The label that results are reported under.")
    stages: Annotated[tuple[Train, ...], SkipValidation] = declared(
        "computation", ListOf(Reference(("train",))), "The stages that it adds; none of them for `none`."
    )


class Factor(Written):
    """One factor of a matrix, with its levels."""

    name: str = declared("computation", OneOf(), "The label that results are reported under.")
    levels: tuple[Level, ...] = declared(
        "computation", MappingOf(FlowOf("train"), entry=Level), "The levels, by label."
    )


class Dose(Written):
    """Equal dose over arms: of a stage or factor, within a share of the largest."""

    of: str | None = declared(
        "computation", OneOf(), "The stage or factor that is compared. Left out: all stages.", default=None
    )
    within: Fraction = declared(
        "computation", Typed("percent", 0, 1), "The largest difference that is allowed.", default=Fraction(0)
    )


class TokensDose(Dose):
    """Asserts that arms read as many tokens."""


class TrainedTokensDose(Dose):
    """Asserts that arms train on as many tokens with loss."""


class Embedding(Written):
    """How far training data lies from an evaluation in meaning, in the sentence embedding that `dedup` has too.

    Of each item of the eval it is the mean cosine distance, from 0 on, to the hundredth of an arm's examples that is
    nearest to it, each as often as the arm trains on it; of an arm, the mean over items, with an interval over items.
    300 rows of each source of a stage are embedded, and 300 items, the same ones in every arm and run.
    """

    to: Annotated[Eval, SkipValidation] = declared(
        "computation", Reference(("eval",)), "The eval that distances are measured to."
    )


class ScheduledEval(Written):
    """An evaluation and when it is done."""

    eval: Annotated[Eval, SkipValidation] = declared("computation", Reference(("eval",)), "The eval.")
    when: tuple[Point, ...] = declared("computation", Moments(), "When it is done.", default=(Point("end"),))


class Claim(Written):
    """A comparison registered before the run. `evals` are the declarations by the names that it uses."""

    comparison: Annotated[Compare, SkipValidation] = declared(
        "computation", Typed("text"), "The comparison of results."
    )
    text: str = declared("remark", Typed("text"), "The claim as it is written.")
    evals: Annotated[dict[str, Eval], SkipValidation] = declared(
        "computation", MappingOf(Reference(("eval",))), "The evals that it names."
    )


class Study(Declaration):
    """Models that are compared: `arms`, or the `matrix` of all combinations over a `base`.

    In an arm, `base` means the study's base. The base, where there is one, is always evaluated too.
    """

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    question: str | None = declared("remark", Typed("text"), "What the study asks, in a sentence.", default=None)
    base: ModelFlow | None = declared(
        "computation", FlowOf("model"), "The model that arms start from and are compared with.", default=None
    )
    arms: dict[str, ModelFlow] = declared(
        "computation",
        MappingOf(FlowOf("model", or_base=True)),
        "The models that are compared, by label: a model, or a flow such as `base |> finetune(data=advice)`.",
        default={},
    )
    matrix: tuple[Factor, ...] = declared(
        "computation",
        ListOf(OneKey(MappingOf(FlowOf("train"), entry=Level), Factor), lists_things=True),
        "Factors in the order of their stages; arms are all combinations, called `LEVEL.LEVEL`.",
        default=(),
    )
    seeds: tuple[int, ...] = declared(
        "computation",
        ListOf(Typed("count", 0, 2**32 - 1), lists_things=True),
        "The seeds; every arm is trained once with each.",
        default=(0,),
    )
    vary: tuple[Literal["order", "sampling", "initialisation"], ...] = declared(
        "computation",
        ListOf(OneOf(("order", "sampling", "initialisation")), lists_things=True),
        "What a seed changes; the rest is drawn as with seed 0.",
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
        "What is measured: a list of evals, or evals with when (`margin: every 10%`). A list means at the end.",
        default=(),
    )
    match: TokensDose | TrainedTokensDose | None = declared(
        "computation",
        BuiltIn({"tokens": TokensDose, "trained_tokens": TrainedTokensDose}),
        "Asserts that arms get equal doses; never trims them.",
        default=None,
    )
    differ: Name | None = declared(
        "computation",
        Typed("name"),
        "The only field or factor that arms may differ in: `data`, `model`, `optimizer.lr`.",
        default=None,
    )
    distance: Embedding | None = declared(
        "computation",
        BuiltIn({"embedding": Embedding}),
        "Reports how far each arm's training data lies from an evaluation.",
        default=None,
    )
    stop: Claim | None = declared(
        "computation",
        Claimed(Claim),
        "Ends an arm's run early once this holds; an eval without an arm is the running arm's.",
        default=None,
    )
    expect: tuple[Claim, ...] = declared(
        "computation",
        ListOf(Claimed(Claim)),
        "Claims registered before the run, reported as held, failed or undecided.",
        default=(),
    )
    target: Target | None = declared(
        "execution", Reference(("target",)), "Where the study runs. Left out: on what is here.", default=None
    )
