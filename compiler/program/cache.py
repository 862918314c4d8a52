"""Decoding with a cache: keys and values of the tokens so far are kept, so that one more token costs one token."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from compiler.program.attention import attention, masked_attention
from compiler.program.compiled import compiled
from compiler.program.config import DecoderConfig, Parameters, Precision
from compiler.program.decoder import Decoder, Layer, assemble, rotation_at


class Cache(NamedTuple):
    """What the decoder remembers of rows of tokens; a pytree."""

    keys: jax.Array
    """`[layers, rows, capacity, key_value_heads, head_size]`, rotated, in the dtype of the activations."""
    values: jax.Array
    """Like `keys`."""
    lengths: jax.Array
    """int32 `[rows]`: tokens held; what lies behind them in `keys` and `values` is never looked at."""


@compiled(static=("config", "capacity", "precision"))
def prefill(
    config: DecoderConfig,
    parameters: Parameters,
    tokens: jax.Array,
    lengths: jax.Array,
    capacity: int,
    precision: Precision = "float32",
) -> tuple[jax.Array, Cache]:
    """Reads the rows' first tokens.

    Args:
        config: the decoder's shape.
        parameters: the decoder's parameters.
        tokens: int32 `[rows, length]`, filled up at the end with any ids.
        lengths: int32 `[rows]`, tokens of each row, at least one.
        capacity: tokens that a row of the cache can hold, at least `length`.
        precision: dtype of activations and matrix products.

    Returns:
        Float32 logits `[rows, vocabulary]` of the token after each row's last, and the cache.
    """
    decoder = assemble(config, parameters)
    places = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    segments = (places < lengths[:, None]).astype(jnp.int32)
    rotation = rotation_at(places, config)

    def step(x: jax.Array, layer: Layer) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        query, key, value = layer.project(x, rotation)
        return layer.combine(x, attention(query, key, value, segments)), (key, value)

    x, (keys, values) = jax.lax.scan(step, decoder.embed(tokens, precision), decoder.layers)
    last = jnp.take_along_axis(x, lengths[:, None, None] - 1, axis=1)
    room = [(0, 0), (0, 0), (0, capacity - tokens.shape[1]), (0, 0), (0, 0)]
    return _logits(decoder, last), Cache(jnp.pad(keys, room), jnp.pad(values, room), lengths)


@compiled(static=("config", "precision"), donate=("cache",))
def extend(
    config: DecoderConfig, parameters: Parameters, cache: Cache, tokens: jax.Array, precision: Precision = "float32"
) -> tuple[jax.Array, Cache]:
    """Reads one more token of every row; the given cache is donated. Its rows must have room.

    Args:
        config: the decoder's shape.
        parameters: the decoder's parameters.
        cache: from `prefill` or `extend`, in the same `precision`.
        tokens: int32 `[rows]`.
        precision: dtype of activations and matrix products.

    Returns:
        Float32 logits `[rows, vocabulary]` of the token after, and the cache.
    """
    decoder = assemble(config, parameters)
    rows, capacity = cache.keys.shape[1:3]
    row = jnp.arange(rows, dtype=jnp.int32)
    rotation = rotation_at(cache.lengths[:, None], config)
    visible = jnp.arange(capacity, dtype=jnp.int32) <= cache.lengths[:, None, None]

    def step(
        carry: tuple[jax.Array, jax.Array, jax.Array], place: tuple[Layer, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], None]:
        x, keys, values = carry
        layer, index = place
        query, key, value = layer.project(x, rotation)
        keys = keys.at[index, row, cache.lengths].set(key[:, 0])
        values = values.at[index, row, cache.lengths].set(value[:, 0])
        return (layer.combine(x, masked_attention(query, keys[index], values[index], visible)), keys, values), None

    start = decoder.embed(tokens[:, None], precision), cache.keys, cache.values
    places = decoder.layers, jnp.arange(config.layers, dtype=jnp.int32)
    (x, keys, values), _ = jax.lax.scan(step, start, places)
    return _logits(decoder, x), Cache(keys, values, cache.lengths + 1)


def _logits(decoder: Decoder, x: jax.Array) -> jax.Array:
    hidden = decoder.norm(x)[:, 0]
    matrix = decoder.output_matrix().astype(hidden.dtype)
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("rh,vh->rv", hidden, matrix, precision=highest, preferred_element_type=jnp.float32)
