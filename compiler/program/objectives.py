"""Token log-probabilities and the supervised loss, computed so that the logits of a batch are never whole."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig, LoRA, Parameters, Precision
from compiler.program.decoder import Decoder, assemble, merged


class Given(NamedTuple):
    """What a loss is taken of; a pytree."""

    trained: Parameters
    """What the gradient is for: all parameters, some of them, or an adapter's."""
    frozen: Parameters
    """The rest of what the decoder is assembled from."""
    key: jax.Array
    """A random key, another one for every update and every part of a batch."""


Sums: TypeAlias = dict[str, jax.Array]
"""What else a loss tells, by name: float32 arrays which, of the parts of a batch, add up to those of the whole."""

Loss: TypeAlias = Callable[[Given, Any, jax.Array], tuple[jax.Array, Sums]]
"""What is given, a batch (a pytree of arrays with the rows on axis 0) and the denominator to a float32 scalar and sums.

The scalar is a sum over the batch's trained tokens divided by the denominator, so losses (and gradients) of the parts
of a batch add up to the whole's.
"""


def supervised(
    config: DecoderConfig, precision: Precision = "bfloat16", chunk: int = 512, lora: LoRA | None = None
) -> Loss:
    """The mean negative log-likelihood, in nats, of a global batch's trained tokens.

    The denominator is the number of targets in the whole global batch (see `target_count`), whatever part of it is at
    hand.
    """

    def loss(given: Given, batch: Batch, denominator: jax.Array) -> tuple[jax.Array, Sums]:
        decoder = assemble(config, merged(given.trained, given.frozen), lora)
        values = log_probabilities(decoder, batch.tokens, batch.segments, batch.positions, precision, chunk)
        return -jnp.sum(jnp.where(batch.trained, values, 0.0)) / denominator.astype(jnp.float32), {}

    return loss


def target_count(batch: Batch) -> jax.Array:
    """int32: how many tokens the loss takes: trained ones that have a predecessor in their segment."""
    return jnp.sum(batch.trained & _has_predecessor(batch.segments), dtype=jnp.int32)


def log_probabilities(
    decoder: Decoder,
    tokens: jax.Array,
    segments: jax.Array,
    positions: jax.Array,
    precision: Precision = "float32",
    chunk: int = 512,
) -> jax.Array:
    """Natural log of each token's probability given those before it in its segment.

    Args:
        decoder: the model.
        tokens, segments, positions: int32 `[rows, length]`, see `Batch`.
        precision: dtype of activations and matrix products.
        chunk: how many tokens' logits are held at once.

    Returns:
        Float32 `[rows, length]`; 0 for the first token of a segment and for padding.
    """
    hidden = decoder(tokens, segments, positions, precision)
    following = jnp.roll(tokens, -1, axis=1)  # the last column predicts nothing: its value is dropped below
    values = token_log_probabilities(
        hidden.reshape(-1, hidden.shape[-1]), decoder.output_matrix(), following.reshape(-1), chunk
    )
    return jnp.where(_has_predecessor(segments), jnp.roll(values.reshape(tokens.shape), 1, axis=1), 0.0)


def token_log_probabilities(hidden: jax.Array, output: jax.Array, targets: jax.Array, chunk: int) -> jax.Array:
    """Log-softmax of `hidden @ output.T` at the targets; forward and backward hold the logits of one chunk at a time.

    Args:
        hidden: `[tokens, hidden]`; its dtype is that of the matrix products, whose results are float32.
        output: float32 `[vocabulary, hidden]`.
        targets: int32 `[tokens]`.
        chunk: tokens a chunk; the last one is filled up.

    Returns:
        Float32 `[tokens]`.
    """
    count = -(-targets.shape[0] // chunk)
    # Chunk i takes tokens i, i + count, …: where rows are spread over devices, so is every chunk.
    values = cast(jax.Array, _of_chunks(_strided(hidden, count), output, _strided(targets, count)))
    return values.swapaxes(0, 1).reshape(-1)[: targets.shape[0]]


@jax.custom_vjp
def _of_chunks(hidden: jax.Array, output: jax.Array, targets: jax.Array) -> jax.Array:
    """Log-probabilities, float32 `[chunks, chunk]`, of `hidden [chunks, chunk, hidden]`, `targets [chunks, chunk]`."""
    return _forward(hidden, output, targets)[0]


_Residuals: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _forward(hidden: jax.Array, output: jax.Array, targets: jax.Array) -> tuple[jax.Array, _Residuals]:
    matrix = output.astype(hidden.dtype)

    def step(carry: None, part: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
        logits = _product("th,vh->tv", part[0], matrix)
        normaliser = jax.nn.logsumexp(logits, axis=-1)
        return carry, (jnp.take_along_axis(logits, part[1][:, None], axis=-1)[:, 0] - normaliser, normaliser)

    _, (values, normalisers) = jax.lax.scan(step, None, (hidden, targets))
    return values, (hidden, output, targets, normalisers)


def _backward(residuals: _Residuals, gradient: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    """The derivative of a log-softmax: one at the target less the probabilities. Logits are computed again."""
    hidden, output, targets, normalisers = residuals
    matrix = output.astype(hidden.dtype)
    vocabulary = jnp.arange(output.shape[0], dtype=targets.dtype)

    def step(total: jax.Array, part: _Residuals) -> tuple[jax.Array, jax.Array]:
        states, chosen, normaliser, weight = part
        probabilities = jnp.exp(_product("th,vh->tv", states, matrix) - normaliser[:, None])
        at_target = (chosen[:, None] == vocabulary).astype(jnp.float32)
        logits_gradient = (weight[:, None] * (at_target - probabilities)).astype(hidden.dtype)
        states_gradient = _product("tv,vh->th", logits_gradient, matrix).astype(hidden.dtype)
        return total + _product("tv,th->vh", logits_gradient, states), states_gradient

    output_gradient, hidden_gradient = jax.lax.scan(
        step, jnp.zeros_like(output), (hidden, targets, normalisers, gradient)
    )
    return hidden_gradient, output_gradient, None


_of_chunks.defvjp(_forward, _backward)


def _product(indices: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(indices, left, right, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


def _strided(x: jax.Array, count: int) -> jax.Array:
    """`[n, …]` to `[count, n / count, …]`, element `[i, j]` being `x[j * count + i]`; filled up with zeros."""
    filled = jnp.pad(x, [(0, -x.shape[0] % count), *[(0, 0)] * (x.ndim - 1)])
    return filled.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)


def _has_predecessor(segments: jax.Array) -> jax.Array:
    """bool `[rows, length]`: the token isn't padding, and the one before it is of the same segment."""
    before = jnp.pad(segments, ((0, 0), (1, 0)))[:, :-1]  # 0, which no segment is, before the first column
    return (segments == before) & (segments != 0)
