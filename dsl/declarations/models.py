"""Declarations of models: pretrained weights, served models, models from a flow or from scratch."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC
from dsl.declarations.shapes import AnyOf, FlowOf, ListOf, MappingOf, Measured, OneOf, Reference, Typed
from dsl.values import Quantity

if TYPE_CHECKING:
    from dsl.declarations.training import Train


class ModelFlow(Written):
    """A model through training stages, left to right."""

    start: Annotated[Model, SkipValidation] = declared("computation", Reference(("model",)), "What is trained.")
    stages: Annotated[tuple[Train, ...], SkipValidation] = declared(
        "computation", ListOf(Reference(("train",))), "Applied in order."
    )


class Model(Declaration):
    """Weights at a location, a flow from another model, a served model, or a shape to start from scratch."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    from_: Annotated[str | ModelFlow | None, SkipValidation] = declared(
        "computation", FlowOf("model", or_location=True), "Weights, or a flow.", default=None, alias="from"
    )
    architecture: str | dict[str, str] | None = declared(
        "computation", AnyOf((OneOf(), MappingOf(OneOf()))), "A published shape, or its fields.", default=None
    )
    api: str | None = declared("computation", Typed("text"), "A served model, PROVIDER/NAME.", default=None)
    temperature: Fraction | None = declared("computation", Typed("number", 0), "Of a served model.", default=None)
    top_p: Fraction | None = declared("computation", Typed("number", 0, 1), "Of a served model.", default=None)
    max_tokens: int | None = declared("computation", Typed("count", 1), "Of a served model.", default=None)
    spend: Quantity | None = declared(
        "execution", Measured(("dollars",)), "Ceiling on the price of calls.", default=None
    )
    tokenizer: str | None = declared("computation", Typed("location"), "Where it isn't the weights' own.", default=None)
    template: str | None = declared("computation", Typed("location"), "Where it isn't the weights' own.", default=None)
    template_args: dict[str, str] = declared(
        "computation", MappingOf(Typed("text")), "Given to the chat template.", default={}
    )
    seed: int | None = declared("computation", Typed("count", 0), "Trained once, with this seed.", default=None)
