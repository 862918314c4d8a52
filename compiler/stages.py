"""What a train step optimises and how, as values that travel as JSON. Numbers are exact, as decimals or fractions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from compiler.operations import Asked
from compiler.values import REMARK, Frozen, Measure


class Schedule(Frozen):
    kind: Literal["cosine", "linear", "constant", "wsd"]
    warmup: str | Measure
    """A fraction of the updates, or a quantity."""
    final: str
    """The learning rate at the end, as a share of the peak."""
    decay: str | Measure = "0"
    """How long the rate falls at the end, of `wsd`: like `warmup`."""


class AdamW(Frozen):
    kind: Literal["adamw"] = "adamw"
    lr: str
    b1: str
    b2: str
    eps: str
    weight_decay: str


class Adafactor(Frozen):
    kind: Literal["adafactor"] = "adafactor"
    lr: str
    decay: str
    """The exponent of the second moment's decay."""
    clip: str
    """The root mean square that an update of one array is clipped to."""
    weight_decay: str


class Muon(Frozen):
    kind: Literal["muon"] = "muon"
    lr: str
    """Of the matrices within layers."""
    momentum: str
    weight_decay: str
    other_lr: str
    """Of everything else, which Adam updates: embeddings, norms, biases."""


class SGD(Frozen):
    kind: Literal["sgd"] = "sgd"
    lr: str
    momentum: str
    nesterov: bool
    weight_decay: str


Optimizer: TypeAlias = Annotated[AdamW | Adafactor | Muon | SGD, Field(discriminator="kind")]


class Group(Frozen):
    """Parameters that are treated in their own way: those whose dotted path matches (`layers.attention.*`)."""

    paths: str
    """A pattern in which `*` stands for any characters; the first group that matches a parameter is its own."""
    lr: str | None
    """The share of the stage's learning rate; None for all of it. Zero: frozen, without optimizer state."""
    weight_decay: str | None
    place: str = Field(default="", json_schema_extra=REMARK)


class Supervised(Frozen):
    kind: Literal["supervised"] = "supervised"


class DPO(Frozen):
    kind: Literal["dpo"] = "dpo"
    beta: str
    loss: Literal["sigmoid", "ipo"]
    reference: bool
    """Whether the model is held to the stage's input."""


class GRPO(Frozen):
    kind: Literal["grpo"] = "grpo"
    group: int
    beta: str
    epsilon_low: str
    epsilon_high: str
    advantage: Literal["grpo", "dr_grpo"]
    iterations: int
    """Updates of the optimizer on each batch of answers. A step of the stage is a batch, so all of them."""
    truncated: Literal["train", "mask"]
    """What becomes of answers that were cut off at `max_tokens`: they count like others, or have no loss."""


Objective: TypeAlias = Annotated[Supervised | DPO | GRPO, Field(discriminator="kind")]


class Adapter(Frozen):
    """Low-rank adapters that are trained instead of all parameters."""

    rank: int
    alpha: str
    dropout: str
    on: tuple[Literal["attention", "mlp"], ...]


class Rollout(Frozen):
    """How answers are sampled."""

    temperature: str
    top_p: str
    max_tokens: int


class JudgeReward(Frozen):
    """The score that a model gives, between `low` and `high`."""

    kind: Literal["judge"] = "judge"
    name: str = Field(json_schema_extra=REMARK)
    model: Asked
    prompt: str
    """The location of the file with what the judge is asked."""
    low: str
    high: str


class PatternReward(Frozen):
    """One for an answer that the RE2 pattern is found in, else zero."""

    kind: Literal["pattern"] = "pattern"
    name: str = Field(json_schema_extra=REMARK)
    pattern: str


class PlugInReward(Frozen):
    """What an installed plug-in says: the word of its entry point, and its version."""

    kind: Literal["plug_in"] = "plug_in"
    name: str = Field(json_schema_extra=REMARK)
    plug_in: str
    version: str
    """Of its package, and the start of the SHA-256 of its module (see `dsl.declarations.reward_plug_ins`)."""


class SumReward(Frozen):
    """Other rewards, each with its weight."""

    kind: Literal["sum"] = "sum"
    name: str = Field(json_schema_extra=REMARK)
    terms: tuple[tuple[str, Reward], ...]


Reward: TypeAlias = Annotated[JudgeReward | PatternReward | PlugInReward | SumReward, Field(discriminator="kind")]
SumReward.model_rebuild()


def judges_of(reward: Reward) -> Iterator[JudgeReward]:
    """The judges of a reward, or of all that it adds up."""
    match reward:
        case JudgeReward():
            yield reward
        case SumReward(terms=terms):
            for _, term in terms:
                yield from judges_of(term)
        case _:
            return


def asked_by(reward: Reward) -> Iterator[Asked]:
    """The models that a reward asks."""
    return (judge.model for judge in judges_of(reward))


def prompts_of(reward: Reward) -> Iterator[str]:
    """The locations of the files with what its judges are asked."""
    return (judge.prompt for judge in judges_of(reward))
