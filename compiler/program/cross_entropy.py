"""A weighted sum of token log-probabilities whose gradient is made in the forward pass."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from compiler.program.attention import softcapped
from compiler.program.products import product
from compiler.program.vocabulary import highest, logits_at, own_places, summed


def weighted_log_probabilities(
    hidden: jax.Array,
    output: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    chunk: int,
    softcap: float | None = None,
    axis: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The sum over all tokens of weight times log-softmax of `hidden @ output.T` at the target.

    Since the weights are known beforehand, the gradient of a chunk's states and of the output matrix is made while
    its logits are at hand: they are computed once, where `token_log_probabilities` computes them twice. In each row
    the tokens that have a weight are taken first, and chunks without any are skipped.

    Args:
        hidden: `[rows, length, hidden]`; its dtype is that of the matrix products, whose results are float32.
        output: float32 `[vocabulary, hidden]`.
        targets: int32 `[rows, length]`.
        weights: float32 `[rows, length]`; there is no gradient for them.
        chunk: about how many tokens' logits are held at once, at least one of each row.
        softcap: the logits are `softcap * tanh(logits / softcap)`.
        axis: the mesh axis that `output` is spread over by its vocabulary, inside `shard_map` (see `spread.by_rows`).

    Returns:
        The sum, a float32 scalar; and the log-probabilities, float32 `[rows, length]`, 0 where the weight is 0 and
        without a gradient.
    """
    total, values = cast(tuple[jax.Array, jax.Array], _weighted(hidden, output, targets, weights, chunk, softcap, axis))
    return total, jax.lax.stop_gradient(values)


_Told: TypeAlias = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _weighted(
    hidden: jax.Array,
    output: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    chunk: int,
    softcap: float | None,
    axis: str | None,
) -> _Told:
    return _computed(hidden, output, targets, weights, chunk, softcap, axis, of_hidden=False, of_output=False)[0]


_Gradients: TypeAlias = tuple[jax.Array | None, jax.Array | None]


def _forward(
    hidden: Any, output: Any, targets: Any, weights: Any, chunk: int, softcap: float | None, axis: str | None
) -> tuple[_Told, _Gradients]:
    arrays = hidden.value, output.value, targets.value, weights.value
    # Where only an adapter is trained, the output matrix needs no gradient.
    return _computed(*arrays, chunk, softcap, axis, of_hidden=hidden.perturbed, of_output=output.perturbed)


def _backward(
    chunk: int, softcap: float | None, axis: str | None, gradients: _Gradients, given: tuple[Any, Any]
) -> tuple[Any, ...]:
    scale = given[0]
    zero = isinstance(scale, jax.custom_derivatives.SymbolicZero)
    # `shard_map` gives each device of the axis its share of the derivative by a result that all of them have, and adds
    # up what they give back for the states, of which each has the part of its own vocabulary.
    scale = scale if zero else summed(scale, axis)
    return *(None if zero or each is None else scale.astype(each.dtype) * each for each in gradients), None, None


cast(Any, _weighted).defvjp(_forward, _backward, symbolic_zeros=True)


class _Part(NamedTuple):
    """A chunk, or chunks stacked."""

    states: jax.Array
    targets: jax.Array
    weights: jax.Array


def _computed(
    hidden: jax.Array,
    output: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    chunk: int,
    softcap: float | None,
    axis: str | None,
    *,
    of_hidden: bool,
    of_output: bool,
) -> tuple[_Told, _Gradients]:
    rows, length = targets.shape
    matrix = output.astype(hidden.dtype)
    count = -(-length // max(1, chunk // rows))
    order = jnp.argsort(weights == 0, axis=1, stable=True)

    def chunked(x: jax.Array) -> jax.Array:
        """`[rows, length, …]` to `[count, rows, length / count, …]`: where rows are spread over devices, all work."""
        ordered = jnp.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), axis=1)
        filled = jnp.pad(ordered, [(0, 0), (0, -length % count), *[(0, 0)] * (x.ndim - 2)])
        return filled.reshape(rows, count, -1, *x.shape[2:]).swapaxes(0, 1)

    def whole(x: jax.Array) -> jax.Array:
        """The inverse of `chunked`."""
        ordered = x.swapaxes(0, 1).reshape(rows, -1, *x.shape[3:])[:, :length]
        back = jnp.argsort(order, axis=1).reshape(*order.shape, *[1] * (ordered.ndim - 2))
        return jnp.take_along_axis(ordered, back, axis=1)

    def work(total: jax.Array | None, part: _Part) -> tuple[jax.Array | None, tuple[jax.Array, jax.Array | None]]:
        states, chosen, weight = (x.reshape(-1, *x.shape[2:]) for x in part)
        logits = product("th,vh->tv", states, matrix)
        if softcap is not None:
            logits = softcapped(logits, softcap)
        largest = highest(jnp.max(logits, axis=-1, keepdims=True), axis)
        raised = jnp.exp(logits - largest)
        norm = summed(jnp.sum(raised, axis=-1, keepdims=True), axis)
        at_target = logits_at(logits, chosen, axis)
        values = jnp.where(weight == 0, 0.0, at_target - (largest + jnp.log(norm))[:, 0])
        if not (of_hidden or of_output):
            return total, (values.reshape(part.targets.shape), None)
        places = own_places(chosen, output.shape[0], axis)
        is_target = places[:, None] == jnp.arange(output.shape[0], dtype=chosen.dtype)
        slope = jnp.where(is_target, weight[:, None], 0.0) - raised * (weight[:, None] / norm)
        if softcap is not None:
            slope = slope * (1 - (logits / softcap) ** 2)  # the derivative of cap * tanh(x / cap)
        slope = slope.astype(hidden.dtype)
        of_states = product("tv,vh->th", slope, matrix).astype(hidden.dtype).reshape(part.states.shape)
        if total is not None:
            # XLA's CPU products are a third faster so than with the vocabulary first.
            upright = jax.lax.optimization_barrier(states.T)
            total = total + product("ht,tv->hv", upright, slope)
        return total, (values.reshape(part.targets.shape), of_states)

    def skip(total: jax.Array | None, part: _Part) -> tuple[jax.Array | None, tuple[jax.Array, jax.Array | None]]:
        nothing = jnp.zeros_like(part.states) if of_hidden or of_output else None
        return total, (jnp.zeros(part.targets.shape, dtype=jnp.float32), nothing)

    def step(total: jax.Array | None, part: _Part) -> tuple[Any, Any]:
        return cast(Any, jax.lax.cond)(jnp.any(part.weights != 0), work, skip, total, part)

    start = jnp.zeros(output.shape[::-1], dtype=jnp.float32) if of_output else None
    total, (values, of_states) = jax.lax.scan(step, start, _Part(*map(chunked, (hidden, targets, weights))))
    values = whole(values)
    told = jnp.sum(values * weights), values
    return told, (whole(of_states) if of_hidden else None, None if total is None else total.T)
