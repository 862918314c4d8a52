"""Decoding with a cache: keys and values of the tokens so far are kept, so that one more token costs one token."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from compiler.program.apart import assembled_apart, is_apart
from compiler.program.attention import softcapped
from compiler.program.compiled import compiled
from compiler.program.config import DecoderConfig, Parameters, Precision, windowed_layers
from compiler.program.decoder import (
    Decoder,
    Layer,
    Windowed,
    assemble,
    attention_scale,
    layer_attention,
    rotation_of,
    rotations_at,
    windowed_flags,
)
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.products import product
from compiler.program.sharding import gathered

_Held: TypeAlias = jax.Array | tuple[jax.Array, ...]


class Cache(NamedTuple):
    """What the decoder remembers of rows of tokens; a pytree."""

    keys: _Held
    """`[layers, rows, key_value_heads, head_size, capacity]`, rotated, in the dtype of the activations.

    Beside parameters that are taken apart, a tuple with an array of each layer.

    Keys lie along the places and values along the channels, so that a token's attention is two plain matrix products
    of what is there: with both laid out as the decoder makes them, a step at 256 places takes 1.3 times as long on a
    CPU.
    """
    values: _Held
    """`[layers, rows, key_value_heads, capacity, head_size]`, or a tuple."""
    lengths: jax.Array
    """int32 `[rows]`: tokens held; what lies behind them in `keys` and `values` is never looked at."""

    @property
    def capacity(self) -> int:
        """Tokens that a row can hold."""
        return (self.keys[0] if isinstance(self.keys, tuple) else self.keys).shape[-1]


@compiled(static=("config", "capacity", "precision", "execution"))
def prefill(
    config: DecoderConfig,
    parameters: Parameters,
    tokens: jax.Array,
    lengths: jax.Array,
    capacity: int,
    precision: Precision = "float32",
    execution: Execution = ONE_DEVICE,
) -> tuple[jax.Array, Cache]:
    """Reads the rows' first tokens.

    Args:
        config: the decoder's shape.
        parameters: the decoder's parameters.
        tokens: int32 `[rows, length]`, filled up at the end with any ids.
        lengths: int32 `[rows]`, tokens of each row, at least one.
        capacity: tokens that a row of the cache can hold, at least `length`.
        precision: dtype of activations and matrix products.
        execution: where rows, parameters and heads lie.

    Returns:
        Float32 logits `[rows, vocabulary]` of the token after each row's last, and the cache.
    """
    decoder = assemble(config, parameters)
    places = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    segments = (places < lengths[:, None]).astype(jnp.int32)
    rotations = rotations_at(places, config)

    def step(x: jax.Array, place: tuple[Layer, Windowed]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        layer, windowed = gathered(place[0], execution.mesh, precision), place[1]
        query, key, value = layer.project(x, rotation_of(rotations, windowed))
        mixed = layer_attention(query, key, value, segments, config, windowed, execution)
        return execution.placed(layer.combine(x, mixed), "rows", None, None), (key, value)

    start = decoder.embed(tokens, precision, execution), (decoder.layers, windowed_flags(config))
    x, (keys, values) = jax.lax.scan(step, *start)
    last = jnp.take_along_axis(x, lengths[:, None, None] - 1, axis=1)
    cache = Cache(keys.transpose(0, 1, 3, 4, 2), values.transpose(0, 1, 3, 2, 4), lengths)
    return decoder.logits(decoder.norm(last))[:, 0], widened(cache, capacity)


@compiled(static=("config", "precision", "execution"), donate=("cache",))
def extend(
    config: DecoderConfig,
    parameters: Parameters,
    cache: Cache,
    tokens: jax.Array,
    precision: Precision = "float32",
    execution: Execution = ONE_DEVICE,
) -> tuple[jax.Array, Cache]:
    """Reads one more token of every row; the given cache is donated. Its rows must have room.

    Args:
        config: the decoder's shape.
        parameters: the decoder's parameters; or taken apart (see `taken_apart`), as the cache then is too.
        cache: from `prefill` or `extend`, in the same `precision`; or from `cache_apart`.
        tokens: int32 `[rows]`.
        precision: dtype of activations and matrix products.
        execution: where rows, parameters and heads lie.

    Returns:
        Float32 logits `[rows, vocabulary]` of the token after, and the cache.
    """
    row = jnp.arange(cache.lengths.shape[0], dtype=jnp.int32)
    rotations = rotations_at(cache.lengths[:, None], config)
    full, near = _visible(config, cache.capacity, cache.lengths)

    def through(
        layer: Layer, windowed: Windowed, x: jax.Array, keys: jax.Array, values: jax.Array, own: tuple[jax.Array, ...]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Through one layer, whose part of keys and values is at `own`."""
        layer = gathered(layer, execution.mesh, precision)
        query, key, value = layer.project(x, rotation_of(rotations, windowed))
        keys = keys.at[(*own, row, slice(None), slice(None), cache.lengths)].set(key[:, 0])
        values = values.at[(*own, row, slice(None), cache.lengths)].set(value[:, 0])
        visible = full if windowed is None else jnp.where(windowed, near, full)
        mixed = _attended(query, keys[own], values[own], visible, attention_scale(config), config.attention_softcap)
        return execution.placed(layer.combine(x, mixed), "rows", None, None), keys, values

    flags = windowed_flags(config)
    if is_apart(parameters):
        decoder, layers = assembled_apart(config, parameters)
        x = decoder.embed(tokens[:, None], precision)
        held: list[tuple[jax.Array, jax.Array]] = []
        for number, (layer, keys, values) in enumerate(zip(layers, cache.keys, cache.values, strict=True)):
            x, keys, values = through(layer, None if flags is None else flags[number], x, keys, values, ())
            held.append((keys, values))
        logits = _logits_of_few(decoder, decoder.norm(x)[:, 0])
        return logits, Cache(tuple(keys for keys, _ in held), tuple(values for _, values in held), cache.lengths + 1)

    decoder = assemble(config, parameters)

    def step(
        carry: tuple[jax.Array, jax.Array, jax.Array], place: tuple[Layer, jax.Array, Windowed]
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], None]:
        layer, index, windowed = place
        return through(layer, windowed, *carry, (index,)), None

    assert not isinstance(cache.keys, tuple)
    assert not isinstance(cache.values, tuple)
    start = decoder.embed(tokens[:, None], precision, execution), cache.keys, cache.values
    places = decoder.layers, jnp.arange(config.layers, dtype=jnp.int32), flags
    (x, keys, values), _ = jax.lax.scan(step, start, places)
    return decoder.logits(decoder.norm(x))[:, 0], Cache(keys, values, cache.lengths + 1)


def widened(cache: Cache, capacity: int) -> Cache:
    """The same tokens, with room for `capacity`, which isn't less than before."""
    room = capacity - cache.capacity

    def padded(x: jax.Array, axis: int) -> jax.Array:
        return jnp.pad(x, [(0, room if place == x.ndim + axis else 0) for place in range(x.ndim)])

    return Cache(
        _each(cache.keys, lambda x: padded(x, -1)), _each(cache.values, lambda x: padded(x, -2)), cache.lengths
    )


def rows_of(cache: Cache, rows: jax.Array) -> Cache:
    """The rows with these numbers, int32 `[rows]`; one may come several times."""

    def own(x: jax.Array) -> jax.Array:
        return x[..., rows, :, :, :]

    return Cache(_each(cache.keys, own), _each(cache.values, own), cache.lengths[rows])


def _each(held: _Held, change: Callable[[jax.Array], jax.Array]) -> _Held:
    return tuple(map(change, held)) if isinstance(held, tuple) else change(held)


def cache_apart(cache: Cache) -> Cache:
    """A cache as parameters that are taken apart want it."""
    assert not isinstance(cache.keys, tuple)
    assert not isinstance(cache.values, tuple)
    # One small program for all layers: sixty slices in one would take seconds to compile.
    layers = [_layer(cache.keys, cache.values, jnp.int32(number)) for number in range(cache.keys.shape[0])]
    return Cache(tuple(keys for keys, _ in layers), tuple(values for _, values in layers), cache.lengths)


@compiled()
def _layer(keys: jax.Array, values: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
    return keys[number], values[number]


def _logits_of_few(decoder: Decoder, hidden: jax.Array) -> jax.Array:
    """As `decoder.logits`, of `[rows, hidden]`.

    With a few rows, XLA's CPU product takes a third less time where the large matrix stands first; behind the barrier
    it stays there.
    """
    raw = product("vh,bh->vb", decoder.output_matrix().astype(hidden.dtype), hidden)
    return decoder.capped(jax.lax.optimization_barrier(raw).T)


def _attended(
    query: jax.Array, keys: jax.Array, values: jax.Array, visible: jax.Array, scale: float, softcap: float | None
) -> jax.Array:
    """Attention of one token a row, `query [rows, 1, heads, head_size]`, over a layer's cache; the same shape."""
    rows, _, heads, head_size = query.shape
    grouped = query.reshape(rows, keys.shape[1], -1, head_size)
    scores = product("bkgd,bkds->bkgs", grouped, keys) * scale
    if softcap is not None:
        scores = softcapped(scores, softcap)
    weights = jax.nn.softmax(jnp.where(visible[:, :, None], scores, -jnp.inf), axis=-1).astype(values.dtype)
    mixed = jnp.einsum("bkgs,bksd->bkgd", weights, values, precision=jax.lax.Precision.HIGHEST)
    return mixed.reshape(rows, 1, heads, head_size)


def _visible(config: DecoderConfig, capacity: int, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """bool `[rows, 1, capacity]`, twice: the places that the token after so many sees in layers of either kind.

    Where all layers are alike, the first is theirs.
    """
    places = jnp.arange(capacity, dtype=jnp.int32)
    full = places <= lengths[:, None, None]
    if config.window is None:
        return full, full
    near = full & (places > lengths[:, None, None] - config.window)
    return (near if all(windowed_layers(config)) else full), near
