"""Token log-probabilities and the supervised loss, computed so that the logits of a batch are never whole."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from compiler.program.attention import softcapped
from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig, LoRA, Parameters, Precision
from compiler.program.cross_entropy import weighted_log_probabilities
from compiler.program.decoder import Decoder, assemble, merged
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.products import product
from compiler.program.spread import by_rows
from compiler.program.vocabulary import log_normaliser, logits_at, own_places, summed


class Given(NamedTuple):
    """What a loss is taken of; a pytree."""

    trained: Parameters
    """What the gradient is for: all parameters, some of them, or an adapter's."""
    frozen: Parameters
    """The rest of what the decoder is assembled from."""
    key: jax.Array
    """Random keys, one for each row of the batch at hand and others in every update. They follow from the row's place
    in the global batch, so that nothing depends on the parts in which it is taken."""


Sums: TypeAlias = dict[str, jax.Array]
"""What else a loss tells, by name: float32 arrays which, of the parts of a batch, add up to those of the whole."""

Loss: TypeAlias = Callable[[Given, Any, jax.Array], tuple[jax.Array, Sums]]
"""What is given, a batch (a pytree of arrays with the rows on axis 0) and the denominator to a float32 scalar and sums.

The scalar is a sum over the batch's trained tokens divided by the denominator, so losses (and gradients) of the parts
of a batch add up to the whole's.
"""


def supervised(
    config: DecoderConfig,
    precision: Precision = "bfloat16",
    chunk: int = 512,
    lora: LoRA | None = None,
    parts: int = 0,
    execution: Execution = ONE_DEVICE,
) -> Loss:
    """The mean negative log-likelihood, in nats, of a global batch's trained tokens.

    The denominator is the number of targets in the whole global batch (see `target_count`), whatever part of it is at
    hand. With `parts`, so many parts of a mix, the batch says which token is of which (`Batch.parts`), and the sums
    `part_losses` and `part_targets`, `[parts]` each, are the negative log-likelihoods of each part's targets and how
    many they are.
    """

    def loss(given: Given, batch: Batch, denominator: jax.Array) -> tuple[jax.Array, Sums]:
        decoder = assemble(config, merged(given.trained, given.frozen), lora, given.key)
        hidden = decoder(batch.tokens, batch.segments, batch.positions, precision, execution)
        weights = -_targets(batch).astype(jnp.float32) / denominator.astype(jnp.float32)

        def of_rows(axis: str | None, hidden: jax.Array, output: jax.Array, *others: jax.Array) -> Any:
            following, weights = others
            cap = config.final_softcap
            total, values = weighted_log_probabilities(hidden, output, following, weights, chunk, cap, axis)
            return jnp.broadcast_to(total / weights.shape[0], weights.shape[:1]), values

        following = _shifted(batch.tokens), _shifted(weights)
        shares, values = by_rows(of_rows, execution, hidden, decoder.output_matrix(), *following)
        sums = _by_part(-jnp.roll(values, 1, axis=1), batch, parts) if parts else {}
        return jnp.sum(shares), sums

    return loss


def _by_part(losses: jax.Array, batch: Batch, parts: int) -> Sums:
    assert batch.parts is not None
    own = batch.parts == jnp.arange(parts, dtype=jnp.int32)[:, None, None]
    targets = _targets(batch).astype(jnp.float32)
    return {
        "part_losses": jnp.sum(jnp.where(own, losses, 0.0), axis=(1, 2)),
        "part_targets": jnp.sum(jnp.where(own, targets, 0.0), axis=(1, 2)),
    }


def target_count(batch: Batch) -> jax.Array:
    """int32: how many tokens the loss takes: trained ones that have a predecessor in their segment."""
    return jnp.sum(_targets(batch), dtype=jnp.int32)


def _targets(batch: Batch) -> jax.Array:
    """bool `[rows, length]`: the tokens that the loss takes."""
    return batch.trained & _has_predecessor(batch.segments)


def log_probabilities(
    decoder: Decoder,
    tokens: jax.Array,
    segments: jax.Array,
    positions: jax.Array,
    precision: Precision = "float32",
    chunk: int = 512,
    execution: Execution = ONE_DEVICE,
    temperature: float = 1.0,
) -> jax.Array:
    """Natural log of each token's probability given those before it in its segment.

    Args:
        decoder: the model.
        tokens, segments, positions: int32 `[rows, length]`, see `Batch`.
        precision: dtype of activations and matrix products.
        chunk: how many tokens' logits a device holds at once.
        execution: see `Execution`.
        temperature: what logits are divided by.

    Returns:
        Float32 `[rows, length]`; 0 for the first token of a segment and for padding.
    """
    hidden = decoder(tokens, segments, positions, precision, execution)

    def of_rows(axis: str | None, hidden: jax.Array, output: jax.Array, targets: jax.Array) -> jax.Array:
        states, cap = hidden.reshape(-1, hidden.shape[-1]), decoder.config.final_softcap
        if temperature != 1.0:  # logits are linear in the states, and cap * tanh(x / cap) in both x and cap together
            states = states / jnp.asarray(temperature, dtype=states.dtype)
            cap = None if cap is None else cap / temperature
        return token_log_probabilities(states, output, targets.reshape(-1), chunk, cap, axis).reshape(targets.shape)

    values = by_rows(of_rows, execution, hidden, decoder.output_matrix(), _shifted(tokens))
    return jnp.where(_has_predecessor(segments), jnp.roll(values, 1, axis=1), 0.0)


def token_log_probabilities(
    hidden: jax.Array,
    output: jax.Array,
    targets: jax.Array,
    chunk: int,
    softcap: float | None = None,
    axis: str | None = None,
) -> jax.Array:
    """Log-softmax of `hidden @ output.T` at the targets; forward and backward hold the logits of one chunk at a time.

    Args:
        hidden: `[tokens, hidden]`; its dtype is that of the matrix products, whose results are float32.
        output: float32 `[vocabulary, hidden]`.
        targets: int32 `[tokens]`.
        chunk: tokens a chunk; the last one is filled up.
        softcap: the logits are `softcap * tanh(logits / softcap)`.
        axis: the mesh axis that `output` is spread over by its vocabulary, inside `shard_map` (see `spread.by_rows`).

    Returns:
        Float32 `[tokens]`.
    """
    count = -(-targets.shape[0] // chunk)
    # Chunk i takes tokens i, i + count, …: where rows are spread over devices, so is every chunk.
    values = cast(jax.Array, _of_chunks(_strided(hidden, count), output, _strided(targets, count), softcap, axis))
    return values.swapaxes(0, 1).reshape(-1)[: targets.shape[0]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _of_chunks(
    hidden: jax.Array, output: jax.Array, targets: jax.Array, softcap: float | None, axis: str | None
) -> jax.Array:
    """Log-probabilities, float32 `[chunks, chunk]`, of `hidden [chunks, chunk, hidden]`, `targets [chunks, chunk]`."""
    return _forward(hidden, output, targets, softcap, axis)[0]


_Residuals: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _forward(
    hidden: jax.Array, output: jax.Array, targets: jax.Array, softcap: float | None, axis: str | None
) -> tuple[jax.Array, _Residuals]:
    matrix = output.astype(hidden.dtype)

    def step(carry: None, part: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
        logits = _logits(part[0], matrix, softcap)
        normaliser = log_normaliser(logits, axis)
        return carry, (logits_at(logits, part[1], axis) - normaliser, normaliser)

    _, (values, normalisers) = jax.lax.scan(step, None, (hidden, targets))
    return values, (hidden, output, targets, normalisers)


def _backward(
    softcap: float | None, axis: str | None, residuals: _Residuals, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    """The derivative of a log-softmax: one at the target less the probabilities. Logits are computed again."""
    hidden, output, targets, normalisers = residuals
    matrix = output.astype(hidden.dtype)
    vocabulary = jnp.arange(output.shape[0], dtype=targets.dtype)
    gradient = summed(gradient, axis)  # as in `cross_entropy`: what is given back for the states is a device's part

    def step(total: jax.Array, part: _Residuals) -> tuple[jax.Array, jax.Array]:
        states, chosen, normaliser, weight = part
        logits = _logits(states, matrix, softcap)
        at_target = (own_places(chosen, output.shape[0], axis)[:, None] == vocabulary).astype(jnp.float32)
        slope = weight[:, None] * (at_target - jnp.exp(logits - normaliser[:, None]))
        if softcap is not None:
            slope = slope * (1 - (logits / softcap) ** 2)  # the derivative of cap * tanh(x / cap)
        logits_gradient = slope.astype(hidden.dtype)
        states_gradient = product("tv,vh->th", logits_gradient, matrix).astype(hidden.dtype)
        return total + product("tv,th->vh", logits_gradient, states), states_gradient

    output_gradient, hidden_gradient = jax.lax.scan(
        step, jnp.zeros_like(output), (hidden, targets, normalisers, gradient)
    )
    return hidden_gradient, output_gradient, None


_of_chunks.defvjp(_forward, _backward)


def _logits(states: jax.Array, matrix: jax.Array, softcap: float | None) -> jax.Array:
    raw = product("th,vh->tv", states, matrix)
    return raw if softcap is None else softcapped(raw, softcap)


def _strided(x: jax.Array, count: int) -> jax.Array:
    """`[n, …]` to `[count, n / count, …]`, element `[i, j]` being `x[j * count + i]`; filled up with zeros."""
    filled = jnp.pad(x, [(0, -x.shape[0] % count), *[(0, 0)] * (x.ndim - 1)])
    return filled.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)


def _shifted(x: jax.Array) -> jax.Array:
    """`[rows, length]` of what follows; the last column predicts nothing, and what it has here is dropped."""
    return jnp.roll(x, -1, axis=1)


def _has_predecessor(segments: jax.Array) -> jax.Array:
    """bool `[rows, length]`: the token isn't padding, and the one before it is of the same segment."""
    before = jnp.pad(segments, ((0, 0), (1, 0)))[:, :-1]  # 0, which no segment is, before the first column
    return (segments == before) & (segments != 0)
