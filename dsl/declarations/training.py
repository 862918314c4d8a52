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

    beta: Fraction = declared(
        "computation",
        Typed("number", above=0),
        "How strongly the model is held to the stage's input: larger is closer.",
        default=Fraction(1, 10),
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
        "How far the ratio of probabilities may leave 1 before it is clipped.",
        default=Fraction(1, 5),
    )
    advantage: str = declared(
        "computation",
        OneOf(("grpo", "dr_grpo")),
        "How rewards become advantages: less the group's mean, and with `grpo` divided by its deviation.",
        default="dr_grpo",
    )


class AdamW(Written):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    lr: Fraction = declared("computation", Typed("number", above=0, high=1000), "The peak learning rate.")
    b1: Fraction = declared(
        "computation", Typed("number", 0, below=1), "The decay of the first moment.", default=Fraction("0.9")
    )
    b2: Fraction = declared(
        "computation", Typed("number", 0, below=1), "The decay of the second moment.", default=Fraction("0.999")
    )
    eps: Fraction = declared(
        "computation",
        Typed("number", above=0),
        "Added to the root of the second moment, against division by zero.",
        default=Fraction("1e-8"),
    )
    weight_decay: Fraction = declared(
        "computation", Typed("number", 0), "The weight decay, of matrices only.", default=Fraction(0)
    )


WARMUP = AnyOf((Typed("percent", 0, 1), Measured(("steps", "tokens"))))


class Cosine(Written):
    """Linear warm-up, then half a cosine down to `final`."""

    warmup: Fraction | Quantity = declared(
        "computation", WARMUP, "How long the learning rate rises.", default=Fraction(0)
    )
    final: Fraction = declared(
        "computation",
        Typed("percent", 0, 1),
        "The learning rate at the end, as a share of the peak.",
        default=Fraction(0),
    )


class Linear(Written):
    """Linear warm-up, then linearly down to `final`."""

    warmup: Fraction | Quantity = declared(
        "computation", WARMUP, "How long the learning rate rises.", default=Fraction(0)
    )
    final: Fraction = declared(
        "computation",
        Typed("percent", 0, 1),
        "The learning rate at the end, as a share of the peak.",
        default=Fraction(0),
    )


class Constant(Written):
    """Linear warm-up, then the peak to the end."""

    warmup: Fraction | Quantity = declared(
        "computation", WARMUP, "How long the learning rate rises.", default=Fraction(0)
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
    on: tuple[str, ...] = declared(
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
OPTIMIZERS: dict[str, type[Written]] = {"adamw": AdamW}
SCHEDULES: dict[str, type[Written]] = {"cosine": Cosine, "linear": Linear, "constant": Constant}

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
    optimizer: AdamW = declared(
        "computation", BuiltIn(OPTIMIZERS), "How gradients become updates, and the learning rate."
    )
    schedule: Cosine | Linear | Constant = declared(
        "computation",
        BuiltIn(SCHEDULES),
        "How the learning rate goes over the stage.",
        default=Constant.model_construct(),
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
    checkpoint: tuple[Point, ...] = declared(
        "retention", Moments(), "The points at which weights are kept; those at the end always are.", default=()
    )


class Local(Written):
    """Started here, in this process."""


class Slurm(Written):
    """Submitted to Slurm with `sbatch`."""

    partition: str | None = declared("execution", OneOf(), "The partition that jobs are queued in.", default=None)
    nodes: int = declared("execution", Typed("count", 1), "How many machines a job has.", default=1)
    account: str | None = declared("execution", OneOf(), "The account that is charged.", default=None)
    qos: str | None = declared("execution", OneOf(), "The quality of service that is asked for.", default=None)
    time: Quantity | None = declared(
        "execution", Measured(("minutes",)), "How long a job may run at most.", default=None
    )


class SkyPilot(Written):
    """Started on a cloud by SkyPilot."""

    accelerators: str = declared(
        "execution", Typed("text"), "The accelerators that are asked for: `tpu-v5litepod-256`, `H100:8`."
    )
    nodes: int = declared("execution", Typed("count", 1), "How many machines a job has.", default=1)
    spot: bool = declared(
        "execution",
        Typed("boolean"),
        "Whether to take spot machines: cheaper, and they may be taken away.",
        default=False,
    )
    cloud: str | None = declared("execution", OneOf(), "The cloud. Left out: the cheapest.", default=None)
    region: str | None = declared("execution", OneOf(), "The region. Left out: the cheapest.", default=None)


class JobSet(Written):
    """Started on Kubernetes as a JobSet."""

    image: str = declared("execution", Typed("text"), "A container image that has mixc.")
    nodes: int = declared("execution", Typed("count", 1), "How many pods a job has.", default=1)
    namespace: str | None = declared("execution", OneOf(), "The Kubernetes namespace.", default=None)
    queue: str | None = declared("execution", OneOf(), "The local queue of Kueue.", default=None)


LAUNCHERS: dict[str, type[Written]] = {"local": Local, "slurm": Slurm, "skypilot": SkyPilot, "jobset": JobSet}


class Target(Declaration):
    """Where a study runs: what changes the speed, and results to rounding only."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    platform: Literal["cpu", "gpu", "tpu"] = declared("execution", OneOf(("cpu", "gpu", "tpu")), "The kind of device.")
    topology: str | None = declared(
        "execution", Typed("text"), "The devices and how many, or their grid: `h100:8`, `v5e:16x16`.", default=None
    )
    devices: int | None = declared(
        "execution", Typed("count", 1), "How many devices there are, where no topology says it.", default=None
    )
    memory: Quantity | None = declared("execution", Measured(("bytes",)), "The memory of one device.", default=None)
    shard: dict[str, int] = declared(
        "execution",
        MappingOf(Typed("count", 1)),
        "The mesh: its axes (`data`, `fsdp`, `tensor`) and their sizes, which multiply to the devices.",
        default={},
    )
    launcher: Local | Slurm | SkyPilot | JobSet | None = declared(
        "execution", BuiltIn(LAUNCHERS), "How a run is started. Left out: here.", default=None
    )
    micro_batch: Quantity | None = declared(
        "execution",
        Measured(("examples", "tokens")),
        "How much of a batch is computed at once. Left out: what fits.",
        default=None,
    )
