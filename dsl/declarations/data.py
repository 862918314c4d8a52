"""Declarations of data: sources, chains of transforms, mixes."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.installed import WithPlugIns
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    FlowOf,
    ListOf,
    MappingOf,
    Measured,
    OneOf,
    Record,
    Reference,
    Typed,
)
from dsl.declarations.transforms import TRANSFORMS, Transform
from dsl.values import Amount, Quantity, Unit

Format = Literal["documents", "chat", "preference", "prompts"]
BUDGET_UNITS: tuple[Unit, ...] = ("tokens", "trained tokens", "examples")
PART_UNITS: tuple[Unit, ...] = (*BUDGET_UNITS, "epochs")

APPLICABLE = WithPlugIns(TRANSFORMS)
"""What a row can pass in `apply`."""

FORMATS: tuple[Format, ...] = ("documents", "chat", "preference", "prompts")

DOC = "What a reader should know of it. Changing it reruns nothing."


class Augment(Declaration):
    """A named chain of transforms, used in a flow: `from: prompts |> with_tools`."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    apply: tuple[Transform, ...] = declared(
        "computation", ListOf(BuiltIn(APPLICABLE)), "Transforms that the rows pass, in this order."
    )


class SourceView(Written):
    """A source as something uses it: its rows, or those that `holdout` set aside."""

    source: Annotated[Source, SkipValidation] = declared(
        "computation", Reference(("source",)), "The source whose rows they are."
    )
    holdout: bool = declared(
        "computation", Typed("boolean"), "Whether the rows are those that were set aside.", default=False
    )

    @property
    def name(self) -> str:
        return f"{self.source.name}.holdout" if self.holdout else self.source.name


class SourceFlow(Written):
    """A source through augments, left to right."""

    start: SourceView = declared("computation", Reference(("source",)), "The source that the rows come from.")
    augments: tuple[Augment, ...] = declared(
        "computation", ListOf(Reference(("augment",))), "The augments that the rows pass, in this order."
    )


class Source(Declaration):
    """Records in one of four formats, from `files` or `from` another source, through transforms.

    The rows that `holdout` sets aside are `NAME.holdout`, and pass the same transforms.
    """

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    format: Format | None = declared(
        "computation",
        OneOf(FORMATS),
        "What a record is. Left out with `from`: the format is that of the origin.",
        default=None,
    )
    files: tuple[str, ...] = declared(
        "computation",
        ListOf(Typed("location"), or_one=True, lists_things=True),
        "Where the rows are: files, globs, remote locations.",
        default=(),
    )
    from_: SourceFlow | None = declared(
        "computation",
        FlowOf("source"),
        "Another source, or a flow from one through augments.",
        default=None,
        alias="from",
    )
    fields: dict[str, str] = declared(
        "computation",
        MappingOf(Typed("text")),
        "Columns of other names: the format's field, then the file's column (`text: story`).",
        default={},
    )
    apply: tuple[Transform, ...] = declared(
        "computation", ListOf(BuiltIn(APPLICABLE)), "Transforms that the rows pass, in this order.", default=()
    )
    holdout: Fraction | None = declared(
        "computation",
        Typed("percent", above=0, below=1),
        "The share of the raw rows that is set aside as `NAME.holdout`, by a keyed hash of each row.",
        default=None,
    )


class Part(Written):
    """One part of a mix: what, and how much of it."""

    of: Annotated[SourceView | Mix, SkipValidation] = declared(
        "computation", Reference(("source", "mix")), "The source, its held-out side, or another mix."
    )
    amount: Amount | None = declared(
        "computation",
        Typed("amount", units=PART_UNITS),
        "How much of the whole it is. Left out where `shares` says how.",
        default=None,
    )

    @property
    def name(self) -> str:
        return self.of.name


class Phase(Written):
    """A stretch of a mix with its own parts; phases follow one another."""

    for_: Amount = declared(
        "computation",
        Typed("amount", units=BUDGET_UNITS),
        "How long it is: a percent of the mix, or a quantity.",
        alias="for",
    )
    parts: tuple[Part, ...] = declared(
        "computation",
        MappingOf(Typed("amount", units=PART_UNITS), keys=("source", "mix"), entry=Part),
        "Names of sources and mixes with their amounts.",
    )


class Proportional(Written):
    """Shares by size: in proportion to each part's size to the power 1/temperature."""

    temperature: Fraction = declared(
        "computation",
        Typed("number", above=0),
        "1 shares by size; the larger, the more even the shares.",
        default=Fraction(1),
    )


class Mix(Declaration):
    """Sources and other mixes, with how much there is of each.

    Fixed amounts come first, then percents of the whole, then ratios of what is left. Without a `budget`, the parts are
    shares of whatever a stage asks for.
    """

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    budget: Quantity | None = declared(
        "computation",
        Measured(BUDGET_UNITS),
        "How much the mix holds; met to one example a part.",
        default=None,
    )
    max_epochs: Fraction | None = declared(
        "computation",
        Typed("number", above=0),
        "How often a stage may train on a row, whatever repeats it. Left out: the stage's `for` in epochs, else 1.",
        default=None,
    )
    underfill: Literal["error", "allow"] = declared(
        "computation",
        OneOf(("error", "allow")),
        "What happens where a part has too few rows: `allow` takes what there is.",
        default="error",
    )
    parts: tuple[Part, ...] = declared(
        "computation",
        AnyOf(
            (
                MappingOf(Typed("amount", units=PART_UNITS), keys=("source", "mix"), entry=Part),
                ListOf(Reference(("source", "mix")), entry=Part, lists_things=True),
            )
        ),
        "Names with amounts, or a plain list of names where `shares` says how.",
        default=(),
    )
    shares: Proportional | None = declared(
        "computation",
        BuiltIn({"proportional": Proportional}),
        "How a plain list of parts is shared, instead of amounts.",
        default=None,
    )
    phases: tuple[Phase, ...] = declared(
        "computation",
        ListOf(Record(Phase)),
        "Stretches one after another, each with its parts; instead of `parts`.",
        default=(),
    )
