"""Policy gradients from groups of sampled answers: GRPO and Dr. GRPO, advantages and loss."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from compiler.program.compiled import compiled
from compiler.program.config import DecoderConfig, LoRA, Parameters, Precision
from compiler.program.decoder import assemble, merged
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.objectives import Given, Loss, Sums, log_probabilities
from compiler.program.step import Metrics, TrainState, TrainStep

Advantage: TypeAlias = Literal["grpo", "dr_grpo"]

DEVIATION_EPSILON = 1e-4
"""Added to a group's standard deviation, as trl does."""


class PolicyBatch(NamedTuple):
    """Rows of prompts and sampled answers. A pytree; all fields are `[rows, length]`.

    All that the loss asks of an answer stands at each of its tokens: so it doesn't matter how answers share rows, nor
    in which parts a batch is taken.
    """

    tokens: jax.Array
    segments: jax.Array
    positions: jax.Array
    """int32, as in `Batch`."""
    weights: jax.Array
    """float32: what a token's loss is multiplied by; 0 where it has none (prompts, padding, answers left out)."""
    advantages: jax.Array
    """float32, of the answer."""
    sampled: jax.Array
    """float32: the log-probability that the sampler gave the token."""
    old: jax.Array | None = None
    """float32: the log-probability that the policy gave it before the batch's first update; None for the policy's own,
    where there is one update on each batch."""
    reference: jax.Array | None = None
    """float32: the same of the reference; None without one."""


def advantages_of(rewards: NDArray[np.float64], kind: Advantage) -> NDArray[np.float64]:
    """How much better an answer is than those of its group.

    Args:
        rewards: `[groups, group]`.
        kind: `grpo` (arXiv:2402.03300, 4.1.2): the reward less the group's mean, divided by its standard deviation
            (that of a sample, with group - 1 below, plus 1e-4, as in trl). `dr_grpo` (arXiv:2503.20783): not divided.

    Returns:
        `[groups, group]`; zero in groups whose rewards are all equal.
    """
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    centred[equal_groups(rewards)] = 0.0  # the mean of equal numbers may differ from them in the last bit
    if kind == "dr_grpo" or rewards.shape[1] == 1:
        return centred
    return centred / (rewards.std(axis=1, ddof=1, keepdims=True) + DEVIATION_EPSILON)


def equal_groups(rewards: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool `[groups]`: all rewards of the group are equal, so that its answers teach nothing."""
    return (rewards == rewards[:, :1]).all(axis=1)


def answer_weight(kind: Advantage, tokens: int) -> float:
    """What the loss of each token of an answer is multiplied by (see `denominator_of`)."""
    return 1.0 / tokens if kind == "grpo" else 1.0


def denominator_of(kind: Advantage, answers: int, max_tokens: int) -> int:
    """What the sum of the weighted losses of a global batch is divided by.

    `grpo`: the mean over answers of the mean over tokens (arXiv:2402.03300, eq. 3). `dr_grpo`: the sum over tokens,
    divided by a constant, so that long answers count no less (arXiv:2503.20783): what the answers could have had.
    """
    return answers if kind == "grpo" else answers * max_tokens


class TokenLosses(NamedTuple):
    """What `token_losses` gives; arrays of the shape of its arguments."""

    losses: jax.Array
    divergences: jax.Array
    """From the reference, estimated; zero without one."""
    clipped_low: jax.Array
    """bool: the ratio is below what counts, and the loss is no longer made smaller by lowering it further."""
    clipped_high: jax.Array


def token_losses(
    values: jax.Array,
    old: jax.Array,
    reference: jax.Array | None,
    advantages: jax.Array,
    *,
    beta: float,
    epsilon_low: float,
    epsilon_high: float,
) -> TokenLosses:
    """The clipped surrogate of each token (arXiv:2402.03300, eq. 3), to be made small.

    It is -min(r A, clip(r, 1 - epsilon_low, 1 + epsilon_high) A), with the advantage A and the ratio r of the token's
    probability to the old one; a wider upper side is DAPO's (arXiv:2503.14476). With a reference, plus beta times the
    estimate exp(d) - d - 1 of the divergence from it, d the log-probability of the reference less the policy's ("k3",
    arXiv:2402.03300, eq. 4).

    Args:
        values, old, reference: float32 log-probabilities of tokens by the policy, before the batch's first update, and
            by the reference.
        advantages: float32.
    """
    low, high = 1.0 - epsilon_low, 1.0 + epsilon_high
    ratios = jnp.exp(values - old)
    losses = -jnp.minimum(ratios * advantages, jnp.clip(ratios, low, high) * advantages)
    divergences = jnp.zeros_like(values)
    if reference is not None:
        ahead = reference - values
        divergences = jnp.exp(ahead) - ahead - 1.0
        losses = losses + beta * divergences
    return TokenLosses(losses, divergences, (ratios < low) & (advantages < 0), (ratios > high) & (advantages > 0))


def policy_loss(
    config: DecoderConfig,
    precision: Precision = "bfloat16",
    *,
    beta: float,
    epsilon_low: float,
    epsilon_high: float,
    temperature: float,
    chunk: int = 512,
    lora: LoRA | None = None,
    execution: Execution = ONE_DEVICE,
) -> Loss:
    """The sum of the weighted `token_losses` of a `PolicyBatch`, divided by the denominator.

    All log-probabilities are at `temperature`, as the answers were sampled: the ratio is that of what was drawn from.

    The denominator is `denominator_of` the whole global batch. The sums, over tokens with a loss: `tokens`, their
    number; `clipped/low` and `clipped/high`, those that are clipped; `divergence`, from the reference;
    `surprise`, the negative log-probabilities, whose mean estimates the entropy; `difference`, how far the sampler's
    log-probabilities are from those before the update, absolutely.
    """

    def loss(given: Given, batch: PolicyBatch, denominator: jax.Array) -> tuple[jax.Array, Sums]:
        decoder = assemble(config, merged(given.trained, given.frozen), lora, given.key)
        of_all = log_probabilities(
            decoder, batch.tokens, batch.segments, batch.positions, precision, chunk, execution, temperature
        )
        counted = batch.weights > 0
        values = jnp.where(counted, of_all, 0.0)  # before any exponential: an infinite one has no gradient
        old = jax.lax.stop_gradient(values) if batch.old is None else jnp.where(counted, batch.old, 0.0)
        told = token_losses(
            values,
            old,
            None if batch.reference is None else jnp.where(counted, batch.reference, 0.0),
            batch.advantages,
            beta=beta,
            epsilon_low=epsilon_low,
            epsilon_high=epsilon_high,
        )

        def total(of_tokens: jax.Array) -> jax.Array:
            return jnp.sum(jnp.where(counted, of_tokens.astype(jnp.float32), 0.0))

        sums = {
            "tokens": total(counted),
            "clipped/low": total(told.clipped_low),
            "clipped/high": total(told.clipped_high),
            "divergence": total(told.divergences),
            "surprise": total(-values),
            "difference": total(jnp.abs(old - batch.sampled)),
        }
        return total(batch.weights * told.losses) / denominator.astype(jnp.float32), sums

    return loss


class Repeated:
    """A train step that makes several updates on each batch; metrics are means over them, and sums add up."""

    def __init__(self, step: TrainStep, times: int) -> None:
        self._step = step
        self._times = times

    def __call__(
        self, state: TrainState, frozen: Parameters, batch: PolicyBatch, denominator: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """See `make_train_step`."""
        told: list[Metrics] = []
        for _ in range(self._times):
            state, metrics = self._step(state, frozen, batch, denominator)
            told.append(metrics)
        return state, _together(told)

    def lower(self, *args: object, **kwargs: object) -> jax.stages.Lowered:
        """The program of one update: it runs several times."""
        return self._step.lower(*args, **kwargs)


@compiled()
def _together(told: list[Metrics]) -> Metrics:
    def added(*values: jax.Array) -> jax.Array:
        return sum(values[1:], start=values[0])

    whole = cast(Metrics, jax.tree.map(added, *told))
    loss, norm, rate = (each / len(told) for each in (whole.loss, whole.gradient_norm, whole.learning_rate))
    return Metrics(loss, norm, rate, whole.sums)
