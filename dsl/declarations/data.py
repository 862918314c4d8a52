"""Declarations of data: sources, chains of transforms, mixes."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
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
from dsl.values import Amount, Quantity

Format = Literal["documents", "chat", "preference", "prompts"]
FORMATS: tuple[Format, ...] = ("documents", "chat", "preference", "prompts")

DOC = "What a reader should know of it; changing it reruns nothing."


class Augment(Declaration):
    """A named chain of transforms, used in a flow."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    apply: tuple[Transform, ...] = declared("computation", ListOf(BuiltIn(TRANSFORMS)), "Transforms, in order.")


class SourceView(Written):
    """A source as something uses it: its rows, or those that `holdout` set aside."""

    source: Annotated[Source, SkipValidation] = declared("computation", Reference(("source",)), "The source.")
    holdout: bool = declared("computation", Typed("boolean"), "The side set aside.", default=False)

    @property
    def name(self) -> str:
        return f"{self.source.name}.holdout" if self.holdout else self.source.name


class SourceFlow(Written):
    """A source through augments, left to right."""

    start: SourceView = declared("computation", Reference(("source",)), "Where the rows come from.")
    augments: tuple[Augment, ...] = declared("computation", ListOf(Reference(("augment",))), "Applied in order.")


class Source(Declaration):
    """Records in one of four formats, from files or from another source, through transforms."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    format: Format | None = declared(
        "computation", OneOf(FORMATS), "What a record is; a source with `from` has its origin's.", default=None
    )
    files: tuple[str, ...] = declared(
        "computation", ListOf(Typed("location"), or_one=True), "Files, globs, remote locations.", default=()
    )
    from_: SourceFlow | None = declared(
        "computation", FlowOf("source"), "Another source, or a flow from one.", default=None, alias="from"
    )
    fields: dict[str, str] = declared(
        "computation", MappingOf(Typed("text")), "The format's field: the file's column.", default={}
    )
    apply: tuple[Transform, ...] = declared(
        "computation", ListOf(BuiltIn(TRANSFORMS)), "Transforms, in order.", default=()
    )
    holdout: Fraction | None = declared(
        "computation", Typed("percent", 0, 1), "Share of the raw rows set aside as NAME.holdout.", default=None
    )


class Part(Written):
    """One part of a mix: what, and how much of it."""

    of: Annotated[SourceView | Mix, SkipValidation] = declared(
        "computation", Reference(("source", "mix")), "A source or another mix."
    )
    amount: Amount | None = declared(
        "computation", Typed("amount"), "How much of the whole; none where `shares` says how.", default=None
    )

    @property
    def name(self) -> str:
        return self.of.name


class Phase(Written):
    """A stretch of a mix with its own parts."""

    for_: Amount = declared("computation", Typed("amount"), "How long: a percent or a quantity.", alias="for")
    parts: tuple[Part, ...] = declared(
        "computation", MappingOf(Typed("amount"), keys=("source", "mix"), entry=Part), "Names with amounts."
    )


class Proportional(Written):
    """Shares by size: each part's size to the power 1/temperature."""

    temperature: Fraction = declared(
        "computation", Typed("number", 0), "1 is by size, larger is more even.", default=Fraction(1)
    )


class Mix(Declaration):
    """Named parts with amounts."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    budget: Quantity | None = declared(
        "computation",
        Measured(("tokens", "trained tokens", "examples")),
        "Met exactly, to one example a part.",
        default=None,
    )
    max_epochs: Fraction | None = declared(
        "computation", Typed("number", 0), "How often a row may be trained on in a stage.", default=None
    )
    underfill: Literal["error", "allow"] = declared(
        "computation", OneOf(("error", "allow")), "What happens where a part has too little.", default="error"
    )
    parts: tuple[Part, ...] = declared(
        "computation",
        AnyOf(
            (
                MappingOf(Typed("amount"), keys=("source", "mix"), entry=Part),
                ListOf(Reference(("source", "mix")), entry=Part),
            )
        ),
        "Names with amounts, or a plain list where `shares` says how.",
        default=(),
    )
    shares: Proportional | None = declared(
        "computation", BuiltIn({"proportional": Proportional}), "How a plain list of parts is shared.", default=None
    )
    phases: tuple[Phase, ...] = declared("computation", ListOf(Record(Phase)), "Instead of `parts`.", default=())
