"""What a stage optimises and how, as values of steps."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, assert_never

from compiler import stages
from compiler.passes.build import Build, measure_or_fraction
from dsl.declarations import training as declared
from dsl.declarations.optimizers import (
    SGD,
    WSD,
    Adafactor,
    AdamW,
    Constant,
    Cosine,
    GroupSettings,
    Linear,
    Muon,
    OptimizerBuiltIn,
    ParameterGroup,
    ScheduleBuiltIn,
)

ADAPTED: tuple[Literal["attention", "mlp"], ...] = ("attention", "mlp")


def objective(stage: declared.Train) -> stages.Objective:
    match stage.objective:
        case declared.Supervised():
            return stages.Supervised()
        case declared.DPO(beta=beta, loss=loss, reference=reference):
            return stages.DPO(beta=str(beta), loss=loss, reference=reference)
        case declared.GRPO() as grpo:
            high = grpo.epsilon if grpo.epsilon_high is None else grpo.epsilon_high
            return stages.GRPO(
                group=grpo.group,
                beta=str(grpo.beta),
                epsilon_low=str(grpo.epsilon),
                epsilon_high=str(high),
                advantage=grpo.advantage,
                iterations=grpo.iterations,
                truncated=grpo.truncated,
            )
        case _:
            assert_never(stage.objective)


def adapter(stage: declared.Train) -> stages.Adapter | None:
    """The adapter that a stage trains. Its matrices come in one order, so that who lists them otherwise shares it."""
    lora = stage.adapter
    if lora is None:
        return None
    return stages.Adapter(
        rank=lora.rank,
        alpha=str(lora.alpha),
        dropout=str(lora.dropout),
        on=tuple(part for part in ADAPTED if part in lora.on),
    )


def rollout(stage: declared.Train) -> stages.Rollout | None:
    sampling = stage.rollout
    if sampling is None:
        return None
    return stages.Rollout(
        temperature=str(sampling.temperature), top_p=str(sampling.top_p), max_tokens=sampling.max_tokens
    )


def optimizer(optimizer: OptimizerBuiltIn) -> stages.Optimizer:
    match optimizer:
        case AdamW():
            return stages.AdamW(
                lr=str(optimizer.lr),
                b1=str(optimizer.b1),
                b2=str(optimizer.b2),
                eps=str(optimizer.eps),
                weight_decay=str(optimizer.weight_decay),
            )
        case Adafactor():
            return stages.Adafactor(
                lr=str(optimizer.lr),
                decay=str(optimizer.decay),
                clip=str(optimizer.clip),
                weight_decay=str(optimizer.weight_decay),
            )
        case Muon(lr=lr, other_lr=other):
            return stages.Muon(
                lr=str(lr),
                momentum=str(optimizer.momentum),
                weight_decay=str(optimizer.weight_decay),
                other_lr=str(lr if other is None else other),
            )
        case SGD():
            return stages.SGD(
                lr=str(optimizer.lr),
                momentum=str(optimizer.momentum),
                nesterov=optimizer.nesterov,
                weight_decay=str(optimizer.weight_decay),
            )
        case _:
            assert_never(optimizer)


def schedule(schedule: ScheduleBuiltIn) -> stages.Schedule:
    warmup = measure_or_fraction(schedule.warmup)
    match schedule:
        case Cosine(final=final):
            return stages.Schedule(kind="cosine", warmup=warmup, final=str(final))
        case Linear(final=final):
            return stages.Schedule(kind="linear", warmup=warmup, final=str(final))
        case Constant():
            return stages.Schedule(kind="constant", warmup=warmup, final=str(Fraction(1)))
        case WSD(decay=decay, final=final):
            return stages.Schedule(kind="wsd", warmup=warmup, final=str(final), decay=measure_or_fraction(decay))
        case _:
            assert_never(schedule)


def groups(build: Build, stage: declared.Train) -> tuple[stages.Group, ...]:
    """The groups of a stage's parameters, in their order: the first that matches a parameter counts."""
    return tuple(
        _group(group, build.place(stage, place if (place := f"groups[{index}]") in stage.places else "groups"))
        for index, group in enumerate(stage.groups)
    )


def _group(group: ParameterGroup, place: str) -> stages.Group:
    match group.settings:
        case GroupSettings(lr=lr, weight_decay=decay):
            return stages.Group(
                paths=group.paths,
                lr=None if lr is None else str(lr),
                weight_decay=None if decay is None else str(decay),
                place=place,
            )
        case _:
            return stages.Group(paths=group.paths, lr="0", weight_decay=None, place=place)
