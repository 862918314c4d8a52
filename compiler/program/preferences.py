"""Losses of preference pairs: the answer that is preferred is to be likelier than the other, held to a reference."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from compiler.program.config import DecoderConfig, LoRA, Precision
from compiler.program.decoder import assemble, merged
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.objectives import Given, Loss, Sums, log_probabilities

Kind: TypeAlias = Literal["sigmoid", "ipo"]


class PairBatch(NamedTuple):
    """Rows of pairs: of each row the segments 2k - 1 and 2k are the chosen and the rejected side of a pair.

    A side is the prompt and an answer, of which the answer is trained. A pytree; all but the reference are as in
    `Batch`, `[rows, length]`.
    """

    tokens: jax.Array
    segments: jax.Array
    positions: jax.Array
    trained: jax.Array
    reference: jax.Array
    """float32 `[rows, slots]`: at segment - 1 the log-probability, in nats, that the reference gives the segment's
    trained tokens together; 0 without a reference. `slots` is even and holds the segments of any row."""


def preference_loss(
    config: DecoderConfig,
    precision: Precision = "bfloat16",
    beta: float = 0.1,
    kind: Kind = "sigmoid",
    chunk: int = 512,
    lora: LoRA | None = None,
    execution: Execution = ONE_DEVICE,
) -> Loss:
    """The mean over a global batch's pairs of how far they are from being told apart. Takes a `PairBatch`.

    With the log-ratio of a side, the log-probability of its answer less the reference's, and h the log-ratio of the
    chosen side less that of the rejected:

    - sigmoid: -log sigmoid(beta * h), DPO (arXiv:2305.18290, eq. 7).
    - ipo: (h - 1 / (2 beta))^2 (arXiv:2310.12036, eq. 17, where beta is called tau), each log-ratio divided by the
      number of the answer's tokens, as trl does: the square would grow with length else.

    The denominator is the number of pairs of the whole global batch. The sums, over pairs, are those that trl shows the
    means of: `rewards/chosen` and `rewards/rejected` (beta times the log-ratio, not divided by a length),
    `rewards/margins`, `rewards/accuracies` (1 where the chosen side's reward is the larger), `logps/chosen` and
    `logps/rejected` (log-probabilities of the answers); and `pairs`, their number.
    """

    def loss(given: Given, batch: PairBatch, denominator: jax.Array) -> tuple[jax.Array, Sums]:
        decoder = assemble(config, merged(given.trained, given.frozen), lora, given.key)
        values = log_probabilities(decoder, batch.tokens, batch.segments, batch.positions, precision, chunk, execution)
        scored = batch.trained & (batch.positions > 0)
        slots = batch.reference.shape[1]
        answers = _by_segment(jnp.where(scored, values, 0.0), batch.segments, slots)
        ratios = answers - batch.reference
        there = (jnp.arange(slots // 2, dtype=jnp.int32) < jnp.max(batch.segments, axis=1)[:, None] // 2).astype(
            jnp.float32
        )
        if kind == "sigmoid":
            chosen, rejected = _sides(ratios)
            losses = -jax.nn.log_sigmoid(beta * (chosen - rejected))
        else:
            counts = _by_segment(scored.astype(jnp.float32), batch.segments, slots)
            chosen, rejected = _sides(ratios / jnp.maximum(counts, 1.0))
            losses = (chosen - rejected - 1 / (2 * beta)) ** 2
        sums = {name: jnp.sum(there * each) for name, each in _told(answers, beta * ratios).items()}
        return jnp.sum(there * losses) / denominator.astype(jnp.float32), {**sums, "pairs": jnp.sum(there)}

    return loss


def _by_segment(values: jax.Array, segments: jax.Array, slots: int) -> jax.Array:
    """Sums of float32 `values [rows, length]` over the tokens of each segment, `[rows, slots]`, padding left out.

    One masked reduction, which XLA fuses: exact to rounding whatever stands elsewhere in the row, always in the same
    order, and spread over devices as the rows are.
    """
    own = segments[:, None, :] == jnp.arange(1, slots + 1, dtype=segments.dtype)[None, :, None]
    return jnp.sum(jnp.where(own, values[:, None, :], 0.0), axis=-1)


def _sides(of_segments: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`[rows, slots]` to what belongs to the chosen and to the rejected sides, `[rows, slots / 2]` each."""
    return of_segments[:, 0::2], of_segments[:, 1::2]


def _told(answers: jax.Array, rewards: jax.Array) -> dict[str, jax.Array]:
    chosen, rejected = _sides(rewards)
    of_chosen, of_rejected = _sides(answers)
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/accuracies": (chosen > rejected).astype(jnp.float32),
        "rewards/margins": chosen - rejected,
        "logps/chosen": of_chosen,
        "logps/rejected": of_rejected,
    }
