"""Declarations of models: pretrained weights, served models, models from a flow or from scratch."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC
from dsl.declarations.shapes import AnyOf, FlowOf, ListOf, MappingOf, Measured, OneOf, Record, Reference, Typed
from dsl.values import Quantity

if TYPE_CHECKING:
    from dsl.declarations.training import Train


SHAPES = (
    "llama2_7b", "llama2_13b", "llama2_70b",
    "llama3_8b", "llama3_70b",
    "llama3_1_8b", "llama3_1_70b", "llama3_1_405b",
    "llama3_2_1b", "llama3_2_3b",
    "llama3_3_70b",
    "mistral_7b", "mistral_7b_v0_3",
    "qwen2_5_0_5b", "qwen2_5_1_5b", "qwen2_5_3b", "qwen2_5_7b", "qwen2_5_14b", "qwen2_5_32b", "qwen2_5_72b",
    "qwen3_0_6b", "qwen3_1_7b", "qwen3_4b", "qwen3_8b", "qwen3_14b", "qwen3_32b",
    "smollm2_135m", "smollm2_360m", "smollm2_1_7b",
    "gemma2_2b", "gemma2_9b", "gemma2_27b",
    "gemma3_1b", "gemma3_4b", "gemma3_12b", "gemma3_27b",
    "olmo2_1b", "olmo2_7b", "olmo2_13b", "olmo2_32b",
)  # fmt: skip
"""Published shapes of dense decoders, by the family and the size that they are published under."""

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "olmo3")


class Architecture(Written):
    """The shape of a decoder: sizes, and the family that says what is computed."""

    family: Literal["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "olmo3"] = declared(
        "computation",
        OneOf(FAMILIES),
        "Whose layers they are: where norms and biases are, which layers are windowed.",
        default="llama",
    )
    vocabulary: int = declared(
        "computation", Typed("count", 1), "How many tokens it knows; at least those of its tokenizer."
    )
    layers: int = declared("computation", Typed("count", 1), "How many layers it has.")
    hidden: int = declared("computation", Typed("count", 1), "The width of what layers hand on.")
    intermediate: int = declared("computation", Typed("count", 1), "The inner width of the feed-forward.")
    heads: int = declared("computation", Typed("count", 1), "How many heads attention has.")
    key_value_heads: int | None = declared(
        "computation",
        Typed("count", 1),
        "How many heads keys and values have, each for several queries. Left out: as many as `heads`.",
        default=None,
    )
    head_size: int | None = declared(
        "computation", Typed("count", 2), "The width of a head. Left out: `hidden` over `heads`.", default=None
    )
    rope_theta: Fraction = declared(
        "computation", Typed("number", above=0), "The base of the rotary positions.", default=Fraction(10_000)
    )
    norm_epsilon: Fraction = declared(
        "computation",
        Typed("number", above=0),
        "Added to the mean square that norms divide by.",
        default=Fraction("1e-5"),
    )
    tied_embeddings: bool = declared(
        "computation", Typed("boolean"), "Whether the output matrix is that of the embeddings.", default=False
    )
    window: int | None = declared(
        "computation",
        Typed("count", 1),
        "How many tokens a token of the family's windowed layers sees. Left out: all before it.",
        default=None,
    )
    context: int = declared(
        "computation", Typed("count", 2), "The longest sequence that it is made for, in tokens.", default=8192
    )


class ModelFlow(Written):
    """A model through training stages, left to right."""

    start: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that is trained."
    )
    stages: Annotated[tuple[Train, ...], SkipValidation] = declared(
        "computation", ListOf(Reference(("train",))), "The stages that it passes, in this order."
    )


class Price(Written):
    """What a million tokens cost."""

    input: Quantity = declared("execution", Measured(("dollars",)), "The price of a million tokens that it reads.")
    output: Quantity = declared("execution", Measured(("dollars",)), "The price of a million tokens that it writes.")


class Model(Declaration):
    """Weights at a location, a flow from another model, a served model, or a shape to start from scratch.

    Exactly one of `from`, `architecture` and `api`. One from a flow is trained once for each seed of a study.
    """

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    from_: Annotated[str | ModelFlow | None, SkipValidation] = declared(
        "computation",
        FlowOf("model", or_location=True),
        "Where the weights are, or a flow: `base |> midtrain(data=character)`.",
        default=None,
        alias="from",
    )
    architecture: str | Architecture | None = declared(
        "computation",
        AnyOf((OneOf(SHAPES), Record(Architecture))),
        "Starts from random weights: the name of a published shape, or its fields. It needs a `tokenizer`.",
        default=None,
    )
    api: str | None = declared("computation", Typed("text"), "A served model, as PROVIDER/NAME.", default=None)
    temperature: Fraction | None = declared(
        "computation", Typed("number", 0), "The sampling temperature of a served model; 0 is greedy.", default=None
    )
    top_p: Fraction | None = declared(
        "computation",
        Typed("number", high=1, above=0),
        "Nucleus sampling of a served model: the share of probability that is kept.",
        default=None,
    )
    max_tokens: int | None = declared(
        "computation", Typed("count", 1), "The most tokens that an answer of a served model may have.", default=None
    )
    spend: Quantity | None = declared(
        "execution", Measured(("dollars",)), "A ceiling on what calls of a served model may cost.", default=None
    )
    price: Price | None = declared(
        "execution",
        Record(Price),
        "What a million tokens of a served model cost, where mixc doesn't know it: for `spend` and the plan.",
        default=None,
    )
    tokenizer: str | None = declared(
        "computation",
        Typed("location"),
        "Another tokenizer than the weights' own: its folder, or a model that has it.",
        default=None,
    )
    template: str | None = declared(
        "computation", Typed("location"), "Another chat template than the weights' own: a Jinja file.", default=None
    )
    template_args: dict[str, str] = declared(
        "computation",
        MappingOf(Typed("text")),
        "Values given to the chat template, such as `enable_thinking: false`.",
        default={},
    )
    seed: int | None = declared(
        "computation",
        Typed("count", 0),
        "Trains a model from a flow once, with this seed, instead of once for each seed of a study. Of one from "
        "scratch, the seed of its weights.",
        default=None,
    )
