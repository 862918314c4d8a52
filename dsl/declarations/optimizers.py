"""Built-ins of a stage's optimizer: how gradients become updates, schedules, groups of parameters."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, TypeAlias

from dsl.declarations.base import Written, declared
from dsl.declarations.shapes import AnyOf, Measured, OneOf, Record, Typed
from dsl.values import Quantity


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


class Adafactor(Written):
    """Adam with a factored second moment and no first one (Shazeer and Stern 2018): little state."""

    lr: Fraction = declared("computation", Typed("number", above=0, high=1000), "The peak learning rate.")
    decay: Fraction = declared(
        "computation",
        Typed("number", high=1, above=0),
        "The exponent of the second moment's decay: after n updates it is 1 less n to the minus `decay`.",
        default=Fraction("0.8"),
    )
    clip: Fraction = declared(
        "computation",
        Typed("number", above=0),
        "The root mean square that an update of one array is clipped to, before the learning rate.",
        default=Fraction(1),
    )
    weight_decay: Fraction = declared(
        "computation", Typed("number", 0), "The weight decay, of matrices only.", default=Fraction(0)
    )


class Muon(Written):
    """Momentum whose matrices are made orthogonal (Jordan et al. 2024); Adam for everything that is no matrix within a
    layer."""

    lr: Fraction = declared(
        "computation", Typed("number", above=0, high=1000), "The peak learning rate of the layers' matrices."
    )
    momentum: Fraction = declared(
        "computation", Typed("number", 0, below=1), "The decay of the momentum.", default=Fraction("0.95")
    )
    weight_decay: Fraction = declared(
        "computation", Typed("number", 0), "The weight decay, of matrices only.", default=Fraction(0)
    )
    other_lr: Fraction | None = declared(
        "computation",
        Typed("number", above=0, high=1000),
        "The peak learning rate of embeddings, norms and biases. Left out: `lr`.",
        default=None,
    )


class SGD(Written):
    """Stochastic gradient descent, with momentum where it is asked for."""

    lr: Fraction = declared("computation", Typed("number", above=0, high=1000), "The peak learning rate.")
    momentum: Fraction = declared(
        "computation", Typed("number", 0, below=1), "The decay of the momentum; 0 is none.", default=Fraction(0)
    )
    nesterov: bool = declared(
        "computation", Typed("boolean"), "Whether the momentum looks ahead (Nesterov 1983).", default=False
    )
    weight_decay: Fraction = declared(
        "computation", Typed("number", 0), "The weight decay, of matrices only.", default=Fraction(0)
    )


WARMUP = AnyOf((Typed("percent", 0, 1), Measured(("steps", "tokens"))))


def _warmup() -> Any:
    return declared("computation", WARMUP, "How long the learning rate rises.", default=Fraction(0))


def _final() -> Any:
    return declared(
        "computation",
        Typed("percent", 0, 1),
        "The learning rate at the end, as a share of the peak.",
        default=Fraction(0),
    )


class Cosine(Written):
    """Linear warm-up, then half a cosine down to `final`."""

    warmup: Fraction | Quantity = _warmup()
    final: Fraction = _final()


class Linear(Written):
    """Linear warm-up, then linearly down to `final`."""

    warmup: Fraction | Quantity = _warmup()
    final: Fraction = _final()


class Constant(Written):
    """Linear warm-up, then the peak to the end."""

    warmup: Fraction | Quantity = _warmup()


class WSD(Written):
    """Linear warm-up, then the peak, then linearly down to `final` at the end (Hu et al. 2024)."""

    warmup: Fraction | Quantity = _warmup()
    decay: Fraction | Quantity = declared("computation", WARMUP, "How long the learning rate falls, at the end.")
    final: Fraction = _final()


OptimizerBuiltIn: TypeAlias = AdamW | Adafactor | Muon | SGD
ScheduleBuiltIn: TypeAlias = Cosine | Linear | Constant | WSD

OPTIMIZERS: dict[str, type[Written]] = {"adamw": AdamW, "adafactor": Adafactor, "muon": Muon, "sgd": SGD}
SCHEDULES: dict[str, type[Written]] = {"cosine": Cosine, "linear": Linear, "constant": Constant, "wsd": WSD}


class GroupSettings(Written):
    """What a group of parameters has otherwise than the rest."""

    lr: Fraction | None = declared(
        "computation",
        Typed("percent", above=0, high=100),
        "The share of the stage's learning rate that it has: `10%`. Left out: all of it.",
        default=None,
    )
    weight_decay: Fraction | None = declared(
        "computation", Typed("number", 0), "Its weight decay. Left out: that of the optimizer.", default=None
    )


TREATMENT = AnyOf((OneOf(("frozen",)), Record(GroupSettings)))


class ParameterGroup(Written):
    """Parameters by their paths, and what becomes of them."""

    paths: str = declared(
        "computation",
        Typed("text"),
        "A pattern of paths: `embedding`, `layers.attention.query.weight`, `layers.*.scale`; `*` is any text.",
    )
    settings: GroupSettings | Literal["frozen"] = declared(
        "computation",
        TREATMENT,
        "`{lr: 10%, weight_decay: 0}`, or `frozen`: they aren't trained.",
    )
