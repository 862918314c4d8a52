"""Declarations of training: stages, and what a stage is made of."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC, Mix, SourceView
from dsl.declarations.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    TREATMENT,
    Constant,
    OptimizerBuiltIn,
    ParameterGroup,
    ScheduleBuiltIn,
)
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    ListOf,
    MappingOf,
    Measured,
    Moments,
    OneKey,
    OneOf,
    Reference,
    Typed,
)
from dsl.values import Point, Quantity, Range

if TYPE_CHECKING:
    from dsl.declarations.models import Model

LOSSES = ("all", "assistant", "last_assistant", "completion")


class Supervised(Written):
    """Next-token prediction on the tokens that `loss` names."""


class DPO(Written):
    """Direct preference optimisation (Rafailov et al. 2023), by default against the stage's input."""

    beta: Fraction = declared(
        "computation",
        Typed("number", above=0),
        "How strongly the model is held to the stage's input: larger is closer.",
        default=Fraction(1, 10),
    )
    loss: Literal["sigmoid", "ipo"] = declared(
        "computation",
        OneOf(("sigmoid", "ipo")),
        "What a margin costs: `sigmoid` is that of DPO, `ipo` the square of identity preference optimisation (Azar et "
        "al. 2023).",
        default="sigmoid",
    )
    reference: bool = declared(
        "computation",
        Typed("boolean"),
        "Whether margins are measured from those of the stage's input; `false` measures them from 0.",
        default=True,
    )


class GRPO(Written):
    """Group-relative policy optimisation (Shao et al. 2024)."""

    group: int = declared("computation", Typed("count", 2), "How many answers are sampled for each prompt.", default=8)
    beta: Fraction = declared(
        "computation",
        Typed("number", 0),
        "The weight of the KL term that holds the model to the stage's input.",
        default=Fraction(0),
    )
    epsilon: Fraction = declared(
        "computation",
        Typed("number", 0, 1),
        "How far the ratio of probabilities may fall below 1 before it is clipped, and rise above without "
        "`epsilon_high`.",
        default=Fraction(1, 5),
    )
    epsilon_high: Fraction | None = declared(
        "computation",
        Typed("number", 0),
        "How far the ratio may rise above 1 (Yu et al. 2025). Left out: `epsilon`.",
        default=None,
    )
    advantage: Literal["grpo", "dr_grpo"] = declared(
        "computation",
        OneOf(("grpo", "dr_grpo")),
        "How rewards become advantages: less the group's mean, and with `grpo` divided by its deviation.",
        default="dr_grpo",
    )
    iterations: int = declared(
        "computation",
        Typed("count", 1),
        "How many updates are made on each batch of answers, before the next is sampled. All of them are one step.",
        default=1,
    )
    truncated: Literal["train", "mask"] = declared(
        "computation",
        OneOf(("train", "mask")),
        "What becomes of answers that `max_tokens` cuts off: they are trained on like others, or have no loss.",
        default="train",
    )


class LoRA(Written):
    """Low-rank adapters (Hu et al. 2021) are trained instead of all weights."""

    rank: int = declared("computation", Typed("count", 1), "The inner dimension of an adapter.")
    alpha: Fraction = declared(
        "computation", Typed("number", above=0), "The adapter's output is scaled by alpha over rank."
    )
    dropout: Fraction = declared(
        "computation", Typed("number", 0, below=1), "The dropout on the adapter's input.", default=Fraction(0)
    )
    on: tuple[Literal["attention", "mlp"], ...] = declared(
        "computation", ListOf(OneOf(("attention", "mlp")), lists_things=True), "Which matrices have adapters."
    )


class Sampling(Written):
    """How the answers are drawn that are then rewarded."""

    temperature: Fraction = declared(
        "computation",
        Typed("number", above=0),
        "The sampling temperature; never 0, which would give every answer of a group the same words.",
        default=Fraction(1),
    )
    top_p: Fraction = declared(
        "computation",
        Typed("number", high=1, above=0),
        "Nucleus sampling: the share of probability that is kept.",
        default=Fraction(1),
    )
    max_tokens: int = declared("computation", Typed("count", 1), "The most tokens that an answer may have.")


OBJECTIVES: dict[str, type[Written]] = {"supervised": Supervised, "dpo": DPO, "grpo": GRPO}

LENGTHS = ("tokens", "trained tokens", "steps", "epochs", "examples", "prompts", "completions")


class WeightedReward(Written):
    """One term of a weighted sum of rewards."""

    reward: Annotated[Reward, SkipValidation] = declared(
        "computation", Reference(("reward",)), "The reward that is added."
    )
    weight: Fraction = declared("computation", Typed("number"), "What it is multiplied by.")


class Reward(Declaration):
    """What a sampled answer is worth: the score of a judge, a check, or a weighted sum of rewards."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    judge: Annotated[Model | None, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that scores; it needs `prompt` and `scale`.", default=None
    )
    prompt: str | None = declared(
        "computation", Typed("location"), "The file with what the judge is asked.", default=None
    )
    scale: Range | None = declared("computation", Typed("range"), "The lowest and highest score.", default=None)
    verify: str | None = declared(
        "computation", Typed("text"), "An RE2 pattern that answers match, or a plug-in's name.", default=None
    )
    sum: tuple[WeightedReward, ...] = declared(
        "computation",
        MappingOf(Typed("number"), keys=("reward",), entry=WeightedReward),
        "Other rewards, each with its weight.",
        default=(),
    )


class Train(Declaration):
    """One stage of training: what is optimised, in which batches, how long.

    A stage is used in a flow, where a call gives it its data: `base |> finetune(data=advice)`.
    """

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    objective: Supervised | DPO | GRPO = declared(
        "computation", BuiltIn(OBJECTIVES), "What is optimised: next tokens, preferences or rewards."
    )
    loss: Literal["all", "assistant", "last_assistant", "completion"] | None = declared(
        "computation",
        OneOf(LOSSES),
        "Which tokens are trained. Left out: all of documents, the assistant's of chats.",
        default=None,
    )
    reasoning: Literal["train", "mask"] = declared(
        "computation",
        OneOf(("train", "mask")),
        "Whether the reasoning in answers is trained or masked.",
        default="train",
    )
    data: Annotated[Mix | SourceView | None, SkipValidation] = declared(
        "computation",
        Reference(("mix", "source")),
        "The mix or source that is trained on; most often given where the stage is used.",
        default=None,
    )
    reward: Annotated[Reward | None, SkipValidation] = declared(
        "computation", Reference(("reward",)), "What sampled answers are scored with; for `grpo`.", default=None
    )
    rollout: Sampling | None = declared(
        "computation", BuiltIn({"sampling": Sampling}), "How answers are sampled; for `grpo`.", default=None
    )
    sequence: Quantity = declared(
        "computation", Measured(("tokens",)), "The longest row. Documents may be longer, see `overlong`; chats may not."
    )
    overlong: Literal["split", "cut"] = declared(
        "computation",
        OneOf(("split", "cut")),
        "What happens to documents longer than a row: split there, every token once, or cut, and the rest counted.",
        default="split",
    )
    packing: Literal["none", "first_fit", "best_fit"] = declared(
        "computation",
        OneOf(("none", "first_fit", "best_fit")),
        "How examples share a row: each its own, or as many as fit, in the first row with room or in the fullest.",
        default="none",
    )
    batch: Quantity = declared(
        "computation", Measured(("tokens", "examples", "prompts")), "What one update reads, over all devices together."
    )
    for_: Quantity | None = declared(
        "computation",
        Measured(LENGTHS),
        "How long the stage is. Left out: the budget of its mix, else one pass over its data.",
        default=None,
        alias="for",
    )
    until: Quantity | Fraction | None = declared(
        "computation",
        AnyOf((Typed("percent", 0, 1), Measured(LENGTHS))),
        "Stops at an earlier point of the same run, which arms can share; the schedule stays that of the whole.",
        default=None,
    )
    max_epochs: Fraction | None = declared(
        "computation",
        Typed("number", above=0),
        "How often a row may be trained on in this stage, as in a mix.",
        default=None,
    )
    optimizer: OptimizerBuiltIn = declared(
        "computation", BuiltIn(OPTIMIZERS), "How gradients become updates, and the learning rate."
    )
    schedule: ScheduleBuiltIn = declared(
        "computation",
        BuiltIn(SCHEDULES),
        "How the learning rate goes over the stage.",
        default=Constant.model_construct(),
    )
    groups: tuple[ParameterGroup, ...] = declared(
        "computation",
        ListOf(OneKey(TREATMENT, ParameterGroup), lists_things=True),
        "Parameters with a learning rate or weight decay of their own, or frozen; the first that matches counts.",
        default=(),
    )
    max_grad_norm: Fraction | None = declared(
        "computation",
        Typed("number", above=0),
        "The norm that the gradient of all weights is clipped to. Left out: not clipped.",
        default=None,
    )
    precision: Literal["bfloat16", "float32"] = declared(
        "computation",
        OneOf(("bfloat16", "float32")),
        "The precision of activations and matrix products; everything else is float32.",
        default="bfloat16",
    )
    adapter: LoRA | None = declared(
        "computation", BuiltIn({"lora": LoRA}), "Trains adapters instead of all weights.", default=None
    )
    on_spike: Literal["warn", "stop"] = declared(
        "execution",
        OneOf(("warn", "stop")),
        "What happens when loss or gradient norm jump far above what they were: the batch's rows are told, and the run "
        "goes on or stops there. It always stops where either is no number.",
        default="warn",
    )
    checkpoint: tuple[Point, ...] = declared(
        "retention", Moments(), "The points at which weights are kept; those at the end always are.", default=()
    )
