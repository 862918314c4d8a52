"""The objective of a train step: its loss, what the loss's sums say, and the batches that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from compiler.program.config import DecoderConfig, LoRA, Parameters
from compiler.program.execution import Execution
from compiler.program.objectives import Loss, supervised
from compiler.program.policy import policy_loss
from compiler.program.preferences import preference_loss
from compiler.stages import DPO, GRPO, Objective, Supervised
from compiler.steps import Train
from runtime.steps.batches import SupervisedBatches
from runtime.steps.pairs import PairBatches, mean_over_pairs
from runtime.steps.stage import Stage
from runtime.train.prepared import Batches

Told: TypeAlias = Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, float]]
"""From the sums of a loss to what telemetry says, by the name of the column."""


def loss_of(step: Train, config: DecoderConfig, lora: LoRA | None, parts: int, execution: Execution) -> Loss:
    """What is differentiated. It follows from the arguments alone, and of the step from what `program.Outline` names
    its identity: programs are shared by steps that are alike in these."""
    match step.objective:
        case Supervised():
            return supervised(config, step.precision, lora=lora, parts=parts, execution=execution)
        case DPO(beta=beta, loss=kind):
            return preference_loss(config, step.precision, float(Fraction(beta)), kind, lora=lora, execution=execution)
        case GRPO() as chosen:
            assert step.rollout is not None
            return policy_loss(
                config,
                step.precision,
                beta=float(Fraction(chosen.beta)),
                epsilon_low=float(Fraction(chosen.epsilon_low)),
                epsilon_high=float(Fraction(chosen.epsilon_high)),
                temperature=float(Fraction(step.rollout.temperature)),
                lora=lora,
                execution=execution,
            )


def batches_of(stage: Stage, frozen: Callable[[], Parameters]) -> Batches:
    """Where the batches come from. `frozen` is what the decoder is made of beside what is trained."""
    match stage.step.objective:
        case Supervised():
            return SupervisedBatches(stage, parts=part_count(stage) > 0)
        case DPO():
            return PairBatches(stage)
        case GRPO():
            from runtime.steps.policies import PolicyBatches  # models are asked there, which takes long to import

            return PolicyBatches(stage, frozen)


def told_of(stage: Stage) -> Told:
    """What telemetry is told of the loss's sums."""
    match stage.step.objective:
        case Supervised():
            return _loss_by_part(stage.parts if part_count(stage) else ())
        case DPO():
            return mean_over_pairs
        case GRPO():
            return mean_over_tokens


def updates_of_batch(objective: Objective) -> int:
    """Updates of the optimizer on each batch of a stage."""
    return objective.iterations if isinstance(objective, GRPO) else 1


def part_count(stage: Stage) -> int:
    """Parts of the mix that have a loss each; 0 where there is one alone."""
    return len(stage.parts) if len(stage.parts) > 1 else 0


def _loss_by_part(parts: tuple[str, ...]) -> Told:
    def told(sums: Mapping[str, NDArray[np.float32]]) -> Mapping[str, float]:
        if not parts:
            return {}
        pairs = zip(parts, sums["part_losses"].tolist(), sums["part_targets"].tolist(), strict=True)
        return {f"loss/{name}": loss / count for name, loss, count in pairs if count}

    return told


def mean_over_tokens(sums: Mapping[str, NDArray[np.float32]]) -> Mapping[str, float]:
    """The sums of a policy loss as means over the tokens that have one, by trl's names where it has them."""
    tokens = float(sums["tokens"])
    if not tokens:
        return {}
    names = {
        "clipped/low": "clip_ratio/low_mean",
        "clipped/high": "clip_ratio/high_mean",
        "divergence": "kl",
        "surprise": "entropy",
        "difference": "sampling/sampling_logp_difference/mean",
    }
    return {name: float(sums[key]) / tokens for key, name in names.items()}
