"""Causal attention within segments or branches."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from compiler.program.blocked import Branches, Scores, blocked_attention, branched_attention
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.kernels import expresses, fused_attention


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segments: jax.Array | Branches,
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
            token sees itself, so no row of the softmax is empty. Or what a token sees is said by branches, which plain
            attention computes whatever the kernel.
        scale: what scores are multiplied by; None: `1 / sqrt(head_size)`.
        softcap: scores then are `softcap * tanh(scores / softcap)`.
        window: how many tokens back a token sees, itself among them; None: all.
        execution: its mesh spreads rows and heads; its kernel computes them, where that can express the rest.

    Returns:
        `[rows, length, heads, head_size]` in the dtype of `query`; the softmax is float32.
    """
    scores = Scores(query.shape[-1] ** -0.5 if scale is None else scale, softcap, window)
    kernel = execution.kernel if expresses(execution.kernel, softcap, window) else "xla"

    def local(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array | Branches) -> jax.Array:
        if isinstance(segments, Branches):
            return branched_attention(query, key, value, segments, scores)
        if kernel == "xla":
            return blocked_attention(query, key, value, segments, scores)
        return fused_attention(kernel, query, key, value, segments, scores, interpreted=execution.interpreted)

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


def softcapped(x: jax.Array, cap: float) -> jax.Array:
    """`cap * tanh(x / cap)` (arXiv:2408.00118): `x` where it is small, never beyond `cap`."""
    return cap * jnp.tanh(x / cap)
