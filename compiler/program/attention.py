"""Causal attention within segments."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from compiler.program.blocked import Scores, blocked_attention
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.kernels import expresses, fused_attention


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segments: jax.Array,
    *,
    scale: float | None = None,
    softcap: float | None = None,
    window: int | None = None,
    execution: Execution = ONE_DEVICE,
) -> jax.Array:
    """Softmax attention in which a token sees itself and the earlier tokens of its own segment.

    Args:
        query: `[rows, length, heads, head_size]`.
        key, value: `[rows, length, key_value_heads, head_size]`; query head `h` reads key-value head
            `h // (heads // key_value_heads)` (grouped queries, arXiv:2305.13245).
        segments: int32 `[rows, length]`. Padding (0) is a segment like another: it sees only padding, and every
            token sees itself, so no row of the softmax is empty.
        scale: what scores are multiplied by; None: `1 / sqrt(head_size)`.
        softcap: scores then are `softcap * tanh(scores / softcap)`.
        window: how many tokens back a token sees, itself among them; None: all.
        execution: its mesh spreads rows and heads; its kernel computes them, where that can express the rest.

    Returns:
        `[rows, length, heads, head_size]` in the dtype of `query`; the softmax is float32.
    """
    scaling = query.shape[-1] ** -0.5 if scale is None else scale
    kernel = execution.kernel if expresses(execution.kernel, softcap, window) else "xla"

    def local(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array) -> jax.Array:
        if kernel == "xla":
            return blocked_attention(query, key, value, segments, Scores(scaling, softcap, window))
        return fused_attention(
            kernel, query, key, value, segments, scaling, softcap, window, interpreted=execution.interpreted
        )

    if execution.mesh is None:
        return local(query, key, value, segments)
    heads = execution.axes("heads", query.shape[2])
    if heads:
        # A device has whole groups: key-value heads are repeated until the axis divides them.
        repeats = math.lcm(key.shape[2], execution.count(heads)) // key.shape[2]
        key, value = (x if repeats == 1 else jnp.repeat(x, repeats, axis=2) for x in (key, value))
    rows = PartitionSpec(execution.axes("rows", query.shape[0]) or None)
    spread = PartitionSpec(*rows, None, heads or None)
    over = {"in_specs": (spread, spread, spread, rows), "out_specs": spread}
    # Pallas's calls don't say over which axes their results vary.
    spread_out = cast(Any, jax.shard_map)(local, mesh=execution.mesh, check_vma=False, **over)
    return cast(jax.Array, spread_out(query, key, value, segments))


def masked_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    visible: jax.Array,
    *,
    scale: float | None = None,
    softcap: float | None = None,
) -> jax.Array:
    """Softmax attention under a mask, for any number of queries and keys.

    Args:
        query: `[rows, queries, heads, head_size]`.
        key, value: `[rows, keys, key_value_heads, head_size]`.
        visible: bool `[rows, queries, keys]`; each query must see at least one key.
        scale, softcap: see `attention`.

    Returns:
        `[rows, queries, heads, head_size]` in the dtype of `query`.
    """
    rows, queries, heads, head_size = query.shape
    keys, key_value_heads = key.shape[1:3]
    grouped = (rows, key_value_heads, heads // key_value_heads, queries)
    # The query heads of a key-value head lie one below the other: one matrix product for all of them.
    stacked = query.reshape(rows, queries, *grouped[1:3], head_size).transpose(0, 2, 3, 1, 4)
    stacked = stacked.reshape(rows, key_value_heads, -1, head_size)
    highest = jax.lax.Precision.HIGHEST
    scores = jnp.einsum("bkqd,bskd->bkqs", stacked, key, precision=highest, preferred_element_type=jnp.float32)
    scores = scores.reshape(*grouped, keys) * (head_size**-0.5 if scale is None else scale)
    if softcap is not None:
        scores = softcapped(scores, softcap)
    weights = jax.nn.softmax(jnp.where(visible[:, None, None], scores, -jnp.inf), axis=-1).astype(value.dtype)
    weights = weights.reshape(rows, key_value_heads, -1, keys)
    mixed = jnp.einsum("bkqs,bskd->bkqd", weights, value, precision=highest).reshape(*grouped, head_size)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(query.shape)


def softcapped(x: jax.Array, cap: float) -> jax.Array:
    """`cap * tanh(x / cap)` (arXiv:2408.00118): `x` where it is small, never beyond `cap`."""
    return cap * jnp.tanh(x / cap)
