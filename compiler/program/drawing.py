"""Draws tokens from logits: at a temperature, from a nucleus, or the most likely ones; one random number a token."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

_BLOCK = (
    512  # ids whose probabilities are summed at once: a running sum over a whole vocabulary is slow, and less exact
)


def row_keys(seeds: Sequence[int]) -> jax.Array:
    """A random key `[rows]` for each seed, from 0 to 2 ** 64 - 1; those below 2 ** 32 are `jax.random.key`'s."""
    halves = np.array([(seed >> 32, seed & 0xFFFFFFFF) for seed in seeds], np.uint32).reshape(-1, 2)
    return cast(jax.Array, jax.random.wrap_key_data(jnp.asarray(halves), impl="threefry2x32"))


def draw(
    logits: jax.Array, keys: jax.Array, places: jax.Array, temperatures: jax.Array, shares: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One token a row. What a row gets follows from its own logits, key and place alone.

    Args:
        logits: float32 `[rows, vocabulary]`.
        keys: random keys `[rows]`, the same for all tokens of a row.
        places: int32 `[rows]`, where the token will stand: each place of a row draws anew.
        temperatures: float32 `[rows]`, what logits are divided by; 0 takes the most likely token.
        shares: float32 `[rows]`, in (0, 1]: the token is one of the most likely that together have this share of the
            probability (top-p sampling, arXiv:1904.09751).

    Returns:
        int32 `[rows]`, and the natural log of its probability, float32 `[rows]`: at the row's temperature (1 where
        that is 0), and among all tokens, not only those of the nucleus.
    """
    scaled = logits / jnp.where(temperatures > 0, temperatures, 1.0)[:, None]
    weights = jnp.exp(scaled - jnp.max(scaled, axis=-1, keepdims=True))
    everything = jnp.sum(_blocks(weights), axis=-1).sum(axis=-1)
    narrowed = jnp.any((shares < 1) & (temperatures > 0))
    kept = cast(jax.Array, jax.lax.cond(narrowed, _nucleus, _all, weights, everything, shares))
    numbers = jax.vmap(jax.random.uniform)(jax.vmap(jax.random.fold_in)(keys, places))
    likely = cast(jax.Array, jax.lax.cond(jnp.any(temperatures == 0), _likeliest, _none, logits))
    drawn = jnp.where(temperatures > 0, _at(kept, numbers), likely)
    own = jnp.take_along_axis(weights, drawn[:, None], axis=-1)[:, 0]
    return drawn, jnp.log(own) - jnp.log(everything)


def _likeliest(logits: jax.Array) -> jax.Array:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def _none(logits: jax.Array) -> jax.Array:
    return jnp.zeros(logits.shape[0], dtype=jnp.int32)


def _all(weights: jax.Array, everything: jax.Array, shares: jax.Array) -> jax.Array:
    return weights


def _nucleus(weights: jax.Array, everything: jax.Array, shares: jax.Array) -> jax.Array:
    """`weights` with zeros outside of the nucleus. The heaviest always stays, and so do all that are as heavy as one
    that does.

    A token is in it where those heavier than it have less than the share. The least weight that is in is found by
    halving, in the integers whose order is that of positive floats: sorting a vocabulary takes longer.
    """
    wanted = jnp.where(shares < 1, shares * everything, jnp.inf)
    ordered = jax.lax.bitcast_convert_type(weights, jnp.int32)

    def halve(_: jax.Array, edges: _Edges) -> _Edges:
        low, high = edges  # the heavier than `low` have the share, or it is -1; the heavier than `high` have less
        middle = low + (high - low) // 2
        above = jnp.sum(_blocks(jnp.where(ordered > middle[:, None], weights, 0.0)), axis=-1).sum(axis=-1)
        less = above < wanted
        return jnp.where(less, low, middle), jnp.where(less, middle, high)

    one = jax.lax.bitcast_convert_type(jnp.ones((), dtype=jnp.float32), jnp.int32)  # nothing is heavier
    start = jnp.full(shares.shape, -1, dtype=jnp.int32), jnp.broadcast_to(one, shares.shape)
    least = cast(_Edges, jax.lax.fori_loop(0, 30, halve, start))[1]
    return jnp.where(ordered >= least[:, None], weights, 0.0)


_Edges: TypeAlias = tuple[jax.Array, jax.Array]


def _at(weights: jax.Array, numbers: jax.Array) -> jax.Array:
    """int32 `[rows]`: the id whose stretch of the running sum of `weights` holds a number from 0 to 1 (exclusive)."""
    blocks = _blocks(weights)
    ends = jnp.cumsum(jnp.sum(blocks, axis=-1), axis=-1)
    place = jnp.minimum(numbers * ends[:, -1], jnp.nextafter(ends[:, -1], jnp.zeros_like(numbers)))
    block = jnp.argmax(ends > place[:, None], axis=-1)
    before = jnp.where(block > 0, jnp.take_along_axis(ends, jnp.maximum(block - 1, 0)[:, None], axis=-1)[:, 0], 0.0)
    within = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    beyond = jnp.cumsum(within, axis=-1) > (place - before)[:, None]
    # The sum of a block and the last of its running sums may differ in the last bit: then it is the last with a weight.
    last = _BLOCK - 1 - jnp.argmax(within[:, ::-1] > 0, axis=-1)
    inside = jnp.where(jnp.any(beyond, axis=-1), jnp.argmax(beyond, axis=-1), last)
    return (block * _BLOCK + inside).astype(jnp.int32)


def _blocks(weights: jax.Array) -> jax.Array:
    """`[rows, vocabulary]` to `[rows, blocks, 512]`, filled up with zeros."""
    room = -weights.shape[-1] % _BLOCK
    filled = weights if room == 0 else jnp.pad(weights, [(0, 0), (0, room)])
    return filled.reshape(weights.shape[0], -1, _BLOCK)
