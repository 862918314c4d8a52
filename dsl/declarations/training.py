"""Declarations of training: stages, and what a stage is made of."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC, Mix, SourceView
from dsl.declarations.shapes import AnyOf, BuiltIn, ListOf, MappingOf, Measured, Moments, OneOf, Reference, Typed
from dsl.values import Point, Quantity, Range

if TYPE_CHECKING:
    from dsl.declarations.models import Model

LOSSES = ("all", "assistant", "last_assistant", "completion")


class Supervised(Written):
    """Next-token prediction on the tokens that `loss` names."""


class DPO(Written):
    """Direct preference optimisation (Rafailov et al. 2023) against the stage's input."""

    beta: Fraction = declared("computation", Typed("number", 0), "Strength of the pull.", default=Fraction(1, 10))


class GRPO(Written):
    """Group-relative policy optimisation (Shao et al. 2024)."""

    group: int = declared("computation", Typed("count", 2), "Rollouts a prompt.", default=8)
    beta: Fraction = declared("computation", Typed("number", 0), "Weight of the KL term.", default=Fraction(0))
    epsilon: Fraction = declared("computation", Typed("number", 0, 1), "Clipping range.", default=Fraction(1, 5))
    advantage: str = declared("computation", OneOf(("grpo", "dr_grpo")), "How rewards are centred.", default="dr_grpo")


class AdamW(Written):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    lr: Fraction = declared("computation", Typed("number", 0), "Peak learning rate.")
    b1: Fraction = declared("computation", Typed("number", 0, 1), "Decay of the first moment.", default=Fraction("0.9"))
    b2: Fraction = declared("computation", Typed("number", 0, 1), "Decay of the second.", default=Fraction("0.999"))
    eps: Fraction = declared("computation", Typed("number", 0), "Added to the root.", default=Fraction("1e-8"))
    weight_decay: Fraction = declared("computation", Typed("number", 0), "Of matrices only.", default=Fraction(0))


WARMUP = AnyOf((Typed("percent", 0, 1), Measured(("steps", "tokens"))))


class Cosine(Written):
    """Linear warm-up, then half a cosine down to `final`."""

    warmup: Fraction | Quantity = declared("computation", WARMUP, "Of the stage's length.", default=Fraction(0))
    final: Fraction = declared("computation", Typed("percent", 0, 1), "Of the peak, at the end.", default=Fraction(0))


class Linear(Written):
    """Linear warm-up, then linearly down to `final`."""

    warmup: Fraction | Quantity = declared("computation", WARMUP, "Of the stage's length.", default=Fraction(0))
    final: Fraction = declared("computation", Typed("percent", 0, 1), "Of the peak, at the end.", default=Fraction(0))


class Constant(Written):
    """Linear warm-up, then the peak."""

    warmup: Fraction | Quantity = declared("computation", WARMUP, "Of the stage's length.", default=Fraction(0))


class LoRA(Written):
    """Low-rank adapters (Hu et al. 2021)."""

    rank: int = declared("computation", Typed("count", 1), "Inner dimension.")
    alpha: Fraction = declared("computation", Typed("number", 0), "Scale is alpha over rank.")
    dropout: Fraction = declared("computation", Typed("number", 0, 1), "On the adapter's input.", default=Fraction(0))
    on: tuple[str, ...] = declared("computation", ListOf(OneOf(("attention", "mlp"))), "Which matrices.")


class Sampling(Written):
    """How rollouts are drawn."""

    temperature: Fraction = declared("computation", Typed("number", 0), "0 is greedy.", default=Fraction(1))
    top_p: Fraction = declared("computation", Typed("number", 0, 1), "Nucleus.", default=Fraction(1))
    max_tokens: int = declared("computation", Typed("count", 1), "Longest rollout.")


OBJECTIVES: dict[str, type[Written]] = {"supervised": Supervised, "dpo": DPO, "grpo": GRPO}
OPTIMIZERS: dict[str, type[Written]] = {"adamw": AdamW}
SCHEDULES: dict[str, type[Written]] = {"cosine": Cosine, "linear": Linear, "constant": Constant}

LENGTHS = ("tokens", "trained tokens", "steps", "epochs", "examples", "prompts", "completions")


class WeightedReward(Written):
    """One term of a weighted sum of rewards."""

    reward: Annotated[Reward, SkipValidation] = declared("computation", Reference(("reward",)), "What is added.")
    weight: Fraction = declared("computation", Typed("number"), "Times this.")


class Reward(Declaration):
    """What a rollout is worth."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    judge: Annotated[Model | None, SkipValidation] = declared(
        "computation", Reference(("model",)), "Who scores.", default=None
    )
    prompt: str | None = declared("computation", Typed("location"), "What the judge is asked.", default=None)
    scale: Range | None = declared("computation", Typed("range"), "Lowest and highest score.", default=None)
    verify: str | None = declared("computation", Typed("text"), "A pattern, or a plug-in.", default=None)
    sum: tuple[WeightedReward, ...] = declared(
        "computation",
        MappingOf(Typed("number"), keys=("reward",), entry=WeightedReward),
        "Rewards with weights.",
        default=(),
    )


class Train(Declaration):
    """One stage of training."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    objective: Supervised | DPO | GRPO = declared("computation", BuiltIn(OBJECTIVES), "What is optimised.")
    loss: Literal["all", "assistant", "last_assistant", "completion"] | None = declared(
        "computation",
        OneOf(LOSSES),
        "Which tokens are trained; else all of documents and the assistant's of chats.",
        default=None,
    )
    reasoning: Literal["train", "mask"] = declared(
        "computation", OneOf(("train", "mask")), "Whether reasoning in answers is trained.", default="train"
    )
    data: Annotated[Mix | SourceView | None, SkipValidation] = declared(
        "computation", Reference(("mix", "source")), "What is trained on.", default=None
    )
    reward: Annotated[Reward | None, SkipValidation] = declared(
        "computation", Reference(("reward",)), "What rollouts are scored with.", default=None
    )
    rollout: Sampling | None = declared(
        "computation", BuiltIn({"sampling": Sampling}), "How rollouts are drawn.", default=None
    )
    sequence: Quantity = declared("computation", Measured(("tokens",)), "Longest row.")
    packing: Literal["none", "best_fit"] = declared(
        "computation", OneOf(("none", "best_fit")), "How examples share a row.", default="none"
    )
    batch: Quantity = declared(
        "computation", Measured(("tokens", "examples", "prompts")), "Global, whatever the device count."
    )
    for_: Quantity | None = declared(
        "computation", Measured(LENGTHS), "How much; else the data's.", default=None, alias="for"
    )
    until: Quantity | Fraction | None = declared(
        "computation",
        AnyOf((Typed("percent", 0, 1), Measured(LENGTHS))),
        "An earlier point of the same run.",
        default=None,
    )
    max_epochs: Fraction | None = declared("computation", Typed("number", 0), "As in a mix.", default=None)
    optimizer: AdamW = declared("computation", BuiltIn(OPTIMIZERS), "The update.")
    schedule: Cosine | Linear | Constant = declared(
        "computation", BuiltIn(SCHEDULES), "The learning rate over the stage.", default=Constant.model_construct()
    )
    max_grad_norm: Fraction | None = declared(
        "computation", Typed("number", 0), "Global norm; none: not clipped.", default=None
    )
    precision: Literal["bfloat16", "float32"] = declared(
        "computation", OneOf(("bfloat16", "float32")), "Of activations and matrix products.", default="bfloat16"
    )
    adapter: LoRA | None = declared("computation", BuiltIn({"lora": LoRA}), "Instead of all weights.", default=None)
    checkpoint: tuple[Point, ...] = declared("retention", Moments(), "Where weights are kept.", default=())


class Local(Written):
    """Started here, in this process."""


class Slurm(Written):
    """Submitted to Slurm with `sbatch`."""

    partition: str | None = declared("execution", OneOf(), "Where jobs are queued.", default=None)
    nodes: int = declared("execution", Typed("count", 1), "Machines a job.", default=1)
    account: str | None = declared("execution", OneOf(), "Who is charged.", default=None)
    qos: str | None = declared("execution", OneOf(), "Quality of service.", default=None)
    time: Quantity | None = declared("execution", Measured(("minutes",)), "Longest a job may run.", default=None)


class SkyPilot(Written):
    """Started on a cloud by SkyPilot."""

    accelerators: str = declared("execution", Typed("text"), "What is asked for: tpu-v5litepod-256, H100:8.")
    nodes: int = declared("execution", Typed("count", 1), "Machines a job.", default=1)
    spot: bool = declared("execution", Typed("boolean"), "Cheaper, and may be taken away.", default=False)
    cloud: str | None = declared("execution", OneOf(), "Which cloud; else the cheapest.", default=None)
    region: str | None = declared("execution", OneOf(), "Which region; else the cheapest.", default=None)


class JobSet(Written):
    """Started on Kubernetes as a JobSet."""

    image: str = declared("execution", Typed("text"), "Container image that has mixc.")
    nodes: int = declared("execution", Typed("count", 1), "Pods a job.", default=1)
    namespace: str | None = declared("execution", OneOf(), "Kubernetes namespace.", default=None)
    queue: str | None = declared("execution", OneOf(), "Kueue's local queue.", default=None)


LAUNCHERS: dict[str, type[Written]] = {"local": Local, "slurm": Slurm, "skypilot": SkyPilot, "jobset": JobSet}


class Target(Declaration):
    """Where a study runs: what changes speed, and the result to rounding only."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    platform: Literal["cpu", "gpu", "tpu"] = declared("execution", OneOf(("cpu", "gpu", "tpu")), "Kind of device.")
    topology: str | None = declared("execution", Typed("text"), "Devices: h100:8, v5e:16x16.", default=None)
    devices: int | None = declared("execution", Typed("count", 1), "How many, where no topology says.", default=None)
    memory: Quantity | None = declared("execution", Measured(("bytes",)), "Of a device.", default=None)
    shard: dict[str, int] = declared(
        "execution", MappingOf(Typed("count", 1)), "Mesh axes (data, fsdp, tensor) and their sizes.", default={}
    )
    launcher: Local | Slurm | SkyPilot | JobSet | None = declared(
        "execution", BuiltIn(LAUNCHERS), "How it is started.", default=None
    )
    micro_batch: Quantity | None = declared(
        "execution", Measured(("examples", "tokens")), "Rows at once; else what fits.", default=None
    )
